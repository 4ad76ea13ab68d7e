"""Registers a service so that every request is answered, and ready bytes are sent as they are.

Bytes that are not a message are answered with INVALID_ARGUMENT; gRPC itself would say UNKNOWN. The
usual case is text that is not UTF-8, which callers in other languages can send. A method may
answer with the bytes of its message instead of the message.

This is not an interceptor, because one costs each call as much as a read of the database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from server.rpc.failures import Failure, abort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from google.protobuf.message import Message

    from server.rpc.identity import Context

    # Any: gRPC types messages by method, and its handler is a private tuple.
    Handler = Any

MALFORMED = Failure(
    code=grpc.StatusCode.INVALID_ARGUMENT,
    reason="MALFORMED_MESSAGE",
    message=(
        "The request is not a message of this method, or holds text that is not UTF-8. Send text "
        "as UTF-8, built from the provisioner.v1 contract."
    ),
)

# Stands for a request that could not be read.
_MALFORMED_REQUEST = object()


class Registry:
    """Stands between a server and the generated function that adds a service to it.

    It is given in place of a `grpc.aio.Server`, and has only what that function calls.
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(self, _handlers: Sequence[Any]) -> None:
        """Ignore these: the same handlers come once more, by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Add a service's handlers, wrapped.

        They are added as generic ones: grpc.aio keeps a task for each registered method, and looks
        at all of these at each call.

        Args:
            service: The service's full name.
            handlers: Its handlers by method; one that takes a stream of requests is not wrapped.
        """
        wrapped = {
            name: handler if handler.request_streaming else _wrapped(handler)
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, wrapped),)
        )


def _wrapped(handler: Handler) -> Handler:
    behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary
    make = (
        grpc.unary_stream_rpc_method_handler
        if handler.response_streaming
        else grpc.unary_unary_rpc_method_handler
    )

    async def answer(request: object, context: Context) -> object:
        if request is _MALFORMED_REQUEST:
            await abort(context, MALFORMED)
        return await behaviour(request, context)

    return make(
        answer,
        request_deserializer=_reader(handler.request_deserializer),
        response_serializer=_serialized,
    )


def _reader(read: Callable[[bytes], Message]) -> Callable[[bytes], object]:
    def checked(data: bytes) -> object:
        try:
            return read(data)
        except DecodeError:
            return _MALFORMED_REQUEST

    return checked


def _serialized(answer: bytes | Message) -> bytes:
    return answer if isinstance(answer, bytes) else answer.SerializeToString()
