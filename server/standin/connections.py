"""The open TCP connections, so that one can be cut without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import asyncio

    from starlette.types import Receive, Scope


class Connections:
    """Finds the connection of a request by the client's address and port."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, int], asyncio.Transport] = {}

    def protocol(self) -> type[H11Protocol]:
        """Return uvicorn's HTTP protocol, extended to report its connections here."""
        opened = self._open

        class Reporting(H11Protocol):
            # uvicorn types the transport loosely, too.
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn
                super().connection_made(transport)
                if self.client is not None:
                    opened[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                if self.client is not None:
                    opened.pop(self.client, None)
                super().connection_lost(exc)

        return Reporting

    async def cut(self, scope: Scope, receive: Receive) -> None:
        """Close the connection of a request at once; return when it is gone.

        Args:
            scope: The request's ASGI scope.
            receive: The request's ASGI channel.

        Raises:
            ConnectionAbortedError: another server than `StandIn`'s holds the connection.
        """
        transport = self._open.get(tuple(scope.get("client") or ()))
        if transport is None:
            raise ConnectionAbortedError("This server does not let its connections be cut.")
        transport.abort()
        # If the application returned while the client is still there, uvicorn would answer for it.
        while (await receive())["type"] != "http.disconnect":
            pass
