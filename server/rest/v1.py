"""The routes of `/v1`: every rpc that pages and scripts need, with streams as events.

Callers who accept server-sent events get a stream as events with ids; a browser that lost its
connection sends the last id again, and misses nothing. Other callers get what there is, once, as
JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import compile_path

from server.limits import MAX_LOG_AT_ONCE
from server.rest.answers import CompactJson, compact
from server.rest.documented_v1 import documented
from server.rest.routes_v1 import Route, routes_of
from server.rest.transcoding import Call, CallFailed, as_json, invalid, request_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator

    from google.protobuf.message import Message

    from server.rest.parts import Parts

_EVENTS = "text/event-stream"
# Proxies close a connection on which nothing is sent for a minute.
_SILENCE_SECONDS = 15.0
# How long a browser waits before it connects again.
_COME_AGAIN_MS = 2000
# An int64 can hold any number with this many digits.
_MAX_DIGITS = 18


_PATH = "/v1"
# A call is refused within this time, because that takes a read or two of the database.
_REFUSED_SECONDS = 0.5


class _End(Enum):
    END = auto()


_END = _End.END


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["v1"])
    for route in routes_of(parts.services):
        answer = _stream(parts, route) if route.event else _unary(parts, route)
        router.add_api_route(
            route.path, answer, methods=[route.verb], name=route.rpc, **documented(route)
        )
    return router


def no_route(services: Collection[str]) -> Callable[[str], CompactJson | None]:
    """Return what answers that nothing is at a path of `/v1`, or which methods it takes.

    Its answer is None for any other path.

    Args:
        services: The names of the services that are served.
    """
    known = [(compile_path(route.path)[0], route.verb) for route in routes_of(services)]

    def answer(path: str) -> CompactJson | None:
        if path != _PATH and not path.startswith(f"{_PATH}/"):
            return None
        methods = ", ".join(sorted({verb for pattern, verb in known if pattern.match(path)}))
        if methods:
            code, status, headers = "UNIMPLEMENTED", 405, {"Allow": methods}
            said = f"This path takes {methods} only."
        else:
            code, status, headers = "NOT_FOUND", 404, {}
            said = "Nothing is at this path."
        message = f"{said} The paths of /v1, and their methods: /docs"
        return CompactJson({"code": code, "message": message, "details": []}, status, headers)

    return answer


def _unary(parts: Parts, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            message = await _message(request, route)
            said = await getattr(parts.services[route.service], route.rpc)(message, Call(request))
        except CallFailed as failed:
            return failed.answer()
        return CompactJson(as_json(route.answer(said)))

    return answer


def _stream(parts: Parts, route: Route) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        events = _EVENTS in request.headers.get("accept", "")
        try:
            message = await _message(request, route, follow=events)
            stream = _Stream(parts.services[route.service], route, message, request)
            # Before the answer begins, because a refused call must not be answered as a stream.
            await stream.begin()
        except CallFailed as failed:
            return failed.answer()
        if not events:
            return await stream.at_once()
        return StreamingResponse(
            stream.events(), media_type=_EVENTS, headers={"X-Accel-Buffering": "no"}
        )

    return answer


async def _message(request: Request, route: Route, *, follow: bool | None = None) -> Message:
    query = {name: request.query_params.getlist(name) for name in request.query_params}
    if route.resume is not None and route.resume.asked and (last := _last_event(request)):
        query[route.resume.asked] = [str(last)]
    if follow is not None and route.can_follow:
        query["follow"] = ["true" if follow else "false"]
    return request_of(route, await request.body(), query, request.path_params)


def _last_event(request: Request) -> int:
    """Return the id of the event that was read last; 0 if none is named.

    Raises:
        CallFailed: it is not one of our ids.
    """
    text = request.headers.get("last-event-id", "").strip()
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > _MAX_DIGITS:
        raise invalid(
            "Last-Event-ID is not the id of an event. Send the last one's, or leave it out."
        )
    return int(text)


class _Stream:
    """One stream of an rpc, sent as events or all at once."""

    def __init__(self, service: object, route: Route, message: Message, request: Request) -> None:
        self._route = route
        self._known = _last_event(request)
        call = Call(request)
        method = getattr(service, route.rpc)
        self._work: asyncio.Task[None] = asyncio.create_task(
            method(message, call), name=f"v1-{route.rpc}"
        )
        self._messages = call.messages(self._work)
        self._next: asyncio.Future[Message | bytes] | None = None

    async def begin(self) -> None:
        """Wait for the first message, or for a moment, after which the call is no longer refused.

        Raises:
            CallFailed: the call was refused.
        """
        try:
            first = await self._message(_REFUSED_SECONDS)
        except BaseException:
            await self._end()
            raise
        self._first = first

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the stream as events; the last one says why it ended."""
        try:
            yield b"retry: %d\n\n" % _COME_AGAIN_MS
            message = self._first
            while message is not _END:
                yield b"".join(self._told(message)) if message is not None else b": still here\n\n"
                message = await self._message(_SILENCE_SECONDS)
            yield b"event: end\ndata: {}\n\n"
        except CallFailed as failed:
            yield b"event: error\ndata: %b\n\n" % compact(failed.as_json())
        finally:
            await self._end()

    async def at_once(self) -> Response:
        """Answer with what there is."""
        each = self._route.each
        items: list[Any] = []
        answer: dict[str, Any] = {}
        try:
            message = self._first
            while message is not _END and len(items) < MAX_LOG_AT_ONCE:
                if message is not None:
                    answer = as_json(message)
                    if not each:
                        break
                    items += answer[each]
                message = await self._message(_SILENCE_SECONDS)
        except CallFailed as failed:
            return failed.answer()
        finally:
            await self._end()
        if not each:
            return CompactJson(answer)
        return CompactJson({**answer, each: items} if items else {each: []})

    async def _message(self, seconds: float) -> Message | _End | None:
        """Return the next message; `_END` at the end; None if none came within so many seconds."""
        if self._next is None:
            self._next = asyncio.ensure_future(anext(self._messages))
        done, _ = await asyncio.wait({self._next}, timeout=seconds)
        if not done:
            return None
        coming, self._next = self._next, None
        try:
            return self._route.answer(coming.result())
        except StopAsyncIteration:
            return _END

    def _told(self, message: Message) -> Iterator[bytes]:
        """Yield a message as events, each with the id from which to resume."""
        for item in getattr(message, self._route.each) if self._route.each else (message,):
            if self._route.resume is not None:
                if self._route.resume.is_known(item, self._known):
                    continue
                yield b"id: %d\n" % self._route.resume.position(item)
            yield b"event: %b\ndata: %b\n\n" % (self._route.event.encode(), compact(as_json(item)))

    async def _end(self) -> None:
        """End the rpc, whoever ended the stream."""
        self._work.cancel()
        waiting: set[asyncio.Future[Any]] = {self._work}
        if self._next is not None:
            self._next.cancel()
            waiting.add(self._next)
        await asyncio.wait(waiting)
        for each in waiting:
            # Retrieved, or asyncio would report that it never was.
            with contextlib.suppress(asyncio.CancelledError):
                each.exception()
        await self._messages.aclose()
