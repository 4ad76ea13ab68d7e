"""SQLite's side: one thread that writes, and connections that only read.

The file is in WAL mode with synchronous=FULL, so that what was acknowledged survives a power cut
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from server.store import schema
from server.store.failures import DRIVER_ERRORS, OtherSchema

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from sqlalchemy import URL, Connection, Engine
    from sqlalchemy.engine import ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.store.locks import Locking
    from server.store.sqlite_file import SqliteFile

    T = TypeVar("T")

# How long a write waits for another process's transaction on the same file.
_BUSY_SECONDS = 10.0
_KEPT_STATEMENTS = 256
# 16 MB of them.
_PAGES_A_CHECKPOINT = 4000
# While somebody reads for hours (a shell left open, a copy), the WAL grows with every write, and
# SQLite leaves its file as long as it became. Usually it has no more than a quarter of this.
_LONGEST_WAL = 64 * 1024 * 1024


class Transactions:
    """Writing transactions, one after the other, on their own thread."""

    def __init__(self, url: URL, file: SqliteFile) -> None:
        """Make the folder of the file, for its owner only; the file itself is opened later.

        Args:
            url: The database's URL.
            file: What is known about the file.

        Raises:
            OSError: the folder can't be made.
        """
        folder = file.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-writer")
        self._engine = _writing_engine(url)
        self._file = file

    async def run(
        self,
        work: Callable[[Connection], T],
        *,
        locking: Locking | None = None,  # noqa: ARG002 - PostgreSQL's
        any_schema: bool = False,
        slow: bool = False,  # noqa: ARG002 - PostgreSQL's
    ) -> T:
        """Run synchronous work in one transaction and commit it.

        Args:
            work: What to do.
            locking: For PostgreSQL only.
            any_schema: Whether to accept another version's schema, or none.
            slow: For PostgreSQL only.

        Returns:
            What the work returned.

        Raises:
            OtherSchema: the schema is another version's; nothing was written.
            StoreUnavailable: the open file is no longer the one at its path; nothing was written.
            sqlalchemy.exc.SQLAlchemyError: the database refused it; nothing was written.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._run, work, any_schema
        )

    async def dispose(self) -> None:
        """Close the connection, on the thread that made it, the only one that may close it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._engine.dispose)
        self._thread.shutdown()

    def _run(self, work: Callable[[Connection], T], any_schema: bool) -> T:  # noqa: FBT001 - for the thread
        try:
            with self._engine.begin() as connection:
                self._file.remember()
                driver: Any = connection.connection.driver_connection
                if not any_schema:
                    # Through the driver, in a tenth of the time: every transaction does this.
                    schema.demand(_revision(driver))
                before = driver.total_changes
                result = work(connection)
                # A transaction that changed nothing writes nothing and needs no disk space.
                changed = driver.total_changes > before
                # Right before the commit: if the file is elsewhere now, all is rolled back.
                self._file.demand()
        except (*DRIVER_ERRORS, OtherSchema) as error:
            self._file.refused(error)
            raise
        if changed:
            self._file.wrote()
        return result


def _revision(driver: Any) -> str | None:  # Any: sqlite3's connection
    """Read the schema's revision through the driver itself.

    Raises:
        sqlalchemy.exc.DBAPIError: the driver's error, as SQLAlchemy would raise it: a damaged file
            or a failing disk is noticed here first.
    """
    try:
        found = driver.execute("SELECT version_num FROM alembic_version").fetchall()
    except driver.Error as error:
        raise DBAPIError(None, None, error) from error
    return ", ".join(sorted(number for (number,) in found)) or None


class Snapshots:
    """Reads of several statements, each read as a whole on one thread.

    Through aiosqlite, every statement and every fetch is a hop to its thread and back, which takes
    longer than a short statement itself.
    """

    def __init__(self, url: URL, file: SqliteFile) -> None:
        self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="store-reader")
        self._engine = create_engine(
            url.set(drivername="sqlite"), pool_size=4, max_overflow=0, hide_parameters=True
        )
        _read_only(self._engine, file)

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous reads in one snapshot, on a thread of their own, and return their result.

        Raises:
            StoreUnavailable: it had to connect, and the file is not the one that was opened first.
            sqlalchemy.exc.SQLAlchemyError: the database can't be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, work)

    async def dispose(self) -> None:
        """Wait for the reads under way, and close every connection."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)


def reading_engine(url: URL, file: SqliteFile) -> AsyncEngine:
    """Return an engine whose connections can't write.

    Args:
        url: The database's URL.
        file: What is known about the file: a connection to any other in its place is refused.
    """
    engine = create_async_engine(url, pool_size=4, max_overflow=4, hide_parameters=True)
    _read_only(engine.sync_engine, file)
    return engine


def read_any_text(engine: Engine) -> None:
    """Make an engine read text that is not valid UTF-8, with marks for what can't be read.

    The driver would raise an error, and one damaged row would hide all those read with it. Decoding
    each text here takes twice as long, so that starts with the first such text: the read that met
    it fails, but the next one does not.

    Args:
        engine: An engine of an SQLite file.
    """
    met = False

    @event.listens_for(engine, "handle_error")
    def notice(context: ExceptionContext) -> None:
        nonlocal met
        if _NO_UTF_8 in str(context.original_exception) and context.connection is not None:
            met = True
            driver: Any = context.connection.connection.driver_connection
            driver.text_factory = _any_text

    @event.listens_for(engine, "checkout")
    def prepare(connection: Any, _record: Any, _proxy: Any) -> None:
        if met:
            # aiosqlite's connection is behind an adapter, sqlite3's is not.
            getattr(connection, "driver_connection", connection).text_factory = _any_text


_NO_UTF_8 = "Could not decode to UTF-8"


def _any_text(stored: bytes) -> str:
    return stored.decode("utf-8", "replace")


def only_this(engine: Engine, file: SqliteFile) -> None:
    """Make an engine connect only to the file that was opened first, and to no other in its place.

    Connections are kept. One to an empty file that SQLite has just created would know no tables
    for as long as the process lives, even once the right file is back.

    Args:
        engine: Its next connections raise `StoreUnavailable` if the file is not there.
        file: What is known about the file.
    """

    @event.listens_for(engine, "do_connect")
    def demand(*_arguments: Any) -> None:
        file.demand()


def _read_only(engine: Engine, file: SqliteFile) -> None:
    read_any_text(engine)
    only_this(engine, file)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # One snapshot for all statements of a read, so that a tenant and its steps match.
        connection.exec_driver_sql("BEGIN")


def _writing_engine(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="sqlite"),
        pool_size=1,
        max_overflow=0,
        # A batch's statements come in several sizes (`rowset`): the driver keeps all prepared.
        connect_args={"cached_statements": _KEPT_STATEMENTS},
        # Its errors quote the values of a statement, such as the hash of a password.
        hide_parameters=True,
    )
    read_any_text(engine)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by itself: we do, below.
        connection.isolation_level = None
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_PAGES_A_CHECKPOINT}")
        connection.execute(f"PRAGMA journal_size_limit = {_LONGEST_WAL}")
        connection.execute("PRAGMA cache_size = -16000")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A deferred BEGIN that reads first fails at once if another writer was faster, whatever
        # the busy timeout is (python/cpython#124510).
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
