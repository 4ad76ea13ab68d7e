"""Opens a database, SQLite or PostgreSQL, and puts reader and writer together.

SQLite: a synchronous engine on one thread of its own writes (WAL, synchronous=FULL: what
was acknowledged survives a power cut), aiosqlite reads. PostgreSQL: asyncpg for both;
the same synchronous `apply` runs inside `run_sync`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from server.errors import StoreUnavailable
from server.store import schema
from server.store.apply import apply, ensure_engine
from server.store.bound import read_bound
from server.store.driver_lock import DriverLock
from server.store.listing import TenantLists
from server.store.pictures import read_picture
from server.store.reads import Reads
from server.store.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from typing import Self, TypeVar

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.store.operations import GateOperation, Operation, Outcome
    from server.store.pictures import StoredPicture

    T = TypeVar("T")

# How long a write waits for another process's transaction on the same file.
_BUSY_SECONDS = 10.0


class Database:
    """A store: `reads` to read, `submit` to write."""

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._sync: Engine | None = None
        self._thread: ThreadPoolExecutor | None = None
        if self.is_sqlite:
            path = Path(self.url.database or "")
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
            self._sync = _sqlite_engine(self.url)
            self.driver_lock: DriverLock | None = DriverLock(path)
        else:
            self.driver_lock = None
        self._engine = _reading_engine(self.url)
        self.reads = Reads(self._engine)
        self.lists = TenantLists(self._engine)
        self._writer = Writer(self._commit)
        self.on_applied = self._writer.on_applied

    @classmethod
    async def open(cls, url: str | URL) -> Self:
        """Open a database, setting an empty one up.

        Args:
            url: `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`.

        Raises:
            SchemaMismatch: if it has another schema than this version's.
            StoreUnavailable: if it can't be opened.
        """
        database = cls(url)
        try:
            try:
                await database.in_transaction(schema.prepare)
            except (IntegrityError, ProgrammingError):
                # Another server set the same empty PostgreSQL up at the same moment.
                await database.in_transaction(schema.prepare)
        except (SQLAlchemyError, OSError) as error:
            await database.dispose()
            raise StoreUnavailable(
                f"The database {database.url.render_as_string()} can't be opened: "
                f"{getattr(error, 'orig', error)}"
            ) from error
        except BaseException:
            await database.dispose()
            raise
        database._writer.start()
        return database

    async def close(self) -> None:
        """Write what waits, then close every connection."""
        await self._writer.stop()
        await self.dispose()

    async def submit(self, operation: Operation) -> Outcome:
        """Write an operation through the one writer (`server.store.writer`)."""
        return await self._writer.submit(operation)

    async def picture(self, tenant_id: str, now: datetime) -> StoredPicture | None:
        """Return all that is stored about a tenant, for a diagnosis; None for an unknown one."""
        return await read_picture(self._engine, tenant_id, now)

    async def bound_abbreviations(self, site: str, *, but_of: str = "") -> frozenset[str]:
        """Return the folded abbreviations that tenants of a site are bound to."""
        return await read_bound(self._engine, site, but_of=but_of)

    async def register_engines(self, rows: Sequence[GateOperation]) -> None:
        """Make the rows of configured sites that have none yet."""

        def register(connection: Connection) -> None:
            for row in rows:
                ensure_engine(connection, row)

        await self.in_transaction(register)

    async def in_transaction(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous work in one writing transaction and commit it."""
        if self._sync is None:
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _in_sqlite_transaction, self._sync, work
        )

    async def _commit(self, batch: Sequence[Operation]) -> list[Outcome]:
        return await self.in_transaction(lambda connection: apply(connection, batch))

    async def dispose(self) -> None:
        """Close every connection; for a database that was made but not opened."""
        await self._engine.dispose()
        if self._sync is not None and self._thread is not None:
            # SQLite's connection belongs to the thread that made it.
            await asyncio.get_running_loop().run_in_executor(self._thread, self._sync.dispose)
            self._thread.shutdown()
        if self.driver_lock is not None:
            self.driver_lock.release()


def _in_sqlite_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url.set(drivername="sqlite"), pool_size=1, max_overflow=0)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: BEGIN is ours, below.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred BEGIN that reads first fails at once when another writer was
        # faster, whatever the busy timeout (python/cpython#124510).
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _reading_engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True)
    engine = create_async_engine(url, pool_size=4, max_overflow=4)

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # One snapshot for all statements of a read, so that a tenant and its steps fit.
        connection.exec_driver_sql("BEGIN")

    return engine
