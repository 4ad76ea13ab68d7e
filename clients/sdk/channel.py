"""Opens the connection: how it repeats calls, reconnects, and notices that its peer is gone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable

_SERVICE = "provisioner.v1.ProvisioningService"
_FLEET = "provisioner.v1.FleetService"

# Repeats a call that the service could not take, with exactly the same bytes and therefore
# the same request_id: to the service it is one order. 0.2 + 0.4 + 0.8 s bridge a short
# restart, and still tell a person within two seconds that nobody is there. StreamLogs and
# WatchStatus are left out: LogStream resumes by itself, from the last cursor and not from
# the first, and StatusStream returns no status twice.
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": _SERVICE, "method": "StreamLogs"},
                {"service": _SERVICE, "method": "WatchStatus"},
            ]
        },
        {
            "name": [{"service": _SERVICE}, {"service": _FLEET}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # CANCELLED is how gRPC ends a call that a service which is being stopped had not
                # taken up yet; a call that this client cancels is not repeated.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        },
    ]
}

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # By default gRPC waits up to two minutes between attempts to connect; somebody who
    # follows a log must find a service that is back after two seconds at once.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # While an engine is down a follower hears nothing for minutes; without pings it would
    # not notice that the machine at the other end is gone.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # http_proxy is meant for web pages; through it gRPC could not reach even 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How to speak TLS: whom to trust, and what to present.

    Attributes:
        authorities: Certificates of the authorities to trust, as PEM; None for those this machine
            trusts.
        certificate: This client's own certificate, as PEM, if the service asks for one.
        key: The private key of that certificate, as PEM; never shown in a repr.
    """

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


def open_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """Open a channel, which connects at its first call and must be closed.

    Args:
        address: `host:port`, or any gRPC target.
        tls: How to speak TLS; None for plain text.
    """
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.authorities, private_key=tls.key, certificate_chain=tls.certificate
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


class SignedChannel:
    """A channel whose every call carries a token.

    Not one of gRPC's interceptors: an intercepted stream is a different kind of call, which
    says less about how it ended.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    # Any: the stubs' own arguments, passed on unchanged.
    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Make a unary method that sends the token along."""
        return self._signed(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Make a streaming method that sends the token along."""
        return self._signed(self._channel.unary_stream(*args, **kwargs))

    def _signed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: object, **kwargs: Any) -> Any:
            return method(request, metadata=self._metadata, **kwargs)

        return call
