"""PostgreSQL's side of writing: transactions that survive restarts, cuts and lost answers.

A transaction never waits long: the server cuts off a process that is suspended within one, and a
lock that is not granted soon ends the transaction, not the process. If the answer to COMMIT was
lost, the server is asked by the transaction's number whether it has ended, and by its counter
whether it was written (docs/decisions/0012). So nothing is written twice, and nothing untrue is
reported.

It works through a pooler in transaction mode: with `pooler=transaction` in the URL's query no
prepared statements are kept, and nothing else here outlives a transaction.
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
    AnswerLost,
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

# The driver's connections by engine. Any: asyncpg has no types.
_OPENED: WeakKeyDictionary[AsyncEngine, WeakSet[Any]] = WeakKeyDictionary()

_CONNECT_SECONDS = 5.0
# A server that hangs, or a network that drops packets, does not answer at all.
_ANSWER_SECONDS = 15.0
_SETTLE_PAUSE_SECONDS = 0.1
# How long all connections of an engine together have to say goodbye.
_GOODBYE_SECONDS = 1.0

# What every writing transaction needs:
# - a process that is stopped in the middle of it (SIGSTOP, a frozen host) must not keep its locks
#   for ever, and loses them well within a lease;
# - nobody waits behind an operator's forgotten transaction;
# - what was acknowledged must survive a power cut, whatever the server's default is.
_SETTINGS = (
    "set_config('idle_in_transaction_session_timeout', '5s', {local})",
    "set_config('lock_timeout', '2s', {local})",
    "set_config('synchronous_commit', CASE current_setting('synchronous_commit')"
    " WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, {local})",
)
# A read must hear of a lock (VACUUM FULL, REINDEX, a forgotten LOCK TABLE) while its caller still
# listens: our clients try four times, and give a call ten seconds in all.
READERS = ("set_config('lock_timeout', '1s', {local})",)
# The writer finds its rows by their keys. While tables are small, PostgreSQL would rather read them
# or an index whole, in plans that cost more with each row until it plans again (+20 % at 64 open
# runs; counting a batch's steps alone took a fifth of its time).
_BY_KEY = tuple(
    f"set_config('{name}', 'off', {{local}})"
    for name in ("enable_seqscan", "enable_mergejoin", "enable_hashjoin")
)
# One round trip opens a writing transaction. It returns the transaction's number, to ask about if
# the end is not heard, and locks the tenants that are about to change and that nobody else holds.
# It also counts this writer's transactions: after a crash, PostgreSQL gives a number of which no
# record reached the disk to another transaction, and the count tells the two apart. And it reads
# the revision of the schema, which may have changed since this process started.
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
# A standby may not know yet what its primary has committed.
_STANDBY = "standby"
_ENDED = text(
    f"SELECT CASE WHEN pg_is_in_recovery() THEN '{_STANDBY}'"
    " ELSE pg_xact_status(CAST(CAST(:number AS text) AS xid8)) END"
)
_COUNTED = text("SELECT used FROM quotas WHERE name = :name")
# How the name of a writer's counter begins, among the things that are counted by name.
COMMITS = "commits of "
# The column holds numbers of 31 bits.
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
    """Make an engine whose pool hands out no connection that is known to be dead.

    Args:
        url: `postgresql+asyncpg://…`, with `pooler=transaction` behind a pooler.
        connections: How many connections to keep.
        overflow: How many more to open under load.
        seconds: The longest time to connect and to wait for an answer; None for the usual limits.
        slow: Whether an answer may take any time.
        settings: What to set once for each connection; behind a pooler nothing is.
        isolation: The isolation level of its transactions; None for the database's default.
    """
    arguments: dict[str, Any] = {
        "timeout": seconds or _CONNECT_SECONDS,
        "command_timeout": None if slow else seconds or _ANSWER_SECONDS,
        # SQLAlchemy's word for what connects.
        "async_creator_fn": Hosts().connect,
    }
    if is_pooled(url):
        # A statement prepared on one of the pooler's connections is unknown on the next.
        arguments |= {"statement_cache_size": 0, "prepared_statement_cache_size": 0}
    made = create_async_engine(
        url.difference_update_query([POOLER]),
        pool_size=connections,
        max_overflow=overflow,
        pool_timeout=_CONNECT_SECONDS,
        connect_args=arguments,
        poolclass=_Patient,
        # Its errors quote the values of a statement, such as the hash of a password.
        hide_parameters=True,
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
        # The driver knows at once when the server hangs up; asking it costs no round trip.
        if connection.driver_connection.is_closed():
            raise DisconnectionError

    return made


class _Patient(AsyncAdaptedQueuePool):
    """A pool that makes do with the connections it has if PostgreSQL gives no further one."""

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
                # Whoever is using one gives it back in a moment.
                return self._pool.get(block=True, timeout=self._timeout)
            except Empty:
                raise error from None


@contextmanager
def _told_as_by_the_adapter() -> Iterator[None]:
    """Raise the driver's errors as SQLAlchemy's, where its adapter is not in between.

    It is not while a connection is being set up, by us or by SQLAlchemy for its own types. A
    session that is ended meanwhile (a restart, an administrator) is lost like any other.

    Raises:
        sqlalchemy.exc.DBAPIError: instead of the driver's error.
    """
    import asyncpg  # noqa: PLC0415 - on SQLite nobody needs it

    kinds = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
    try:
        yield
    except kinds as error:
        # PostgreSQL's own errors have a code, which tells whether the connection was lost.
        unsaid = not isinstance(error, asyncpg.PostgresError)
        raise DBAPIError(None, None, error, connection_invalidated=unsaid) from error


async def _read_times_in_one_transaction(driver: Any) -> None:  # Any: asyncpg has no types
    # It asks the server about the type, with a statement that a pooler might send elsewhere.
    async with driver.transaction(readonly=True):
        await read_damaged_times(driver)


def _select(settings: Sequence[str], *, local: bool) -> str:
    """Return the statement that makes these settings, for the transaction or the connection."""
    return f"SELECT {', '.join(settings)}".format(local=str(local).lower())


def cut(made: AsyncEngine) -> None:
    """Cut an engine's connections, so that callers that wait for an answer hear at once.

    Args:
        made: An engine that `engine` made; it opens new connections when it is used again.
    """
    for connection in list(_OPENED.get(made, ())):
        connection.terminate()


@asynccontextmanager
async def goodbye(made: AsyncEngine) -> AsyncIterator[None]:
    """Give the block, which closes an engine's connections, a moment; then cut them.

    Each connection says goodbye and waits as long as for any other answer, one after the other. If
    the database hangs, a process that stops would be killed in the middle of that.

    Args:
        made: An engine that `engine` made.
    """
    late = asyncio.get_running_loop().call_later(_GOODBYE_SECONDS, cut, made)
    try:
        yield
    finally:
        late.cancel()


async def hang_up(made: AsyncEngine) -> None:
    """Close an engine's connections, within a moment."""
    async with goodbye(made):
        await made.dispose()


def is_pooled(url: URL) -> bool:
    """Tell whether the URL leads through a pooler in transaction mode (`pooler=transaction`)."""
    return url.query.get(POOLER) == "transaction"


@asynccontextmanager
async def _dropped_if_read_only(connection: AsyncConnection) -> AsyncIterator[None]:
    """Drop the connection if it turns out to take no writes.

    The next one may lead to the new primary. And a connection keeps, for as long as it lives, the
    defaults that its role had when it was made.
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
        number: PostgreSQL's number of it.
        name: The name of the counter that it changed.
        count: The value to which it changed the counter.
    """

    number: str
    name: str
    count: int


class Transactions:
    """Writing transactions on connections of their own, which no reader can use up."""

    def __init__(self, url: URL, *, refused: Callable[[Exception], None] = lambda _: None) -> None:
        """Make the connections.

        Args:
            url: The database's URL.
            refused: Called with the error of each transaction that failed.
        """
        self._refused = refused
        # One connection for the writer, and one for work that need not wait behind it: setting up,
        # retention. The isolation is fixed, whatever the role's default is: a stricter one would
        # fail at random beside other transactions.
        self._writer = engine(
            url, connections=1, settings=(*_SETTINGS, *_BY_KEY), isolation="READ COMMITTED"
        )
        self._engine = engine(
            url, connections=1, overflow=1, settings=_SETTINGS, isolation="READ COMMITTED"
        )
        # For an upgrade: one statement of it changes every row of a table or builds an index.
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
            locking: The tenants that it changes, whose rows are locked first; it then finds all
                its rows by their keys.
            any_schema: Whether to accept another version's schema, or none.
            slow: Whether its statements may take any time.

        Returns:
            What the work returned.

        Raises:
            OtherSchema: the schema is another version's; nothing was written.
            ConnectionLost: nothing was written, through no fault of the work.
            CommitUnknown: the writer's work may have been written, and the error can find out.
            AnswerLost: other work may have been written, and nobody can tell.
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
        # One row per connection: one that was cut and does not know it yet holds its own.
        name: str = connection.info.setdefault(COMMITS, f"{COMMITS}{uuid.uuid4()}")
        self._count = (self._count + 1) % _COUNTS
        given = (locking.tenant_ids, name, self._count)
        opened: Any = (await connection.exec_driver_sql(_OPENING, given)).one()
        number, locking.locked, found = opened
        schema.demand(found)
        return _Begun(str(number), name, self._count)

    def _unknown(self, began: _Begun | None, result: object, error: Exception) -> StoreUnavailable:
        if began is None:
            # It counted nothing, and its number alone may be another transaction's (`_OPENING`).
            return AnswerLost(
                f"The answer to COMMIT was lost ({detail(error)}): it may have been written. Look "
                "at what is there before you do it again."
            )

        async def written() -> bool:
            return await self._written(began)

        message = f"The answer to COMMIT was lost: {detail(error)}"
        return CommitUnknown(message, written=written, result=result)

    async def _written(self, began: _Begun) -> bool:
        """Tell whether a transaction was committed, once it has ended.

        Raises:
            ConnectionLost: the database does not answer; ask again.
        """
        while True:
            try:
                async with self._engine.connect() as connection:
                    state = (await connection.execute(_ENDED, {"number": began.number})).scalar()
                    # In this order: once a transaction has ended, it no longer changes the counter.
                    count = (await connection.execute(_COUNTED, {"name": began.name})).scalar()
                    if state == _STANDBY:
                        # The next connection may lead to the new primary.
                        await connection.invalidate()
            except DRIVER_ERRORS as error:
                if getattr(getattr(error, "orig", None), "sqlstate", "") == _OF_THE_FUTURE:
                    # This is not the server to which we wrote, and it never saw the transaction.
                    return False
                raise ConnectionLost(f"The database can't tell yet: {detail(error)}") from error
            if state == _STANDBY:
                raise ConnectionLost(f"The database can't tell yet. {READ_ONLY}")
            if state != "in progress":
                return bool(state == "committed" and count == began.count)
            # Its session has not noticed yet that we are gone.
            await asyncio.sleep(_SETTLE_PAUSE_SECONDS)
