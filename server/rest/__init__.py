"""The service's HTTP interface: the old API, `/v1`, and metrics; it decides nothing.

`server` listens, and `lazy` builds the application when somebody calls. `app` puts the routes
together, and `front` stands in front of them. `words` and `answers` are what the old clients read,
`bodies` what they send, and `documented` what /openapi.json says about both, with `shapes` and
`examples` of the answers. `v1` and `transcoding` carry the gRPC contract.
"""

from server.rest.server import HttpServer

__all__ = ["HttpServer"]
