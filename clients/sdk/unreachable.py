"""Tells from gRPC's own words why nobody answers, and what to do about it. Pure.

Somebody who speaks TLS to a service without it, or the other way round, must not be told that
the service is not running: they would look for the fault in the wrong place.
"""

from __future__ import annotations

from enum import Enum


class Cause(Enum):
    """Why a call did not reach the service; the value says it in words, with the remedy."""

    UNKNOWN = ""
    NO_TLS_THERE = (
        "The service answers without TLS, and TLS was spoken. Leave `tls` out for this address, or "
        "call the one that speaks TLS."
    )
    OVER = (
        "The service's certificate is over. Whoever runs it puts a new one into the files of "
        "PROVISIONER_TLS_CERT_FILE and PROVISIONER_TLS_KEY_FILE. Is this machine's clock right?"
    )
    NOT_YET = (
        "The service's certificate is not good yet. Are the clocks of this machine and of the "
        "service's right?"
    )
    ANOTHER_NAME = (
        "The service's certificate names other hosts than the one that was called. Call it by a "
        "name that is in it, or have one issued for this name."
    )
    NOT_TRUSTED = (
        "The service's certificate is signed by nobody who is trusted here. Give the certificate "
        "of the authority that signed it as `Tls(authorities=…)`."
    )
    NOT_GRPC = (
        "What answers speaks HTTP, not gRPC: the service has its web pages there "
        "(PROVISIONER_HTTP_ADDRESS), or it is another program. Give the service's address for gRPC."
    )
    HUNG_UP = "It hung up at once: if the service speaks TLS, give `tls=Tls(…)`."
    HUNG_UP_IN_TLS = (
        "It hung up in the middle of TLS: the service wants a client's certificate, or does not "
        "take this one. Give `Tls(certificate=…, key=…)`, signed by an authority of "
        "PROVISIONER_TLS_CLIENT_CA_FILE. If it wants none, its own key is of a kind that gRPC does "
        "not take from servers, such as Ed25519."
    )


# The first sign that is found decides.
_SIGNS = (
    ("WRONG_VERSION_NUMBER", Cause.NO_TLS_THERE),
    ("certificate has expired", Cause.OVER),
    ("certificate is not yet valid", Cause.NOT_YET),
    ("Hostname Verification", Cause.ANOTHER_NAME),
    ("CERTIFICATE_VERIFY_FAILED", Cause.NOT_TRUSTED),
    ("http1.x server", Cause.NOT_GRPC),
    # HTTPS is TLS, too, but does not offer gRPC.
    ("missing selected ALPN property", Cause.NOT_GRPC),
    ("Handshake read failed", Cause.HUNG_UP_IN_TLS),
)
_HUNG_UP = ("Socket closed", "Connection reset")


def cause_of(words: str, *, tls: bool) -> Cause:
    """Return why nobody answered.

    Args:
        words: What gRPC said.
        tls: Whether the client spoke TLS.

    Returns:
        The cause; UNKNOWN if gRPC's words do not tell.
    """
    for sign, cause in _SIGNS:
        if sign in words:
            return cause
    # Only while connecting: an open connection says the same when the service stops.
    if "failed to connect" in words and any(sign in words for sign in _HUNG_UP):
        return Cause.HUNG_UP_IN_TLS if tls else Cause.HUNG_UP
    return Cause.UNKNOWN
