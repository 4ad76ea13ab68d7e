"""What reconcilers count and remember together: herds, shared limits, ends of findings.

All of it is in the database, and each change names what it saw, so that any number of reconcilers
behave as one: the one that comes second changes nothing, and is told so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Text, func, literal_column, or_, select, update

from server.errors import StoreUnavailable
from server.store import rows, turns, values
from server.store.conditions import STATE_OF_FOUND
from server.store.failures import refusals
from server.store.found import EPOCH
from server.store.handed_over import HandedOver, read_handed_over
from server.store.herd_row import MARKS, changed, herd_of, values_of
from server.store.rowset import add
from server.store.snapshot import snapshot, statement
from server.store.tables import FINDINGS, HERDS, OUTBOX, RUNS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime, timedelta

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.store.herd_row import Herd
    from server.store.operations import OutboxRow

T = TypeVar("T")

# Literal text, because otherwise SQLite would not use the partial indexes.
_OPEN = "ended_at IS NULL"
_SETTLED = ("COMPLETED", "CANCELLED", "DEPROVISIONED")
_MOST_SETTLED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFinding:
    """A finding whose tenant has settled since.

    Attributes:
        state: The tenant's state.
        run_actor: Who ordered the tenant's last run; "" if there is none.
        run_ended_at: When that run ended.
    """

    id: str
    tenant_id: str
    company_name: str
    cause: str
    outcome: str
    message: str
    fingerprint: str
    herd_id: str | None
    tenants: int
    found_at: datetime | None
    stuck_since: datetime | None
    state: str
    run_actor: str
    run_ended_at: datetime | None


class HealingStore:
    """The reconcilers' shared memory.

    Every method raises `StoreUnavailable` if the database can't be read or written.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        in_transaction: Callable[[Callable[[Connection], Any]], Any],  # Any: as `Database`'s
        *,
        one_statement: AsyncEngine | None = None,
    ) -> None:
        """Take what it reads and writes with.

        Args:
            engine: The connections for reading.
            in_transaction: Runs work in a transaction that may write.
            one_statement: Connections in autocommit, which suffice as each read is one statement.
        """
        self._engine = engine
        self._in_transaction = in_transaction
        self._one_statement = one_statement

    def _reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a connection for one statement, without BEGIN and ROLLBACK if that is possible."""
        if self._one_statement is None:
            return snapshot(self._engine)
        return statement(self._one_statement)

    async def herds(self, fingerprints: Collection[str]) -> dict[str, Herd]:
        """Return the herds with these fingerprints, by fingerprint; also those that are over."""
        query = select(HERDS, *MARKS).where(HERDS.c.fingerprint.in_(fingerprints))
        async with self._reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return {row["fingerprint"]: herd_of(row) for row in found}

    async def open_by_fingerprint(self, fingerprints: Collection[str]) -> dict[str, set[str]]:
        """Return the tenants that have open findings with these fingerprints, by fingerprint."""
        query = select(FINDINGS.c.fingerprint, FINDINGS.c.tenant_id).where(
            literal_column(_OPEN),
            FINDINGS.c.fingerprint.in_(fingerprints),
            FINDINGS.c.cause != "HERD",
        )
        found: dict[str, set[str]] = {}
        async with self._reading() as connection:
            for row in (await connection.execute(query)).mappings():
                found.setdefault(row["fingerprint"], set()).add(row["tenant_id"])
        return found

    async def over(self, herds: Collection[Herd]) -> set[str]:
        """Return the fingerprints of the herds whose finding has ended: all tenants are settled."""
        by_finding = {herd.finding_id: herd.fingerprint for herd in herds}
        if not by_finding:
            return set()
        query = select(FINDINGS.c.id).where(
            FINDINGS.c.id.in_(by_finding), FINDINGS.c.ended_at.is_not(None)
        )
        async with self._reading() as connection:
            return {by_finding[own_id] for own_id in (await connection.execute(query)).scalars()}

    async def open_of_cause(self, cause: str) -> list[tuple[str, str, datetime, dict[str, Any]]]:
        """Return id, subject, time and evidence of each open finding with a cause; oldest first."""
        found = FINDINGS.c
        query = (
            select(found.id, found.tenant_id, found.found_at, found.evidence)
            .where(literal_column(_OPEN), found.cause == cause)
            .order_by(found.found_at, found.id)
        )
        async with self._reading() as connection:
            rows_found = (await connection.execute(query)).all()
        return [
            (row.id, row.tenant_id, row.found_at or EPOCH, values.json_object(row.evidence))
            for row in rows_found
        ]

    async def has_finding(self, finding_id: str) -> bool:
        """Tell whether a finding was recorded."""
        query = select(FINDINGS.c.id).where(FINDINGS.c.id == finding_id)
        async with self._reading() as connection:
            return (await connection.execute(query)).first() is not None

    async def came_through(self, herd: Herd, *, but_by: str, limit: int) -> list[str]:
        """Return tenants of a herd whose later run, ordered by another actor, ended; latest first.

        Args:
            herd: The herd.
            but_by: The actor whose runs do not count: the reconciler's own are its canaries.
            limit: The most tenants to return.
        """
        since = herd.ordered_at or herd.opened_at
        query = (
            select(FINDINGS.c.tenant_id)
            .join(TENANTS, TENANTS.c.id == FINDINGS.c.tenant_id)
            .join(RUNS, RUNS.c.id == TENANTS.c.run_id)
            .where(
                FINDINGS.c.herd_id == herd.finding_id,
                RUNS.c.actor != but_by,
                RUNS.c.finished_at > FINDINGS.c.found_at,
                RUNS.c.finished_at >= since,
            )
            .order_by(RUNS.c.finished_at.desc(), FINDINGS.c.tenant_id)
            .limit(limit)
        )
        async with self._reading() as connection:
            return list((await connection.execute(query)).scalars())

    async def release_herd(self, herd: Herd, *, seen: Herd, never: datetime) -> bool:
        """Write that a herd's cause is fixed; tenants that waited for a person are looked at again.

        Args:
            herd: The herd, with its `released_at`.
            seen: The herd as it was judged.
            never: The `look_at` of tenants for which a person was called.

        Returns:
            False if another reconciler was faster; then nothing was written.
        """
        members = select(FINDINGS.c.tenant_id).where(
            FINDINGS.c.herd_id == herd.finding_id, literal_column(_OPEN)
        )

        def write(connection: Connection) -> bool:
            if not changed(connection, herd, seen):
                return False
            connection.execute(
                update(TENANTS)
                .where(
                    TENANTS.c.id.in_(members),
                    TENANTS.c.look_at >= never,
                    TENANTS.c.hold_reason.is_(None),
                )
                .values(look_at=None)
            )
            return True

        return await self._write(write)

    async def put_herd(self, herd: Herd, *, seen: Herd | None) -> bool:
        """Write a herd if it is still as it was seen.

        Args:
            herd: The herd to write.
            seen: The herd as it was judged; None if there was none.

        Returns:
            False if another reconciler was faster; then nothing was written.
        """

        def write(connection: Connection) -> bool:
            if seen is None:
                # If two make it at once they collide at the key, and the second one sees it then.
                there = select(HERDS.c.fingerprint).where(HERDS.c.fingerprint == herd.fingerprint)
                if connection.execute(there).first() is not None:
                    return False
                add(connection, HERDS, [values_of(herd)])
                return True
            return changed(connection, herd, seen)

        try:
            return await self._write(write)
        except StoreUnavailable:
            if seen is None and herd.fingerprint in await self.herds([herd.fingerprint]):
                return False
            raise

    async def take_turn(self, name: str, *, now: datetime, window: timedelta, limit: int) -> bool:
        """Take one of the turns that all reconcilers share in a window of time.

        Args:
            name: The name of the limit.
            now: The current time.
            window: How long a window lasts.
            limit: How many turns there are in a window.

        Returns:
            False if they are used up.
        """
        take = partial(turns.take, name=name, now=now, window=window, limit=limit)
        try:
            return await self._write(take)
        except StoreUnavailable:
            # Two reconcilers made the row at once; the second one finds it now.
            return await self._write(take)

    async def give_turn_back(self, name: str) -> None:
        """Give back a turn that opened no run."""
        await self._write(partial(turns.give_back, name=name))

    async def settled(self) -> list[OpenFinding]:
        """Return the open findings of tenants that have settled since, without those of herds."""
        query = (
            select(
                *(FINDINGS.c[name] for name in _OF_FINDING),
                TENANTS.c.company_name,
                TENANTS.c.state,
                RUNS.c.actor.label("run_actor"),
                RUNS.c.finished_at.label("run_ended_at"),
            )
            .join(TENANTS, TENANTS.c.id == FINDINGS.c.tenant_id)
            .outerjoin(RUNS, RUNS.c.id == TENANTS.c.run_id)
            .where(
                literal_column(f"findings.{_OPEN}"),
                FINDINGS.c.cause != "HERD",
                literal_column(STATE_OF_FOUND, Text).in_(_SETTLED),
                # Drift is found on finished tenants: only another look can tell that it is over.
                or_(FINDINGS.c.cause != "DRIFT", TENANTS.c.state != "COMPLETED"),
                TENANTS.c.hold_reason.is_(None),
            )
            .order_by(FINDINGS.c.found_at, FINDINGS.c.id)
            .limit(_MOST_SETTLED)
        )
        async with self._reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [OpenFinding(**(dict(row) | {"run_actor": row["run_actor"] or ""})) for row in found]

    async def end(
        self,
        finding_ids: Sequence[str],
        *,
        ended_as: str,
        at: datetime,
        messages: Sequence[OutboxRow] = (),
    ) -> bool:
        """End findings of one tenant, and write the messages about it.

        Args:
            finding_ids: The findings.
            ended_as: How they ended, as `FindingSeen.ended_as`.
            at: When they ended.
            messages: The messages for the webhook.

        Returns:
            False if another reconciler ended them; then no message was written.
        """

        def write(connection: Connection) -> bool:
            ended = connection.execute(
                update(FINDINGS)
                .where(FINDINGS.c.id.in_(finding_ids), FINDINGS.c.ended_at.is_(None))
                .values(ended_at=at, ended_as=ended_as)
            )
            if not ended.rowcount:
                return False
            add(connection, OUTBOX, [rows.outbox_row(message) for message in messages])
            return True

        return await self._write(write)

    async def open_herds(self) -> list[tuple[Herd, int]]:
        """Return the herds that are not over, each with the number of its unsettled tenants."""
        member = FINDINGS.alias("member")
        members = (
            select(func.count(func.distinct(member.c.tenant_id)))
            .where(member.c.herd_id == HERDS.c.finding_id, member.c.ended_at.is_(None))
            .correlate(HERDS)
            .scalar_subquery()
        )
        query = select(HERDS, *MARKS, members.label("open_members")).join(
            FINDINGS, FINDINGS.c.id == HERDS.c.finding_id
        )
        query = query.where(literal_column(f"findings.{_OPEN}"))
        async with self._reading() as connection:
            found = (await connection.execute(query)).mappings().all()
        return [(herd_of(row), row["open_members"]) for row in found]

    async def mark_finding(
        self,
        finding_id: str,
        *,
        tenants: int,
        severity: str | None = None,
        message: str | None = None,
        messages: Sequence[OutboxRow] = (),
    ) -> None:
        """Update the one finding of a herd, and write the messages about it.

        Args:
            finding_id: The finding.
            tenants: How many tenants it is about.
            severity: Its new severity; None leaves it.
            message: Its new message; None leaves it.
            messages: The messages for the webhook.
        """
        values: dict[str, Any] = {"tenants": tenants}
        if severity is not None:
            values["severity"] = severity
        if message is not None:
            values["message"] = message

        def write(connection: Connection) -> None:
            connection.execute(update(FINDINGS).where(FINDINGS.c.id == finding_id).values(**values))
            add(connection, OUTBOX, [rows.outbox_row(each) for each in messages])

        await self._write(write)

    async def join_earlier(self, herd: Herd, *, before: Herd | None) -> None:
        """Make a new herd's finding stand for the earlier findings too.

        Args:
            herd: The new herd.
            before: The herd that it replaces; that one's finding ends if it is open.
        """
        alone = FINDINGS.c.herd_id.is_(None)
        theirs = alone if before is None else or_(alone, FINDINGS.c.herd_id == before.finding_id)

        def write(connection: Connection) -> None:
            connection.execute(
                update(FINDINGS)
                .where(
                    literal_column(_OPEN),
                    FINDINGS.c.fingerprint == herd.fingerprint,
                    FINDINGS.c.cause != "HERD",
                    theirs,
                )
                .values(herd_id=herd.finding_id)
            )
            if before is not None:
                connection.execute(
                    update(FINDINGS)
                    .where(FINDINGS.c.id == before.finding_id, literal_column(_OPEN))
                    .values(ended_at=herd.opened_at, ended_as="ENDED")
                )

        await self._write(write)

    async def handed_over(self, *, never: datetime, limit: int) -> list[HandedOver]:
        """Return tenants that wait for a person, those that waited longest first.

        Args:
            never: The `look_at` of tenants for which a person was called.
            limit: The most tenants to return.
        """
        async with self._reading() as connection:
            return await read_handed_over(connection, never=never, limit=limit)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        with refusals():
            result: T = await self._in_transaction(work)
        return result


_OF_FINDING = (
    "id",
    "tenant_id",
    "cause",
    "outcome",
    "message",
    "fingerprint",
    "herd_id",
    "tenants",
    "found_at",
    "stuck_since",
)
