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
from server.store.backup import read_restored_to
from server.store.bound import read_bound_companies
from server.store.drift import DriftStore
from server.store.driver_lock import DriverLock
from server.store.failures import DRIVER_ERRORS, AnswerLost, ConnectionLost, detail, refusals
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
    from server.store.bound import BoundCompany
    from server.store.fleet import SiteLoad
    from server.store.glances import Glances
    from server.store.operations import GateOperation, Operation, Outcome
    from server.store.pictures import StoredPicture
    from server.store.wakeups import Listener

    T = TypeVar("T")

_ANOTHER = "Set PROVISIONER_DATABASE_URL to the server's; to make a new one: provisioner db upgrade"
# One process's connections for reading: short reads, many callers.
_READERS, _MORE_READERS = 5, 10


class Database:
    """A store: `reads` to read, `submit` to write.

    Attributes:
        url: As it was given, with the password.
        is_sqlite: Whether it is a file of this host, and not PostgreSQL.
        driver_lock: Says which process drives runs on the file; None with PostgreSQL.
        pulse: Knows whether the database is there (`server.store.watch`).
        reads: Short reads.
        lists: Lists of tenants.
        glances: Looks that tell whether a tenant has changed.
        healing: What reconcilers remember together.
        healing_history: What sweeps found.
        drift: Which finished tenants are due for a check.
        history: How long steps took lately.
        outbox: Messages for the webhook.
        on_applied: Takes a watcher of what this process writes (`Writer.on_applied`).
    """

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
        # SQLite has no server that could be down for a moment.
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
        """Open a database, and set it up if it is empty.

        Args:
            url: `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`.
            existing: Whether to refuse one that is missing or empty: answers from a database made
                on the spot would be answers about the wrong one.

        Raises:
            SchemaMismatch: it has a different schema from this version's.
            StoreUnavailable: it can't be opened.
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
        """Refuse at once what would only wait for a database that is down.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.pulse.demand()

    def demand_writes(self) -> None:
        """Refuse while nothing can be written: the database is down, full or read-only.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.pulse.demand_writes()

    async def close(self) -> None:
        """Write the operations that wait, then close every connection."""
        await self._writer.stop()
        if self._wakeups is not None:
            await self._wakeups.stop()
        await self.dispose()

    def on_elsewhere(self, listener: Listener) -> None:
        """Call `listener` when another process wrote something, if that can be heard.

        This only shortens a wait: code that must see everything has to ask `reads` as well.
        """
        if self._wakeups is not None:
            self._wakeups.on_heard(listener)

    def on_slot_freed_elsewhere(self, listener: Callable[[], None]) -> None:
        """Call `listener` when another process gave a site's slot back, if that can be heard.

        This only shortens a wait; it is called on the event loop, and must not block.
        """
        if self._wakeups is not None:
            self._wakeups.on_slot_freed(listener)

    async def submit(self, operation: Operation) -> Outcome:
        """Write an operation through the one writer (`server.store.writer`).

        Returns:
            Its outcome, once it is durable; a refused operation wrote nothing.

        Raises:
            StoreUnavailable: the database can't be written; nothing was, unless this process stops
                before the answer to a COMMIT is known (`Writer.submit`).
        """
        return await submit_with_trail(self._writer.submit, operation)

    def audited(
        self, entry: AuditEntry, *, of_all: bool = False
    ) -> AbstractAsyncContextManager[None]:
        """Take an order, so that the audit says what becomes of it (`server.store.auditing`).

        Args:
            entry: Who orders what; its outcome and target are filled in when it ends.
            of_all: Whether no single operation carries the order out; its row is then written at
                the end.
        """
        return trail(self._writer.submit, entry, of_all=of_all)

    async def picture(self, tenant_id: str, now: datetime) -> StoredPicture | None:
        """Return all that is stored about a tenant, for a diagnosis; None if it is unknown.

        Args:
            tenant_id: The tenant.
            now: The time by the reader's clock, to tell which workers are alive.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await read_picture(self._engine, tenant_id, now)

    async def site_loads(self, sites: Collection[str]) -> dict[str, SiteLoad]:
        """Return the open runs of some sites, and how long their steps took lately.

        Returns:
            The load of each site asked for, by site; also of one that nothing is known about.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await read_loads(self._engine, sites)

    async def held_tenants(self, site: str) -> int:
        """Return how many of a site's unsettled tenants are held.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await count_held(self._engine, site)

    async def bound_companies(self, site: str) -> dict[str, BoundCompany]:
        """Return the company names of a site to which tenants are bound, by folded name.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await read_bound_companies(self._engine, site)

    async def restored_to(self) -> tuple[datetime, ...]:
        """Return the moments of the backups that were restored, the earliest first.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await read_restored_to(self._engine)

    async def register_engines(self, rows: Sequence[GateOperation]) -> None:
        """Make a row for each configured site that has none yet.

        Args:
            rows: The gate that each site is to have at first; an existing row stays as it is.

        Raises:
            StoreUnavailable: nothing can be written; the message says what to do. A file that
                another process has open can be opened and read by a user who may not write it.
        """

        def register(connection: Connection) -> None:
            for row in rows:
                ensure_engine(connection, row)

        with refusals(f"The database {_shown(self.url)} can't be written"):
            await self.in_transaction(register)

    async def in_transaction(
        self, work: Callable[[Connection], T], *, locking: Locking | None = None
    ) -> T:
        """Run synchronous work in one writing transaction and commit it.

        Args:
            work: What to do. On SQLite it runs on the writer's own thread. It may be run on any
                state of the database: nothing is fenced here.
            locking: The tenants that it changes, if it finds all its rows by their keys.

        Returns:
            What the work returned.

        Raises:
            CommitUnknown: PostgreSQL's answer to the COMMIT of work with `locking` was lost; the
                error can find out whether it was written.
            StoreUnavailable: the connection to PostgreSQL was lost, or the schema or the SQLite
                file is not the one that was opened. Nothing was written, unless the message says
                that it may have been (the answer to a COMMIT was lost).
            sqlalchemy.exc.SQLAlchemyError: the database refused it.
        """
        return await self._transactions.run(work, locking=locking)

    async def in_snapshot(self, work: Callable[[Connection], T]) -> T:
        """Run synchronous reads in one snapshot, and return their result.

        Args:
            work: The reads. On SQLite they run on a thread of their own.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if self._snapshots is None:
            async with snapshot(self._engine) as connection:
                return await connection.run_sync(work)
        try:
            return await self._snapshots.run(work)
        except DRIVER_ERRORS as error:
            raise StoreUnavailable(f"The database can't be read now: {detail(error)}") from error

    async def administer(
        self, work: Callable[[Connection], T], *, slow: bool = False, done: str = "opened"
    ) -> T:
        """Run work on the schema, even if this database was made but not opened.

        Args:
            work: What to do; it may be done a second time, if nothing came of the first.
            slow: Whether it goes through all rows, so that its answers may take any time.
            done: What the error says can't be done to the database.

        Returns:
            What the work returned.

        Raises:
            SchemaMismatch: what `server.store.schema` raises.
            AnswerLost: it may have been done, and nobody can tell.
            StoreUnavailable: it can't be opened; the message says what to do.
        """
        try:
            try:
                return await self._transactions.run(work, any_schema=True, slow=slow)
            except (IntegrityError, ProgrammingError, ConnectionLost):
                # Another server set up the same empty PostgreSQL at the same moment; or this host
                # was suspended within the transaction, and the server hung up (5 s, `postgres`).
                return await self._transactions.run(work, any_schema=True, slow=slow)
        except AnswerLost as error:
            # It may well have been done.
            raise AnswerLost(f"The database {_shown(self.url)}: {error.message}") from error
        except (*DRIVER_ERRORS, StoreUnavailable) as error:
            raise StoreUnavailable(
                f"The database {_shown(self.url)} can't be {done}: {detail(error)}"
            ) from error

    async def _demand_tables(self) -> None:
        if await self.administer(schema.is_empty):
            raise StoreUnavailable(f"The database {_shown(self.url)} is empty. {_ANOTHER}")

    async def dispose(self) -> None:
        """Close every connection of a database that was made but not opened."""
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
        """Return the readers' connections in autocommit, if that saves anything, else None.

        Behind a pooler, only a transaction keeps a statement and its parameters on one connection.
        """
        if self.is_sqlite or postgres.is_pooled(self.url):
            return None
        return self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def _changed(self, there: bool) -> None:  # noqa: FBT001 - a listener's signature
        there = there or self.pulse.answers
        if not there and not self.is_sqlite:
            # Readers would go on waiting for an answer that does not come. The writer has its own
            # rules for what it has sent.
            postgres.cut(self._engine)
        self.glances.there(there)

    async def _commit(self, batch: Sequence[Operation]) -> list[Outcome]:
        locking = Locking.of(batch)
        return await self.in_transaction(
            lambda connection: apply(connection, batch, locking=locking), locking=locking
        )


def _shown(url: URL) -> str:
    """Return a url without its password, which may also stand in its query."""
    return url.difference_update_query(["password"]).render_as_string()


def _demand_file(url: URL) -> None:
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        raise StoreUnavailable(f"There is no database at {url.database}. {_ANOTHER}")
