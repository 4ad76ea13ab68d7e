"""Opens the connection: how it retries, how fast it comes back, how it notices a dead peer."""

from __future__ import annotations

import json

import grpc.aio

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


def open_channel(address: str) -> grpc.aio.Channel:
    """Open a plain-text channel to `address` (`host:port`, or any gRPC target)."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)
