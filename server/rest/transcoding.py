"""Carries `/v1` over to the gRPC service in the same process: JSON in, the rpc, JSON out.

The methods that gRPC callers call also answer here, so rights, limits and errors are the same, and
are decided in one place. Nothing goes over a wire in between.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from server.rest.answers import CompactJson
from server.rest.misfits import misfits, told_twice
from server.validation.words import shown

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from google.protobuf.message import Message
    from starlette.requests import Request

    from server.errors import Violation
    from server.rest.routes_v1 import Route

    Field = Any  # Any: protobuf has two implementations of descriptors without a common type

# As google.rpc.Code maps to HTTP, with three exceptions: what the tenant's state does not allow is
# a conflict (409), a log that is no longer kept is gone (410), and a cursor beyond its end is 416.
_HTTP = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.DATA_LOSS: 410,
    grpc.StatusCode.OUT_OF_RANGE: 416,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_DETAILS_KEY = "grpc-status-details-bin"


class CallFailed(Exception):  # noqa: N818 - it is how a call ends; it never leaves the room
    """A call that failed, with everything that a gRPC caller would get."""

    def __init__(self, code: grpc.StatusCode, message: str, details: status_pb2.Status) -> None:
        super().__init__(code)
        self.code = code
        self.message = message
        self.details = details

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """Return the failure as it is sent: code, message, and the details of google.rpc.Status."""
        shown = json_format.MessageToDict(self.details, preserving_proto_field_name=True)
        return {
            "code": self.code.name,
            "message": self.message,
            "details": shown.get("details", []),
        }

    def answer(self) -> CompactJson:
        """Return the answer."""
        headers = {}
        if (seconds := self._retry_seconds()) is not None:
            headers["Retry-After"] = str(max(1, round(seconds)))
        if self.code is grpc.StatusCode.UNAUTHENTICATED:
            headers["WWW-Authenticate"] = "Bearer"
        return CompactJson(self.as_json(), _HTTP.get(self.code, 500), headers)

    def _retry_seconds(self) -> float | None:
        retry = error_details_pb2.RetryInfo()
        for detail in self.details.details:
            if detail.Unpack(retry):
                return float(retry.retry_delay.ToTimedelta().total_seconds())
        return None


class Call:
    """Stands in for grpc.aio's context: what an rpc's method sees of its caller.

    A stream's messages wait in a queue until they are read, so a slow reader makes the rpc wait.
    """

    def __init__(self, request: Request) -> None:
        self._host = request.client.host if request.client else "unknown"
        authorization = request.headers.get("authorization")
        self._metadata = () if authorization is None else (("authorization", authorization),)
        self._line: asyncio.Queue[Message | bytes] = asyncio.Queue(maxsize=1)

    def peer(self) -> str:
        """Return where the call comes from."""
        return f"http:{self._host}"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """Return the metadata of the request: its Authorization header, if it has one."""
        return self._metadata

    def time_remaining(self) -> float | None:
        """Return None: HTTP callers have no deadline."""
        return None

    async def write(self, message: Message | bytes) -> None:
        """Take a stream's next message; wait while the reader has not read the one before."""
        await self._line.put(message)

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: tuple[tuple[str, bytes], ...] = (),
    ) -> NoReturn:
        """End the call by raising CallFailed."""
        status = status_pb2.Status()
        packed = dict(trailing_metadata).get(_DETAILS_KEY)
        if packed is not None:
            status.ParseFromString(packed)
        raise CallFailed(code, details, status)

    async def messages(self, work: asyncio.Task[None]) -> AsyncGenerator[Message | bytes, None]:
        """Yield the stream's messages until the rpc ends.

        Raises:
            CallFailed: the rpc failed.
        """
        while True:
            taking = asyncio.ensure_future(self._line.get())
            try:
                await asyncio.wait({taking, work}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    break
                yield taking.result()
            finally:
                taking.cancel()
        while not self._line.empty():
            yield self._line.get_nowait()
        await work


def request_of(
    route: Route, body: bytes, query: Mapping[str, list[str]], path: Mapping[str, str]
) -> Message:
    """Return the request in a JSON body, or in the query; fields in the path take precedence.

    Raises:
        CallFailed: INVALID_ARGUMENT, with the field if it is known.
    """
    message = route.request()
    if route.verb == "POST":
        fields = _parsed(body)
    else:
        # A query may have parameters that are not fields (pages add some to bypass caches); a body
        # may not: a misspelt field would change what is ordered.
        fields = {
            name: _from_query(field, values)
            for name, values in query.items()
            if (field := _field(message, name)) is not None
        }
    # The path says which; a body may repeat it, in either spelling.
    said = {each.json_name for name in path if (each := _field(message, name)) is not None}
    fields = {name: value for name, value in fields.items() if name not in {*path, *said}}
    sent = {**fields, **path}
    try:
        json_format.ParseDict(sent, message)
    except (json_format.ParseError, ValueError, RecursionError) as error:
        raise _refused(misfits(type(message), sent), _reason(error)) from None
    if wrong := told_twice(type(message), sent):
        raise _refused(wrong)
    return message


def _refused(wrong: tuple[Violation, ...], reason: str = "") -> CallFailed:
    told = "; ".join(f"{each.field}: {each.description}" for each in wrong)
    return invalid(told or reason, wrong)


def as_json(message: Message) -> dict[str, Any]:  # Any: JSON
    """Return a message as protobuf's JSON, with all fields, under the contract's own names."""
    written: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return written


def invalid(message: str, wrong: tuple[Violation, ...] = ()) -> CallFailed:
    """Return the failure for a request that is not a valid message of the rpc.

    Args:
        message: What is wrong, and how to correct it.
        wrong: The fields that are wrong, if they are known.
    """
    details = status_pb2.Status(code=grpc.StatusCode.INVALID_ARGUMENT.value[0], message=message)
    info = error_details_pb2.ErrorInfo(reason="MALFORMED_MESSAGE", domain="provisioner")
    details.details.add().Pack(info)
    if wrong:
        bad = error_details_pb2.BadRequest()
        for each in wrong:
            bad.field_violations.add(field=each.field, description=each.description)
        details.details.add().Pack(bad)
    return CallFailed(grpc.StatusCode.INVALID_ARGUMENT, message, details)


def _parsed(body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        fields = json.loads(body, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON. Send an object with the rpc's fields.") from None
    if not isinstance(fields, dict):
        raise invalid("The body is not a JSON object. Send an object with the rpc's fields.")
    return fields


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object; a name that occurs twice is refused, because which is meant is a guess."""
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        )
        raise invalid(f"The body has {shown(twice)} more than once in one object. Send it once.")
    return made


def _from_query(field: Field, values: list[str]) -> object:
    read = [_typed(field, value) for value in values]
    return read if field.is_repeated else read[-1]


def _field(message: Message, name: str) -> Field | None:
    fields = message.DESCRIPTOR.fields
    return next((each for each in fields if name in {each.name, each.json_name}), None)


def _typed(field: Field, value: str) -> object:
    """Return a value of the query as its field needs it; protobuf reads numbers from text."""
    if field.cpp_type == field.CPPTYPE_BOOL and value.lower() in {"true", "false", "1", "0", ""}:
        return value.lower() in {"true", "1", ""}
    if field.enum_type is not None:
        prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
        word = value.upper()
        return word if word.startswith(prefix) else f"{prefix}{word}"
    return value


def _reason(error: Exception) -> str:
    """Return what can't be read, in one line of bounded length."""
    text = "".join(char if char.isprintable() else " " for char in str(error))
    return f"The request can't be read: {text[:300]}"
