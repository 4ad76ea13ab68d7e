"""The service's gRPC interface: a thin translation in and out, which decides nothing.

`service` answers the calls (`answering` ends each one, `diagnosing` says why), `messages` and
`failures` are the two dictionaries between model and wire, `malformed` answers bytes that are not
a message, `identity` says who calls, `streams` ends streams that would go on for ever, and
`server` listens.
"""

from server.rpc.identity import Identify, by_token, local_caller
from server.rpc.server import RpcServer
from server.rpc.service import ProvisioningService

__all__ = ["Identify", "ProvisioningService", "RpcServer", "by_token", "local_caller"]
