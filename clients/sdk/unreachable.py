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
        "The client spoke TLS, but the service answers without it. Leave `tls` out for this "
        "address, or call the address that speaks TLS."
    )
    OVER = (
        "The service's certificate has expired. Whoever runs the service has to put a new one into "
        "the files of PROVISIONER_TLS_CERT_FILE and PROVISIONER_TLS_KEY_FILE. Or is this "
        "machine's clock wrong?"
    )
    NOT_YET = (
        "The service's certificate is not valid yet. Check the clocks of this machine and of the "
        "service's."
    )
    ANOTHER_NAME = (
        "The service's certificate does not name the host that was called. Call it by a name that "
        "is in it, or have one issued for this name."
    )
    NOT_TRUSTED = (
        "The service's certificate is signed by an authority that is not trusted here. Give that "
        "authority's certificate as `Tls(authorities=…)`."
    )
    NOT_GRPC = (
        "What answers speaks HTTP, not gRPC: either the service's HTTP address "
        "(PROVISIONER_HTTP_ADDRESS), or another program. Give the service's gRPC address."
    )
    HUNG_UP = "The service hung up at once: if it speaks TLS, give `tls=Tls(…)`."
    HUNG_UP_IN_TLS = (
        "The service hung up during the TLS handshake: it wants a client certificate, or does not "
        "accept this one. Give `Tls(certificate=…, key=…)`, signed by an authority in its "
        "PROVISIONER_TLS_CLIENT_CA_FILE. If it wants none, its own key is of a kind that gRPC does "
        "not accept from servers, such as Ed25519."
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
        The cause; UNKNOWN if gRPC's words do not tell, as those of another version may not.
    """
    for sign, cause in _SIGNS:
        if sign in words:
            return cause
    # Only while connecting: an open connection says the same when the service stops.
    if "failed to connect" in words and any(sign in words for sign in _HUNG_UP):
        return Cause.HUNG_UP_IN_TLS if tls else Cause.HUNG_UP
    return Cause.UNKNOWN
