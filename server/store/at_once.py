"""Short reads of an SQLite file on the event loop itself: a few rows, by key.

The hop to a thread and back takes longer than such a read, and one look for work makes a dozen of
them. In WAL mode a read waits for nobody. Lists, pages of logs and anything that grows with the
number of tenants are not read here, because nobody else is served meanwhile.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from server.errors import StoreUnavailable
from server.store.failures import DRIVER_ERRORS, detail
from server.store.snapshot import snapshot
from server.store.sqlite import only_this, read_any_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL, Connection, CursorResult, Dialect, Executable
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.store.sqlite_file import SqliteFile

# In WAL mode a reader waits only while the file is recovered after a crash.
_BUSY_SECONDS = 0.25


class AtOnce:
    """One connection, used on the event loop; only on the loop's own thread."""

    def __init__(self, url: URL, file: SqliteFile, otherwise: AsyncEngine) -> None:
        """Take the file; nothing is opened before the first read.

        Args:
            url: The database's URL.
            file: What is known about the file.
            otherwise: The engine for reads that come while the connection is in use.
        """
        self._engine = create_engine(
            url.set(drivername="sqlite"),
            poolclass=StaticPool,
            # Its errors quote the values of a statement, such as the hash of a password.
            hide_parameters=True,
            connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None},
        )
        read_any_text(self._engine)
        only_this(self._engine, file)
        self._otherwise = otherwise
        self._connection: Connection | None = None
        self._in_use = False

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection that sees one state of the database.

        Nobody else is served while it reads, so the block may read only a few rows by their keys.

        Raises:
            StoreUnavailable: if the database can't be read now.
        """
        if self._in_use:
            async with snapshot(self._otherwise) as connection:
                yield connection
            return
        self._in_use = True
        try:
            driver = self._driver()
            driver.execute("BEGIN")
            try:
                yield cast("AsyncConnection", _Immediate(self._connected()))
            finally:
                driver.execute("ROLLBACK")
        except DRIVER_ERRORS as error:
            raise StoreUnavailable(f"The database can't be read now: {detail(error)}") from error
        finally:
            self._in_use = False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._engine.dispose()

    def _connected(self) -> Connection:
        if self._connection is None:
            made = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            made.exec_driver_sql("PRAGMA query_only = ON")
            self._connection = made
        return self._connection

    def _driver(self) -> Any:  # Any: the driver's own connection
        return self._connected().connection.driver_connection


class _Immediate:
    """The part of an asynchronous connection that reads use, without waiting."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def dialect(self) -> Dialect:
        return self._connection.dialect

    async def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any]:
        """Run a statement; its result must be read whole before another one is run."""
        return self._connection.execute(statement, parameters)
