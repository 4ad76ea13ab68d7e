"""Stands in front of the routes: the `/api` prefix, pages of other origins, bugs, counts.

Every route answers with and without `/api`, because the old front end's proxy tries both. Whose
pages may write is decided before this (`server.access.http_door`); here the pages that may are
told so in the headers that browsers ask for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from server.rest.answers import CompactJson, broken

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_PREFIX = "/api"
_KNOWN = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_SECONDS = "600"


class Front:
    """An ASGI application in front of another.

    Attributes:
        counts: Requests answered, by method and status.
    """

    def __init__(self, app: ASGIApp, *, origins: frozenset[str]) -> None:
        self.counts: Counter[tuple[str, int]] = Counter()
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        method: str = scope["method"]
        began = False

        async def answer(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                self.counts[method if method in _KNOWN else "OTHER", message["status"]] += 1
                self._mark(MutableHeaders(scope=message), origin, headers)
            await send(message)

        try:
            if method == "OPTIONS" and origin and "access-control-request-method" in headers:
                await CompactJson({})(scope, receive, answer)
                return
            await self._app(_as_get(_without_prefix(scope)), receive, answer)
        except Exception as error:
            if began:
                raise
            await broken(error, "internal_error").answer()(scope, receive, answer)

    def _mark(self, answer: MutableHeaders, origin: str, asked: Headers) -> None:
        """Let pages of our origins, and no others, read the answer."""
        answer["X-Content-Type-Options"] = "nosniff"
        answer.setdefault("Cache-Control", "no-store")
        answer.add_vary_header("Origin")
        if origin.lower() not in self._origins:
            return
        answer["Access-Control-Allow-Origin"] = origin
        answer["Access-Control-Allow-Credentials"] = "true"
        if "access-control-request-method" in asked:
            answer["Access-Control-Allow-Methods"] = _METHODS
            # All of them, by name: with credentials browsers do not accept `*` here.
            wanted = asked.get("access-control-request-headers", "Authorization, Content-Type")
            answer["Access-Control-Allow-Headers"] = wanted
            answer["Access-Control-Max-Age"] = _PREFLIGHT_SECONDS


def _as_get(scope: Scope) -> Scope:
    """Return a HEAD request as a GET, whose body the server then does not send.

    It never asks for a stream, which would go on for nobody.
    """
    if scope["method"] != "HEAD":
        return scope
    headers = [(name, value) for name, value in scope["headers"] if name != b"accept"]
    return {**scope, "method": "GET", "headers": headers}


def _without_prefix(scope: Scope) -> Scope:
    path: str = scope["path"]
    if path != _PREFIX and not path.startswith(f"{_PREFIX}/"):
        return scope
    return {**scope, "path": path[len(_PREFIX) :] or "/", "raw_path": None}
