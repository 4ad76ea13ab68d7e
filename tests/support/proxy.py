"""A wire to PostgreSQL that can be cut where it hurts most."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import URL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_BYTES = 1 << 16


class Proxy:
    """Passes everything on, until it is told not to.

    Attributes:
        url: How the database is reached through it.
        connections: Wires laid so far.
    """

    def __init__(self, url: URL, socket: str) -> None:
        self._socket = socket
        self._target = url
        self._server: asyncio.Server | None = None
        self._wires: set[_Wire] = set()
        self._fault: Callable[[_Wire, bytes], Awaitable[bool]] | None = None
        self._word = b""
        self.met = asyncio.Event()
        self.connections = 0
        self.refusing = False
        # Cleared, nothing is passed on and nothing is cut: as a server that hangs.
        self.flows = asyncio.Event()
        self.flows.set()

    @property
    def url(self) -> URL:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return URL.create(
            "postgresql+asyncpg",
            username=self._target.username,
            host="127.0.0.1",
            port=port,
            database=self._target.database,
        )

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut every wire there is, at both ends."""
        for wire in list(self._wires):
            wire.cut()

    def lose_answer_to(self, word: bytes) -> None:
        """Pass the next message with a word on, wait for its answer, and lose that."""

        async def fault(wire: _Wire, data: bytes) -> bool:
            wire.mute = True
            await wire.pass_on(data)
            await wire.answered.wait()
            wire.cut()
            return True

        self._arm(word, fault)

    def cut_before(self, word: bytes, *, server_hears_after: float = 0.0) -> None:
        """Never pass the next message with a word on; the server hears of the cut later."""

        async def fault(wire: _Wire, _data: bytes) -> bool:
            wire.cut_client()
            await asyncio.sleep(server_hears_after)
            wire.cut()
            return True

        self._arm(word, fault)

    def _arm(self, word: bytes, fault: Callable[[_Wire, bytes], Awaitable[bool]]) -> None:
        self._word, self._fault = word, fault
        self.met = asyncio.Event()

    async def on_request(self, wire: _Wire, data: bytes) -> bool:
        """Do the fault if its word is met; True if the message is dealt with."""
        if self._fault is None or self._word not in data:
            return False
        fault, self._fault = self._fault, None
        self.met.set()
        return await fault(wire, data)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.refusing:
            writer.transport.abort()
            return
        try:
            server = await asyncio.open_unix_connection(self._socket)
        except OSError:
            writer.transport.abort()
            return
        wire = _Wire(self, (reader, writer), server)
        self._wires.add(wire)
        try:
            await wire.run()
        finally:
            wire.cut()
            self._wires.discard(wire)


class _Wire:
    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client, self._server = client, server
        self.mute = False
        self.answered = asyncio.Event()

    async def run(self) -> None:
        there = asyncio.create_task(self._requests())
        back = asyncio.create_task(self._answers())
        with contextlib.suppress(ConnectionError):
            await there
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)

    async def pass_on(self, data: bytes) -> None:
        self._server[1].write(data)
        await self._server[1].drain()

    def cut_client(self) -> None:
        self._client[1].transport.abort()

    def cut(self) -> None:
        self.cut_client()
        self._server[1].transport.abort()

    async def _requests(self) -> None:
        while data := await self._client[0].read(_BYTES):
            await self._proxy.flows.wait()
            if not await self._proxy.on_request(self, data):
                await self.pass_on(data)

    async def _answers(self) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await self._server[0].read(_BYTES):
                await self._proxy.flows.wait()
                self.answered.set()
                if not self.mute:
                    self._client[1].write(data)
                    await self._client[1].drain()
        self.answered.set()
        self.cut_client()


@contextlib.asynccontextmanager
async def proxied(url: URL) -> AsyncIterator[Proxy]:
    """Lay a wire to a database that is reached by a socket in a folder."""
    host = url.query["host"]
    assert isinstance(host, str)
    proxy = Proxy(url, f"{host}/.s.PGSQL.5432")
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
