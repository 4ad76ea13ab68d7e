"""One call to the service: with a deadline, and with errors turned into this package's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import grpc.aio

from clients.sdk.errors import from_rpc_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.sdk.channel import Tls

Request = TypeVar("Request")
Answer = TypeVar("Answer")


class Calling:
    """What all parts of the client have in common."""

    _timeout_seconds: float
    _tls: Tls | None
    _make_request_id: Callable[[], str]

    def _order_id(self, request_id: str | None) -> str:
        return request_id or self._make_request_id()

    async def _call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Request, Answer], request: Request
    ) -> Answer:
        try:
            return await method(request, timeout=self._timeout_seconds)
        except grpc.aio.AioRpcError as error:
            raise from_rpc_error(error, tls=self._tls is not None) from error
