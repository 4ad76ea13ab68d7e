"""Opens a database, SQLite or PostgreSQL, and puts reader and writer together.

The same synchronous `apply` writes on both: on SQLite's own thread (`sqlite`), and inside
`run_sync` on a connection of its own to PostgreSQL (`postgres`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import IntegrityError, ProgrammingError

from server.errors import StoreUnavailable
from server.store import postgres, schema, sqlite
from server.store.apply import apply
from server.store.at_once import AtOnce
from server.store.auditing import submit_with_trail, trail
from server.store.bound import read_bound_companies
from server.store.drift import DriftStore
from server.store.driver_lock import DriverLock
from server.store.failures import DRIVER_ERRORS, ConnectionLost, detail, refusals
from server.store.fleet import count_held, read_loads
from server.store.glances_postgres import PostgresGlances
from server.store.glances_sqlite import SqliteGlances
from server.store.healing import HealingStore
from server.store.healing_history import HealingHistory
from server.store.history import History
from server.store.listing import TenantLists
from server.store.locks import Locking
from server.store.outbox import Outbox
from server.store.pictures import read_picture
from server.store.pulse import Pulse
from server.store.reads import Reads
from server.store.sites import ensure_engine
from server.store.snapshot import snapshot
from server.store.sqlite_file import FilePulse, SqliteFile
from server.store.wakeups import Wakeups
from server.store.writer import PATIENCE_SECONDS, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime
    from typing import Self, TypeVar

    from sqlalchemy import URL, Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.model.access import AuditEntry
    from server.store.fleet import SiteLoad
    from server.store.glances import Glances
    from server.store.operations import GateOperation, Operation, Outcome
    from server.store.pictures import StoredPicture
    from server.store.wakeups import Listener

    T = TypeVar("T")

_ANOTHER = "Set PROVISIONER_DATABASE_URL to the server's; to make a new one: provisioner db upgrade"
# Readers of one process: short reads, many callers.
_READERS, _MORE_READERS = 5, 10


class Database:
    """A store: `reads` to read, `submit` to write."""

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.driver_lock: DriverLock | None = None
        self._transactions: sqlite.Transactions | postgres.Transactions
        self._snapshots: sqlite.Snapshots | None = None
        self._at_once: AtOnce | None = None
        self.pulse: Pulse | FilePulse
        file = SqliteFile(Path(self.url.database or "")) if self.is_sqlite else None
        if file is not None:
            self._transactions = sqlite.Transactions(self.url, file)
            self._snapshots = sqlite.Snapshots(self.url, file)
            self._engine = sqlite.reading_engine(self.url, file)
            self._at_once = AtOnce(self.url, file, self._engine)
            self.pulse = FilePulse(file)
            self.driver_lock = DriverLock(file.path)
        else:
            pulse = self.pulse = Pulse(self.url)
            self._transactions = postgres.Transactions(self.url, refused=pulse.refused)
            self._engine = postgres.engine(
                self.url,
                connections=_READERS,
                overflow=_MORE_READERS,
                settings=postgres.READERS,
            )
        self.reads = Reads(self._engine, self._at_once, one_statement=self._by_statement())
        self.healing_history = HealingHistory(self._engine)
        self.outbox = Outbox(self.in_transaction)
        self.healing = HealingStore(
            self._engine, self.in_transaction, one_statement=self._by_statement()
        )
        self.drift = DriftStore(self._engine, self.in_transaction)
        self.glances: Glances = (
            PostgresGlances(self.url, self.reads, spare=self._engine)
            if file is None
            else SqliteGlances(file, self.reads)
        )
        self.lists = TenantLists(self.in_snapshot)
        self.history = History(self._engine)
        # There is no server of SQLite's that could be away for a moment.
        patience = 0.0 if self.is_sqlite else PATIENCE_SECONDS
        self._writer = Writer(self._commit, patience_seconds=patience)
        self.on_applied = self._writer.on_applied
        self.pulse.on_change(self._changed)
        self._wakeups: Wakeups | None = None
        if not self.is_sqlite and not postgres.is_pooled(self.url):
            self._wakeups = Wakeups(self.url)
            self.on_applied(self._wakeups.applied)

    @classmethod
    async def open(cls, url: str | URL, *, existing: bool = False) -> Self:
        """Open a database, setting an empty one up.

        Args:
            url: `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`.
            existing: Refuse one that is not there or empty: what is told of one that was made on
                the spot would be told of the wrong one.

        Raises:
            SchemaMismatch: if it has another schema than this version's.
            StoreUnavailable: if it can't be opened.
        """
        if existing:
            _demand_file(make_url(url))
        database = cls(url)
        try:
            if existing:
                await database._demand_tables()
            await database.administer(schema.prepare)
        except BaseException:
            await database.dispose()
            raise
        database._writer.start()
        if database._wakeups is not None:
            database._wakeups.start()
        database.pulse.start()
        return database

    def demand_there(self) -> None:
        """Refuse at once what would only wait for a database that is away.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.pulse.demand()

    def demand_writes(self) -> None:
        """Refuse while nothing can be written: it is away, its disk is full, it is read-only.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.pulse.demand_writes()

    async def close(self) -> None:
        """Write what waits, then close every connection."""
        await self._writer.stop()
        if self._wakeups is not None:
            await self._wakeups.stop()
        await self.dispose()

    def on_elsewhere(self, listener: Listener) -> None:
        """Call `listener` when another process wrote something, where that can be heard.

        It only shortens a wait: whoever must see everything asks `reads` besides.
        """
        if self._wakeups is not None:
            self._wakeups.on_heard(listener)

    def on_slot_freed_elsewhere(self, listener: Callable[[], None]) -> None:
        """Call `listener` when another process gave a site's slot back, where that can be heard."""
        if self._wakeups is not None:
            self._wakeups.on_slot_freed(listener)

    async def submit(self, operation: Operation) -> Outcome:
        """Write an operation through the one writer (`server.store.writer`)."""
        return await submit_with_trail(self._writer.submit, operation)

    def audited(
        self, entry: AuditEntry, *, of_all: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Take an order, so that the audit says what becomes of it (`server.store.auditing`)."""
        return trail(self._writer.submit, entry, of_all=of_all)

    async def picture(self, tenant_id: str, now: datetime) -> StoredPicture | None:
        """Return all that is stored about a tenant, for a diagnosis; None for an unknown one."""
        return await read_picture(self._engine, tenant_id, now)

    async def site_loads(self, sites: Collection[str]) -> dict[str, SiteLoad]:
        """Return what some sites have to do, and how long their steps took of late."""
        return await read_loads(self._engine, sites)

    async def held_tenants(self, site: str) -> int:
        """Return how many tenants of a site are held, of those that are not settled."""
        return await count_held(self._engine, site)

    async def bound_companies(self, site: str) -> frozenset[str]:
        """Return the folded company names of a site that tenants are bound to."""
        return await read_bound_companies(self._engine, site)

    async def register_engines(self, rows: Sequence[GateOperation]) -> None:
        """Make the rows of configured sites that have none yet.

        Raises:
            StoreUnavailable: if nothing can be written, with what to do: a file that another
                process has open can be opened, and read, by a user who may not write it.
        """

        def register(connection: Connection) -> None:
            for row in rows:
                ensure_engine(connection, row)

        with refusals(f"The database {self.url.render_as_string()} can't be written"):
            await self.in_transaction(register)

    async def in_transaction(
        self, work: Callable[[Connection], T], *, locking: Locking | None = None
    ) -> T:
        """Run synchronous work in one writing transaction and commit it.

        Args:
            work: What to do.
            locking: Tenants it changes, where it finds all its rows by their keys.

        Raises:
            StoreUnavailable: if PostgreSQL was lost.
            sqlalchemy.exc.SQLAlchemyError: if the database refused it.
        """
        return await self._transactions.run(work, locking=locking)

    async def in_snapshot(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous reads in one snapshot.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        if self._snapshots is None:
            async with snapshot(self._engine) as connection:
                return await connection.run_sync(work)
        try:
            return await self._snapshots.run(work)
        except DRIVER_ERRORS as error:
            raise StoreUnavailable(f"The database can't be read now: {detail(error)}") from error

    async def administer(self, work: Callable[[Connection], T], *, slow: bool = False) -> T:
        """Run work on the schema, also in a database that was made but not opened.

        Args:
            work: What to do.
            slow: Whether it goes through all rows: its answers are waited for without an end.

        Raises:
            SchemaMismatch: what `server.store.schema` raises.
            StoreUnavailable: if it can't be opened, with what to do.
        """
        try:
            try:
                return await self._transactions.run(work, any_schema=True, slow=slow)
            except (IntegrityError, ProgrammingError, ConnectionLost):
                # Another server set the same empty PostgreSQL up at the same moment; or this host
                # stood still within the transaction, and the server hung up (5 s, `postgres`).
                return await self._transactions.run(work, any_schema=True, slow=slow)
        except (*DRIVER_ERRORS, StoreUnavailable) as error:
            raise StoreUnavailable(
                f"The database {self.url.render_as_string()} can't be opened: {detail(error)}"
            ) from error

    async def _demand_tables(self) -> None:
        if await self.administer(schema.is_empty):
            raise StoreUnavailable(
                f"The database {self.url.render_as_string()} is empty. {_ANOTHER}"
            )

    async def dispose(self) -> None:
        """Close every connection; for a database that was made but not opened."""
        await self.pulse.stop()
        await self.glances.close()
        if self._at_once is not None:
            self._at_once.close()
        await (self._engine.dispose() if self.is_sqlite else postgres.hang_up(self._engine))
        if self._snapshots is not None:
            await self._snapshots.dispose()
        await self._transactions.dispose()
        if self.driver_lock is not None:
            self.driver_lock.release()

    def _by_statement(self) -> AsyncEngine | None:
        """Return the readers' connections without transactions, where that spares something.

        A pooler needs a transaction to lead a statement and its parameters to one connection.
        """
        if self.is_sqlite or postgres.is_pooled(self.url):
            return None
        return self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _changed(self, there: bool) -> None:  # noqa: FBT001 - a listener's signature
        there = there or self.pulse.answers
        if not there and not self.is_sqlite:
            # Who reads would wait on for an answer that does not come. The writer has rules of
            # its own for what it had sent.
            postgres.cut(self._engine)
        self.glances.there(there)

    async def _commit(self, batch: Sequence[Operation]) -> list[Outcome]:
        locking = Locking.of(batch)
        return await self.in_transaction(
            lambda connection: apply(connection, batch, locking=locking), locking=locking
        )


def _demand_file(url: URL) -> None:
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise StoreUnavailable(f"There is no database at {url.database}. {_ANOTHER}")
