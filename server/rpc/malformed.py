"""Answers bytes that are no message: INVALID_ARGUMENT, where gRPC itself says UNKNOWN.

Text that is not UTF-8 is the usual case; callers in other languages can send it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc.aio
from google.protobuf.message import DecodeError

from server.rpc.failures import Failure, abort

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.rpc.identity import Context

MALFORMED = Failure(
    code=grpc.StatusCode.INVALID_ARGUMENT,
    reason="MALFORMED_MESSAGE",
    message=(
        "The request is no message of this method, or holds text that is not UTF-8. Send text "
        "as UTF-8, built from the provisioner.v1 contract."
    ),
)


# Stands for a request that could not be read.
_MALFORMED_REQUEST = object()


class AnswerMalformed(grpc.aio.ServerInterceptor):
    """Reads the requests of one service itself, so that one that can't be read is answered."""

    def __init__(self, service: str) -> None:
        self._prefix = f"/{service}/"

    async def intercept_service(
        self,
        # Any: gRPC types messages by method, and its handler is a tuple kept to itself.
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's reader and its behaviour."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(self._prefix):
            return handler
        behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary

        def read(data: bytes) -> object:
            try:
                return handler.request_deserializer(data)
            except DecodeError:
                return _MALFORMED_REQUEST

        async def answer(request: object, context: Context) -> object:
            if request is _MALFORMED_REQUEST:
                await abort(context, MALFORMED)
            return await behaviour(request, context)

        make = (
            grpc.unary_stream_rpc_method_handler
            if handler.response_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            answer,
            request_deserializer=read,
            response_serializer=handler.response_serializer,
        )
