"""Calls a stub and takes the error apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping


@dataclass(frozen=True)
class Failed:
    """A call's failure, with its details."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    metadata: Mapping[str, str]
    fields: tuple[str, ...]
    retry_seconds: float | None


async def failure(call: Awaitable[Any]) -> Failed:  # Any: what it would answer does not matter
    """Await a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return taken_apart(caught.value)


def taken_apart(error: grpc.aio.AioRpcError) -> Failed:
    """Return an error's google.rpc.Status as a value."""
    packed = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    assert isinstance(packed, bytes)
    status = status_pb2.Status.FromString(packed)
    info, bad, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    for detail in status.details:
        assert any(detail.Unpack(kind) for kind in (info, bad, retry))
    if packed:
        assert (status.code, status.message) == (error.code().value[0], error.details())
    return Failed(
        code=error.code(),
        message=error.details() or "",
        reason=info.reason,
        domain=info.domain,
        metadata=dict(info.metadata),
        fields=tuple(violation.field for violation in bad.field_violations),
        retry_seconds=(
            retry.retry_delay.ToTimedelta().total_seconds()
            if retry.HasField("retry_delay")
            else None
        ),
    )
