"""Opens the connection: how it retries, how fast it comes back, how it notices a dead peer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable

_SERVICE = "provisioner.v1.ProvisioningService"
_FLEET = "provisioner.v1.FleetService"

# Repeats a call that the service could not take, with the very same bytes and so the
# same request_id: to the service it is one order. 0.2 + 0.4 + 0.8 s bridge a short
# restart and still tell a person within two seconds that nobody is there. StreamLogs
# is left out: LogStream resumes by itself, from the last cursor instead of the first;
# WatchStatus too: StatusStream tells nothing twice.
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
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        },
    ]
}

_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    # gRPC waits up to two minutes between two tries to connect; a service that came
    # back after two seconds must be found at once by those who follow a log.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A follower hears nothing for minutes while an engine is down; without pings it
    # would not notice that the machine at the other end is gone.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # http_proxy is meant for web pages; through it gRPC would miss even 127.0.0.1.
    ("grpc.enable_http_proxy", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Speak TLS, and whom to trust.

    Attributes:
        authorities: Certificates in PEM; None: those this machine trusts.
        certificate: This client's own, in PEM, where the service wants one.
        key: The certificate's key.
    """

    authorities: bytes | None = None
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


def open_channel(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """Open a channel to `address` (`host:port`, or any gRPC target)."""
    if tls is None:
        return grpc.aio.insecure_channel(address, options=_OPTIONS)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.authorities, private_key=tls.key, certificate_chain=tls.certificate
    )
    return grpc.aio.secure_channel(address, credentials, options=_OPTIONS)


class SignedChannel:
    """A channel whose every call carries a token.

    No interceptor of gRPC's: an intercepted stream is another kind of call, which does not
    tell as much of its end.
    """

    def __init__(self, channel: grpc.aio.Channel, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    # Any: the stubs' own arguments, handed on as they are.
    def unary_unary(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Make a method that sends the token along."""
        return self._signed(self._channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Make a streaming method that sends the token along."""
        return self._signed(self._channel.unary_stream(*args, **kwargs))

    def _signed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: object, **kwargs: Any) -> Any:
            return method(request, metadata=self._metadata, **kwargs)

        return call
