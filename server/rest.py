"""The HTTP face: for now only whether the service is there, for probes and old scripts.

Answers are compact JSON, errors too: `{"detail": …}`, as the old API's clients read them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

# Kept-alive connections of clients that are gone must not hold up the end.
_STOP_SECONDS = 5


def create_app() -> Starlette:
    """Build the application."""
    app = Starlette(
        # Every route with and without /api: the old web frontend's proxy tries both.
        routes=[Route(path, _health, methods=["GET"]) for path in ("/health", "/api/health")],
        # A known path with another method is "not found" too, as long as it is all there is.
        exception_handlers={404: _not_found, 405: _not_found},
    )
    app.router.redirect_slashes = False
    return app


class HttpServer:
    """An HTTP server at one address.

    Attributes:
        port: Where it listens; the one asked for before `start`.
    """

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            SettingsError: the address can't be listened at.
        """
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._server = _Server(create_app())
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Finish the requests under way, and close."""
        if self._server is not None and self._serving is not None:
            self._server.leaving.set()
            await self._serving
            self._server = self._serving = None


class _Server(uvicorn.Server):
    """uvicorn without its hands on signals, and with a word when it listens."""

    def __init__(self, app: Starlette) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
            )
        )
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn's own looks for it ten times a second."""
        await self.leaving.wait()
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named: without it asyncio leaves Nagle's algorithm on, and
        # answers wait 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise SettingsError(
            f"PROVISIONER_HTTP_ADDRESS: cannot listen at {host}:{port} ({error.strerror}). Stop "
            "what listens there, or choose another, such as 127.0.0.1:4001."
        ) from error
    return listener


async def _health(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "healthy"})


async def _not_found(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "Not Found"}, status_code=404)
