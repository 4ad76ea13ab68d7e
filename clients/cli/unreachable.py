"""Says why nobody answers at an address, as far as gRPC's own words tell. Pure.

Whoever speaks TLS to a server without, or the other way round, must not read that the server
does not run: he would look for the fault in the wrong place.
"""

from __future__ import annotations

from clients.cli.wire_text import plain

SERVE = "provisioner serve"
_LOGIN = "provisioner login EMAIL --address {address} --tls-ca FILE"


def why(address: str, words: str) -> tuple[str, str]:
    """Return what is the matter, and the command to give next ("" for none).

    Args:
        address: Where the call went.
        words: What gRPC said.
    """
    login = _LOGIN.format(address=plain(address))
    if "WRONG_VERSION_NUMBER" in words:
        return (
            f"{address} answers without TLS, and TLS was spoken: --tls-ca, PROVISIONER_TLS_CA or "
            "the sign-in that is kept for it says so. Leave the option out, unset the variable, "
            "or forget the sign-in (provisioner logout).",
            "",
        )
    if "certificate has expired" in words:
        return (
            f"The certificate of {address} is over. Whoever runs the service puts a new one into "
            "the files of PROVISIONER_TLS_CERT_FILE and PROVISIONER_TLS_KEY_FILE; it is served "
            "within seconds. Is the clock of this machine right?",
            "",
        )
    if "CERTIFICATE_VERIFY_FAILED" in words or "Hostname Verification" in words:
        return (
            f"The certificate of {address} is not one to trust here: who signed it is not known, "
            f"or it names another host. Name the authority that signed it: {login}",
            login,
        )
    if "http1.x server" in words:
        return (
            f"{address} speaks HTTP, not gRPC: it is where the service has its web pages "
            "(PROVISIONER_HTTP_ADDRESS), or another program. Give the service's address for gRPC, "
            "which is 127.0.0.1:50051 unless PROVISIONER_GRPC_ADDRESS says otherwise.",
            "",
        )
    if "Socket closed" in words or "Connection reset" in words:
        return (
            f"{address} hung up: if it speaks TLS, sign in with: {login}",
            login,
        )
    return (
        f"Not reachable at {address}. Is it running? Start it with: {SERVE}",
        SERVE,
    )
