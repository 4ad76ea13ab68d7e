"""The gRPC face of the service: a thin translation in and out, which decides nothing.

`service` answers the calls (`answering` ends each, `diagnosing` says why), `messages` and
`failures` are the two dictionaries between model and wire, `malformed` answers bytes that
are no message, `identity` says who calls, `streams` ends what would go on for ever,
`server` listens.
"""

from server.rpc.identity import Identify, by_token, local_caller
from server.rpc.server import RpcServer
from server.rpc.service import ProvisioningService

__all__ = ["Identify", "ProvisioningService", "RpcServer", "by_token", "local_caller"]
