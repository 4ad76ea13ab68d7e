"""Listens for HTTP: uvicorn within our own process, started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import uvicorn

from server.errors import SettingsError
from server.limits import MAX_HEADER_BYTES
from server.rest.malformed import Http11

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from starlette.types import ASGIApp

    from server.settings import Tls

# Connections kept alive by clients that are gone must not hold up the stop.
_STOP_SECONDS = 5


class HttpServer:
    """An HTTP server of one application at one address.

    Attributes:
        port: The port that it listens on; before `start`, the one that was asked for.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, tls: Tls | None = None) -> None:
        self.host = host
        self.port = port
        self._app = app
        self._tls = tls
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen, and return once requests are answered.

        Raises:
            SettingsError: the server can't listen at the address.
        """
        listener = _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
        self._server = _Server(self._app, self._tls)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.ready.wait()

    def take(self, tls: Tls) -> None:
        """Show a renewed certificate to new connections."""
        self._tls = tls
        if self._server is not None:
            self._server.take(tls)

    async def stop(self) -> None:
        """Finish the requests under way, and close."""
        if self._server is not None and self._serving is not None:
            self._server.leaving.set()
            await self._serving
            self._server = self._serving = None


class _Server(uvicorn.Server):
    """uvicorn, but without handling signals, and with an event that says when it listens."""

    def __init__(self, app: ASGIApp, tls: Tls | None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Http11,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # By default a caller on this machine, and whoever comes through a proxy there that
                # passes on what it got, could say in X-Forwarded-For who they are: limits go by
                # the address, and the audit names it.
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_STOP_SECONDS,
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ssl_context_factory=None if tls is None else lambda _config, _own: self._door(tls),
            )
        )
        self._newest: ssl.SSLContext | None = None
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()

    def take(self, tls: Tls) -> None:
        """Show this certificate to new connections."""
        self._newest = tls.context()

    def _door(self, tls: Tls) -> ssl.SSLContext:
        """Return the listener's permanent context, which hands connections on to the newest one.

        If a second certificate were put into it (`load_cert_chain`), the first would stay in use
        beside it if their keys are of different kinds, RSA and EC.
        """
        door = tls.context()
        # Called for each connection, even if the client names no server.
        door.sni_callback = self._hand_on
        return door

    def _hand_on(self, connection: ssl.SSLObject, _name: str, _door: ssl.SSLContext) -> None:
        if self._newest is not None:
            connection.context = self._newest

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the program."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        """Wait until the server should stop; uvicorn's own loop wakes up ten times a second."""
        await self.leaving.wait()
        self.should_exit = True


def _listen(host: str, port: int) -> socket.socket:
    listener: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With the protocol named, because otherwise asyncio leaves Nagle's algorithm on, and
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
