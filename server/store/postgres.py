"""PostgreSQL's side of writing: transactions that survive restarts, cuts and lost answers.

A transaction never waits long: whoever is suspended within one is cut off by the server,
and a lock that isn't given soon ends the transaction, not the process. Where the answer
to COMMIT was lost, the server is asked by the transaction's own number whether it has ended,
and by what it counted whether it was written (docs/decisions/0012): nothing is written twice,
and nothing is told that isn't so.

Works through a pooler in transaction mode: `pooler=transaction` in the url's query keeps
no prepared statements, and nothing else here outlives a transaction.
"""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import AsyncAdaptedQueuePool, event, text
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.util.queue import Empty

from server.errors import StoreUnavailable
from server.store import schema
from server.store.columns import read_damaged_times
from server.store.failures import (
    DRIVER_ERRORS,
    READ_ONLY,
    CommitUnknown,
    ConnectionLost,
    detail,
    is_full,
    is_lost,
    is_read_only,
)
from server.store.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from typing import TypeVar

    from sqlalchemy import URL, Connection
    from sqlalchemy.engine.interfaces import IsolationLevel
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

    from server.store.locks import Locking

    T = TypeVar("T")

POOLER = "pooler"

# The drivers' connections by engine. Any: asyncpg has no types.
_OPENED: WeakKeyDictionary[AsyncEngine, WeakSet[Any]] = WeakKeyDictionary()

_CONNECT_SECONDS = 5.0
# A server that hangs, or a network that drops packets, answers nothing at all.
_ANSWER_SECONDS = 15.0
_SETTLE_PAUSE_SECONDS = 0.1
# How long all connections of an engine have for their goodbyes.
_GOODBYE_SECONDS = 1.0

# What every writing transaction needs:
# - who is stopped in the middle of it (SIGSTOP, a frozen host) must not keep its locks for
#   ever, and gives them back well within a lease;
# - nobody waits behind an operator's forgotten transaction;
# - what was acknowledged must survive a power cut, whatever the server's default is.
_SETTINGS = (
    "set_config('idle_in_transaction_session_timeout', '5s', {local})",
    "set_config('lock_timeout', '2s', {local})",
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {local})",
)
# Who reads is told of a lock (VACUUM FULL, REINDEX, a forgotten LOCK TABLE) while his caller still
# listens: our clients try four times, and give a call ten seconds in all.
READERS = ("set_config('lock_timeout', '1s', {local})",)
# The writer finds its rows by their keys. While tables are small PostgreSQL would read them, or
# an index of theirs, whole, in plans whose cost grows with each row until it thinks again (+20 %
# at 64 open runs; counting a batch's steps alone took a fifth of its time).
_BY_KEY = tuple(
    f"set_config('{name}', 'off', {{local}})"
    for name in ("enable_seqscan", "enable_mergejoin", "enable_hashjoin")
)
# One round trip opens a writing transaction: it gives its number, to ask for when its end was
# not heard, and locks the tenants that are about to change and are nobody else's now. It also
# counts the transactions of this writer: after a crash a number that no record on disk bears is
# given out again, to another transaction, and the count is what tells the two apart. And it reads
# which schema there is: that may be another one than when this process began.
_OPENING = f"""
WITH counted AS (
    INSERT INTO quotas (name, since, used) VALUES ($2, clock_timestamp(), $3)
    ON CONFLICT (name) DO UPDATE SET since = excluded.since, used = excluded.used
)
SELECT CAST(pg_current_xact_id() AS text), ARRAY(
    SELECT id FROM tenants WHERE id = ANY(CAST($1 AS text[])) ORDER BY id FOR UPDATE SKIP LOCKED
), {schema.FOUND}
"""  # noqa: S608 - our own words
_OF_THE_FUTURE = "22023"
# A standby may not have heard yet of what its primary committed.
_STANDBY = "standby"
_ENDED = text(
    f"SELECT CASE WHEN pg_is_in_recovery() THEN '{_STANDBY}'"
    " ELSE pg_xact_status(CAST(CAST(:number AS text) AS xid8)) END"
)
_COUNTED = text("SELECT used FROM quotas WHERE name = :name")
# What a writer's count is called among the things that are counted by name.
COMMITS = "commits of "
# The column holds 31 bits.
_COUNTS = 2**31


def engine(
    url: URL,
    *,
    connections: int,
    overflow: int = 0,
    seconds: float | None = None,
    slow: bool = False,
    settings: Sequence[str] = (),
    isolation: IsolationLevel | None = None,
) -> AsyncEngine:
    """Make an engine whose pool gives no connection that is known to be dead.

    Args:
        url: `postgresql+asyncpg://…`, with `pooler=transaction` behind a pooler.
        connections: Connections that are kept.
        overflow: Further ones, under load.
        seconds: Longest time to connect, and for an answer; None: those of the database's work.
        slow: Whether an answer may take as long as it takes.
        settings: What is set for each connection, once; nothing behind a pooler.
        isolation: Of its transactions; None: as the database has it.
    """
    arguments: dict[str, Any] = {
        "timeout": seconds or _CONNECT_SECONDS,
        "command_timeout": None if slow else seconds or _ANSWER_SECONDS,
        # SQLAlchemy's word for what connects.
        "async_creator_fn": Hosts().connect,
    }
    if is_pooled(url):
        # A statement prepared on one of the pooler's connections is not known on the next.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    made = create_async_engine(
        url.difference_update_query([POOLER]),
        pool_size=connections,
        max_overflow=overflow,
        pool_timeout=_CONNECT_SECONDS,
        connect_args=arguments,
        poolclass=_Patient,
        **({} if isolation is None else {"isolation_level": isolation}),
    )

    opened: WeakSet[Any] = WeakSet()
    _OPENED[made] = opened

    @event.listens_for(made.sync_engine, "connect")
    def remember(connection: Any, _record: Any) -> None:
        opened.add(connection.driver_connection)
        try:
            connection.run_async(
                _read_times_in_one_transaction if is_pooled(url) else read_damaged_times
            )
            if settings and not is_pooled(url):
                connection.run_async(lambda driver: driver.execute(_select(settings, local=False)))
        except Exception:
            connection.driver_connection.terminate()
            raise

    @event.listens_for(made.sync_engine, "checkout")
    def refuse_dead(connection: Any, _record: Any, _proxy: Any) -> None:
        # The driver hears at once when the server hangs up; asking it costs no round trip.
        if connection.driver_connection.is_closed():
            raise DisconnectionError

    return made


class _Patient(AsyncAdaptedQueuePool):
    """A pool that makes do with the connections it has, where PostgreSQL gives no further one."""

    def connect(self) -> PoolProxiedConnection:
        with _told_as_by_the_adapter():
            return super().connect()

    def _do_get(self) -> ConnectionPoolEntry:
        try:
            return super()._do_get()
        except Exception as error:
            if not is_full(error) or not self.checkedout():
                raise
            try:
                # Those who have one give it back in a moment.
                return self._pool.get(block=True, timeout=self._timeout)
            except Empty:
                raise error from None


@contextmanager
def _told_as_by_the_adapter() -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy's, whose adapter is not in between everywhere.

    While a connection is set up it is not, neither by us nor by SQLAlchemy for its own types.

    A session that is ended meanwhile (a restart, an administrator) is lost like any other.

    Raises:
        sqlalchemy.exc.DBAPIError: instead of the driver's error.
    """
    import asyncpg  # noqa: PLC0415 - on SQLite nobody needs it

    kinds = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    try:
        yield
    except kinds as error:
        # What PostgreSQL itself said has a code, which tells whether the connection went.
        unsaid = not isinstance(error, asyncpg.PostgresError)
        raise DBAPIError(None, None, error, connection_invalidated=unsaid) from error


async def _read_times_in_one_transaction(driver: Any) -> None:  # Any: asyncpg has no types
    # It asks the server about the type, with a statement that a pooler could lead elsewhere.
    async with driver.transaction(readonly=True):
        await read_damaged_times(driver)


def _select(settings: Sequence[str], *, local: bool) -> str:
    """Return the statement that sets these, for the transaction only or for the connection."""
    return f"SELECT {', '.join(settings)}".format(local=str(local).lower())


def cut(made: AsyncEngine) -> None:
    """Cut an engine's connections: whoever waits for an answer on one hears at once."""
    for connection in list(_OPENED.get(made, ())):
        connection.terminate()


@asynccontextmanager
async def goodbye(made: AsyncEngine) -> AsyncIterator[None]:
    """Give an engine's connections a moment for what is done meanwhile, then cut them.

    To be closed, each says goodbye and waits for the answer, as long as for any, one after the
    other: a process that stops beside a database that hangs would be killed in the midst of it.
    """
    late = asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, cut, made)
    try:
        yield
    finally:
        late.cancel()


async def hang_up(made: AsyncEngine) -> None:
    """Close an engine's connections."""
    async with goodbye(made):
        await made.dispose()


def is_pooled(url: URL) -> bool:
    """Tell whether a pooler in transaction mode is in between."""
    return url.query.get(POOLER) == "transaction"


@asynccontextmanager
async def _dropped_if_read_only(connection: AsyncConnection) -> AsyncIterator[None]:
    """Drop a connection that takes no writes.

    The next one may lead to the new primary; and what a role's default was when this one was made
    holds for as long as it lives.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if is_read_only(error):
            await connection.invalidate()
        raise


@dataclass(frozen=True, slots=True)
class _Begun:
    """A transaction of the writer that was opened.

    Attributes:
        number: PostgreSQL's, of it.
        name: Of the count that it changed.
        count: What it counted.
    """

    number: str
    name: str
    count: int


class Transactions:
    """Writing transactions on connections of their own, which no reader can use up."""

    def __init__(self, url: URL, *, refused: Callable[[Exception], None] = lambda _: None) -> None:
        """Make them.

        Args:
            url: Of the database.
            refused: Hears what each that failed met.
        """
        self._refused = refused
        # The writer's; and one for what need not wait behind it: setting up, retention.
        # Whatever a role's default is: beside others, anything stricter is refused by chance.
        self._writer = engine(
            url, connections=1, settings=(*_SETTINGS, *_BY_KEY), isolation="READ COMMITTED"
        )
        self._engine = engine(
            url, connections=1, overflow=1, settings=_SETTINGS, isolation="READ COMMITTED"
        )
        # An upgrade's: one statement of it changes each row of a table, or builds an index of all.
        self._slow = engine(
            url, connections=1, slow=True, settings=_SETTINGS, isolation="READ COMMITTED"
        )
        self._pooled = is_pooled(url)
        self._count = 0

    async def run(
        self,
        work: Callable[[Connection], T],
        *,
        locking: Locking | None = None,
        any_schema: bool = False,
        slow: bool = False,
    ) -> T:
        """Run synchronous work in one transaction and commit it.

        Args:
            work: What to do.
            locking: Tenants it changes, whose rows are locked before; it finds all its rows by
                their keys.
            any_schema: Whether another version's schema will do, or none.
            slow: Whether its statements may take as long as they take.

        Raises:
            OtherSchema: the schema is another version's; nothing was written.
            ConnectionLost: nothing was written, and not by the work's fault.
            CommitUnknown: it may have been written; ask. Of the writer's only.
            StoreUnavailable: another's may have been written, which nobody can tell.
            sqlalchemy.exc.SQLAlchemyError: the database refused it; nothing was written.
        """
        engine = self._writer if locking is not None else self._slow if slow else self._engine
        settings = _SETTINGS if locking is None else (*_SETTINGS, *_BY_KEY)
        try:
            async with engine.connect() as connection:
                if self._pooled:
                    await connection.exec_driver_sql(_select(settings, local=True))
                async with _dropped_if_read_only(connection):
                    if locking is None and not any_schema:
                        found = await connection.exec_driver_sql(f"SELECT {schema.FOUND}")
                        schema.demand(found.scalar_one())
                    began = None if locking is None else await self._began(connection, locking)
                    result = await connection.run_sync(work)
                try:
                    await connection.commit()
                except Exception as error:
                    raise self._unknown(began, result, error) from error
                return result
        except StoreUnavailable:
            raise
        except DRIVER_ERRORS as error:
            self._refused(error)
            if is_lost(error):
                raise ConnectionLost(f"The database can't write now: {detail(error)}") from error
            raise

    async def dispose(self) -> None:
        """Close the connections."""
        for each in (self._writer, self._engine, self._slow):
            await hang_up(each)

    async def _began(self, connection: AsyncConnection, locking: Locking) -> _Begun:
        """Open a transaction of the writer."""
        # A row a connection: one that was cut, and does not know it yet, holds its own.
        name: str = connection.info.setdefault(COMMITS, f"{COMMITS}{uuid.uuid4()}")
        self._count = (self._count + 1) % _COUNTS
        given = (locking.tenant_ids, name, self._count)
        opened: Any = (await connection.exec_driver_sql(_OPENING, given)).one()
        number, locking.locked, found = opened
        schema.demand(found)
        return _Begun(str(number), name, self._count)

    def _unknown(self, began: _Begun | None, result: object, error: Exception) -> StoreUnavailable:
        if began is None:
            # It counted nothing, and its number alone may tell of another's (see `_OPENING`).
            return StoreUnavailable(
                f"The answer to COMMIT was lost ({detail(error)}): it may have been written. Look "
                "at what is there before you do it again."
            )

        async def written() -> bool:
            return await self._written(began)

        message = f"The answer to COMMIT was lost: {detail(error)}"
        return CommitUnknown(message, written=written, result=result)

    async def _written(self, began: _Begun) -> bool:
        """Tell whether a transaction was committed, as soon as it has ended.

        Raises:
            ConnectionLost: if the database does not answer; ask again.
        """
        while True:
            try:
                async with self._engine.connect() as connection:
                    state = (await connection.execute(_ENDED, {"number": began.number})).scalar()
                    # In this order: a transaction that has ended counts no more.
                    count = (await connection.execute(_COUNTED, {"name": began.name})).scalar()
                    if state == _STANDBY:
                        # The next connection may lead to the new primary.
                        await connection.invalidate()
            except DRIVER_ERRORS as error:
                if getattr(getattr(error, "orig", None), "sqlstate", "") == _OF_THE_FUTURE:
                    # This is another server than the one we wrote to, and never saw it.
                    return False
                raise ConnectionLost(f"The database can't tell yet: {detail(error)}") from error
            if state == _STANDBY:
                raise ConnectionLost(f"The database can't tell yet. {READ_ONLY}")
            if state != "in progress":
                return bool(state == "committed" and count == began.count)
            # Its session does not know yet that we are gone.
            await asyncio.sleep(_SETTLE_PAUSE_SECONDS)
