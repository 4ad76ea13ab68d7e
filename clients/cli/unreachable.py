"""Says why nobody answers at an address, and which command comes next. Pure."""

from __future__ import annotations

from clients.cli.wire_text import plain
from clients.sdk.unreachable import Cause

SERVE = "provisioner serve"
_LOGIN = "provisioner login EMAIL --address {address} --tls-ca FILE"
_OWN = " --client-cert FILE --client-key FILE"


def why(address: str, cause: Cause) -> tuple[str, str]:
    """Return what is the matter, and the command to give next ("" for none).

    Args:
        address: Where the call went.
        cause: What became of it.
    """
    login = _LOGIN.format(address=plain(address))
    match cause:
        case Cause.NOT_TRUSTED:
            return (
                f"The certificate of {address} is not trusted here: its signer is not known. Name "
                f"the authority that signed it: {login}",
                login,
            )
        case Cause.HUNG_UP:
            return (f"{address} hung up: if it speaks TLS, sign in with: {login}", login)
        case Cause.HUNG_UP_IN_TLS:
            return (
                f"{address} hung up in the middle of TLS: it wants a client certificate, or does "
                "not accept the one it was shown (PROVISIONER_TLS_CLIENT_CA_FILE at the service "
                "says whose it accepts). If it wants none, its own key is of a kind that gRPC "
                "clients do not accept, such as Ed25519. To sign in with a certificate: "
                f"{login}{_OWN}",
                login + _OWN,
            )
        case Cause.UNKNOWN:
            return (f"Not reachable at {address}. Is it running? Start it with: {SERVE}", SERVE)
        case _:
            return (_without_a_command(address, cause), "")


def _without_a_command(address: str, cause: Cause) -> str:
    match cause:
        case Cause.NO_TLS_THERE:
            return (
                f"{address} answers without TLS, and TLS was spoken: --tls-ca, PROVISIONER_TLS_CA "
                "or the stored sign-in says so. Leave the option out, unset the variable, or "
                "forget the sign-in (provisioner logout)."
            )
        case Cause.OVER:
            return (
                f"The certificate of {address} has expired. Whoever runs the service must put a "
                "new one into the files of PROVISIONER_TLS_CERT_FILE and "
                "PROVISIONER_TLS_KEY_FILE; it is served within seconds. Is the clock of this "
                "machine right?"
            )
        case Cause.NOT_YET:
            return (
                f"The certificate of {address} is not valid yet. Are the clocks of this machine "
                "and of the service's right?"
            )
        case Cause.ANOTHER_NAME:
            return (
                f"The certificate of {address} names other hosts. Call the service by a name that "
                "is in it (--address NAME:PORT, PROVISIONER_GRPC_ADDRESS), or have one issued for "
                "this name."
            )
        case _:
            return (
                f"{address} speaks HTTP, not gRPC: it is where the service has its web pages "
                "(PROVISIONER_HTTP_ADDRESS), or another program. Give the service's address for "
                "gRPC, which is 127.0.0.1:50051 unless PROVISIONER_GRPC_ADDRESS says otherwise."
            )
