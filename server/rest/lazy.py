"""Builds the application when somebody first asks for more than whether the service is there.

Its libraries take a third of a second and a dozen megabytes: a server whose callers all use gRPC
starts without them, and is healthy at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.rest.answers import CompactJson

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

_HEALTH = frozenset({"/health", "/api/health"})


class LazyApp:
    """An ASGI application that is built at its first request."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._built: ASGIApp | None = None
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._built is None and scope["type"] == "http" and _asks_for_health(scope):
            await CompactJson({"status": "healthy"}, 200, _HEADERS)(scope, receive, send)
            return
        app = self._built or await self._once()
        await app(scope, receive, send)

    async def _once(self) -> ASGIApp:
        async with self._lock:
            if self._built is None:
                # In a thread, so that heartbeats and calls under way do not wait for imports.
                self._built = await asyncio.to_thread(self._build)
            return self._built


# The same headers that `front` adds to every answer.
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Vary": "Origin"}


def _asks_for_health(scope: Scope) -> bool:
    # The answer to another origin's page depends on the origin, so `front` must give it.
    plain = all(name != b"origin" for name, _ in scope["headers"])
    return plain and scope["method"] == "GET" and scope["path"] in _HEALTH
