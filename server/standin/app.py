"""The whole stand-in: an application, a server to start and stop, and the body of a command."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Self

import uvicorn
from starlette.applications import Starlette

from server.standin import control, keeping, masters
from server.standin.api import Api
from server.standin.connections import Connections
from server.standin.gateway import Gateway
from server.standin.masters import DEFAULT_SITE
from server.standin.site import Site
from server.standin.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

LATENCIES = ("none", "recorded")


class StandIn:
    """One ERPNext site behind a real HTTP server: `start`, use its `url`, `stop`.

    Attributes:
        site: Its documents, which a test may look at and change.
        url: Where it answers, such as "http://127.0.0.1:41234"; "" before `start`.
        app: The application, for another server.
    """

    def __init__(
        self,
        *,
        latency: str = "none",
        pace: float = 1.0,
        site: str = DEFAULT_SITE,
        companies: int = 1,
        host: str | None = None,
        state_file: Path | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Prepare a site.

        Args:
            latency: "none", or "recorded" for the times of a real ERPNext.
            pace: What each recorded time is multiplied by, for tests that cannot wait.
            site: The site's name.
            companies: How many Companies it starts with.
            host: The only Host header it answers to; None for any.
            state_file: The file that keeps its documents; None to keep them in memory only.
            now: The site's clock; returns a time with a zone.

        Raises:
            ValueError: `latency` is another word.
            OtherSiteError: the file holds the documents of another site.
        """
        if latency not in LATENCIES:
            raise ValueError(f"latency is {latency!r}; it must be one of {', '.join(LATENCIES)}")
        self.site = Site(site, now=now)
        self.url = ""
        if state_file is None or not keeping.load(self.site, state_file):
            masters.set_up(self.site, companies=companies)
        self._traffic = Traffic(self.site)
        self._connections = Connections()
        self._file = state_file
        api = Api(
            self.site, self._traffic, pace=pace if latency == "recorded" else 0.0, saved=self._save
        )
        self._gateway = Gateway(api, self._traffic, self._connections, host=host)
        self.app = Starlette(routes=control.routes(self.site, self._gateway))
        self.app.router.default = self._gateway
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen, and return once requests are answered.

        Args:
            host: The address to listen at, of IPv4 or IPv6.
            port: The port; 0 picks a free one, which `url` then names.

        Raises:
            OSError: it can't listen there.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # The protocol must be named: without it asyncio leaves Nagle's algorithm on, and every
        # answer waits 40 ms for the client's delayed acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            listener.close()
            raise
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        self._server = _Server(self.app, self._connections)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.ready.wait()

    async def stop(self) -> None:
        """Finish the work under way without further delay, and close."""
        self._traffic.stop()
        if self._server is not None and self._serving is not None:
            self._server.leaving.set()
            await self._serving
            self._server = self._serving = None

    async def arrived(self, method: str, doctype: str, count: int = 1) -> None:
        """Return once so many such requests have come in since the start; for overlapping tests.

        Args:
            method: The HTTP method.
            doctype: The doctype, or the dotted path of a method.
            count: How many, answered or not.
        """
        await self._gateway.arrived(method, doctype, count)

    def hurry(self) -> None:
        """Let the requests that hang or are slow now go on at once."""
        self._traffic.hurry()

    def arrivals(self, method: str, doctype: str) -> int:
        """Count such requests since the start, answered or not.

        Args:
            method: The HTTP method.
            doctype: The doctype, or the dotted path of a method.
        """
        return self._gateway.arrivals[method, doctype]

    async def __aenter__(self) -> Self:
        """Start on a free port."""
        await self.start()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        """Stop."""
        await self.stop()

    def _save(self) -> None:
        if self._file is not None:
            keeping.save(self.site, self._file)


class _Server(uvicorn.Server):
    """uvicorn that leaves signals alone, and reports when it listens."""

    def __init__(self, app: Starlette, connections: Connections) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=connections.protocol(),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                # Connections kept alive by clients that are gone must not delay the shutdown.
                timeout_graceful_shutdown=5,
            )
        )
        self.ready = asyncio.Event()
        self.leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        # uvicorn's own loop checks ten times a second whether it should stop.
        await self.leaving.wait()
        self.should_exit = True


def create_app(
    *,
    latency: str = "none",
    site: str = DEFAULT_SITE,
    companies: int = 1,
    host: str | None = None,
    state_file: Path | None = None,
) -> Starlette:
    """Return the application alone, for another server (which cannot cut connections).

    The arguments and what is raised are those of `StandIn`.
    """
    return StandIn(
        latency=latency, site=site, companies=companies, host=host, state_file=state_file
    ).app


async def run(
    listen: str,
    latency: str = "none",
    site: str = DEFAULT_SITE,
    *,
    state_file: Path | None = None,
    started: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        listen: `host:port`; an IPv6 address in brackets.
        latency: As for `StandIn`.
        site: As for `StandIn`.
        state_file: As for `StandIn`.
        started: Called with the url once requests are answered.

    Raises:
        ValueError: `listen` or `latency` is not like that.
        OSError: it can't listen there.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"listen is {listen!r}; it must be like 127.0.0.1:8080")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for name in signals:
        loop.add_signal_handler(name, stopping.set)
    standin = StandIn(latency=latency, site=site, state_file=state_file)
    try:
        await standin.start(host.strip("[]"), int(port))
        if started is not None:
            started(standin.url)
        await stopping.wait()
    finally:
        await standin.stop()
        for name in signals:
            loop.remove_signal_handler(name)
