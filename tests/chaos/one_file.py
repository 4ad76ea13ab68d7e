"""Two servers and a reconciler on one SQLite file: one drives, the other serves and stands by."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
from typing import TYPE_CHECKING, Any

from tests.chaos.fleet import LEASE_SECONDS, Fleet
from tools.installation import Installation, free_port

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from tests.chaos.fleet import Harm

SERVERS, RECONCILERS = 2, 1


class OneFile(Fleet):
    """The processes, and the file they share."""

    def __init__(self, file: Path, members: list[Installation]) -> None:
        super().__init__(members, reconcilers=RECONCILERS)
        self._file = file

    @property
    def harms(self) -> Sequence[Harm]:
        return (*super().harms, self.fill_the_disk)

    async def fill_the_disk(self, dice: random.Random) -> str:
        """Let no process write another byte to any file for a while: data, journal, log."""
        filled = []
        for member in self.members:
            for process in member.processes.values():
                with contextlib.suppress(ProcessLookupError):
                    limits = resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, -1))
                    filled.append((process, limits))
        await asyncio.sleep(1 + dice.random())  # how long it is full
        for process, limits in filled:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, limits)
        return "disk full"

    async def damage(self, tenant: str) -> None:
        await asyncio.to_thread(
            self._run,
            "DELETE FROM steps WHERE tenant_id = :id",
            "UPDATE tenants SET state = 'PARTIAL' WHERE id = :id",
            id=tenant,
        )

    async def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        return await asyncio.to_thread(self._run, statement, **values)

    def _run(self, *statements: str, **values: object) -> list[tuple[Any, ...]]:
        """Run statements in one transaction; return the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with contextlib.closing(sqlite3.connect(self._file, timeout=60)) as connection, connection:
            for statement in statements:
                rows = connection.execute(statement, values).fetchall()
        return rows


@contextlib.asynccontextmanager
async def one_file(folder: Path) -> AsyncIterator[OneFile]:
    """Give servers on a file of their own."""
    file = folder / "provisioner.db"
    site_port = free_port()
    members = []
    for number in range(SERVERS):
        place = folder / str(number)
        place.mkdir()
        settings = {
            "PROVISIONER_DATABASE_URL": f"sqlite+aiosqlite:///{file}",
            "PROVISIONER_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        members.append(Installation(folder=place, settings=settings, site_port=site_port))
    made = OneFile(file, members)
    try:
        yield made
    finally:
        await made.close()
