"""The HTTP face of the service: the old API, `/v1`, and metrics; it decides nothing.

`server` listens, and `lazy` builds the application when somebody calls; `app` puts the
routes together and `front` stands before them; `words` and `answers` are what the old
clients read, `bodies` what they send, `documented` what /openapi.json says of both. `v1`
and `transcoding` carry the gRPC contract.
"""

from server.rest.server import HttpServer

__all__ = ["HttpServer"]
