"""What a worker reads before it claims runs: for all of them at once, one query per table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy.types import NullType

from server.model.calendar import moved
from server.model.naming import fold_name
from server.model.records import Record
from server.model.states import Order, RunState, StepState, TenantState
from server.store import values
from server.store.tables import ATTEMPTS, BINDINGS, RESOURCES, RUNS, STEPS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.ownership import Resource
    from server.model.records import Attempt

_PASSED = (RunState.PARTIAL.value, RunState.COMPLETED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """All that is stored about a tenant whose run may be claimed.

    Attributes:
        record: The tenant, its last run and that run's steps.
        attempts: The attempts of the last run, in order.
        resources: The tenant's documents.
        abbreviation: The bound abbreviation, or None.
        passed_step: Whether any record says that the tenant got past the given step: it was
            COMPLETED once, a run ended PARTIAL or COMPLETED or began from such a state, or a row
            of that step is done.
        only_tenant_of_name: Whether no other tenant of the site has the same company name.
        read_at: When the resources were read, by the clock of their `busy_until`; None if that
            is the reader's own clock.
    """

    record: Record
    attempts: tuple[Attempt, ...]
    resources: tuple[Resource, ...]
    abbreviation: str | None
    passed_step: bool
    only_tenant_of_name: bool
    read_at: datetime | None = None

    def resources_at(self, now: datetime) -> tuple[Resource, ...]:
        """Return the tenant's documents, with their times by the reader's clock.

        Args:
            now: The time by the reader's clock.
        """
        if self.read_at is None:
            return self.resources
        behind = self.read_at - now
        return tuple(
            resource
            if resource.busy_until is None
            else replace(resource, busy_until=moved(resource.busy_until, -behind))
            for resource in self.resources
        )


async def read_claims(
    connection: AsyncConnection, tenant_ids: Collection[str], *, passed_step: str
) -> dict[str, Claim]:
    """Read what is needed to claim these tenants' runs.

    Args:
        connection: In one snapshot.
        tenant_ids: The tenants; unknown ones are left out.
        passed_step: The step that `Claim.passed_step` is about.

    Returns:
        The claims, by tenant id.
    """
    tenants = await _all(connection, select(TENANTS).where(TENANTS.c.id.in_(tenant_ids)))
    run_ids = run_ids_of(tenants)
    runs = {
        row["id"]: row for row in await _all(connection, select(RUNS).where(RUNS.c.id.in_(run_ids)))
    }
    steps = _by(await _all(connection, select(STEPS).where(STEPS.c.run_id.in_(run_ids))), "run_id")
    attempts = _by(
        await _all(
            connection,
            select(ATTEMPTS).where(ATTEMPTS.c.run_id.in_(run_ids)).order_by(ATTEMPTS.c.id),
        ),
        "run_id",
    )
    resources = _by(
        await _all(
            connection, _select_resources(connection).where(RESOURCES.c.tenant_id.in_(tenant_ids))
        ),
        "tenant_id",
    )
    bindings = {
        row["tenant_id"]: row["abbreviation"]
        for row in await _all(
            connection, select(BINDINGS).where(BINDINGS.c.tenant_id.in_(tenant_ids))
        )
    }
    passed = await _passed(connection, tenant_ids, passed_step)
    same_name = await _same_name(connection, [tenant["company_fold"] for tenant in tenants])
    return {
        tenant["id"]: Claim(
            record=record_of(tenant, runs.get(tenant["run_id"]), steps.get(tenant["run_id"], [])),
            attempts=tuple(values.attempt(row) for row in attempts.get(tenant["run_id"], [])),
            resources=tuple(values.resource(row) for row in resources.get(tenant["id"], [])),
            read_at=next((row.get("read_at") for row in resources.get(tenant["id"], [])), None),
            abbreviation=bindings.get(tenant["id"]),
            passed_step=tenant["id"] in passed or tenant["first_completed_at"] is not None,
            only_tenant_of_name=same_name[tenant["site"], tenant["company_fold"]] <= 1,
        )
        for tenant in tenants
    }


def _select_resources(connection: AsyncConnection) -> Select[Any]:
    """Select documents, with the time by the clock of their `busy_until`."""
    if connection.dialect.name == "postgresql":
        return select(RESOURCES, func.clock_timestamp().label("read_at"))
    return select(RESOURCES)


def run_ids_of(tenants: Sequence[RowMapping]) -> list[str]:
    """Return the ids of the runs that tenants name, without bytes, which no query takes as text.

    Args:
        tenants: Rows of `tenants`; those that name no run are left out.
    """
    return [run_id for row in tenants if (run_id := row["run_id"]) and isinstance(run_id, str)]


def record_of(tenant: RowMapping, run: RowMapping | None, steps: Sequence[RowMapping]) -> Record:
    """Build a record from a tenant's rows.

    Args:
        tenant: Its row.
        run: The row of the run that it names; None if it names none, or that one is gone.
        steps: The rows of that run's steps, in any order.
    """
    ordered = sorted((values.step(row) for row in steps), key=lambda step: step.position)
    return Record(
        tenant=values.tenant(tenant),
        run=None if run is None else values.run(run),
        steps=tuple(ordered),
        damage=tuple(_damage_of(tenant, run)),
    )


def _damage_of(tenant: RowMapping, run: RowMapping | None) -> Iterator[str]:
    """Name the damaged columns that keep workers from finding the tenant's run or writing it."""
    for name, least in _COUNTED:
        count = tenant[name]
        if not isinstance(count, int) or not least <= count <= _MOST_COUNTED:
            yield f"tenants.{name}"
    if run is not None:
        if run["tenant_id"] != tenant["id"]:
            yield "runs.tenant_id"
        # Nobody looks for the runs of a tenant without a site.
        if run["site"] != tenant["site"] and tenant["site"]:
            yield "runs.site"


# The columns that each write counts up, with the least value that is valid. Counting never gets to
# half of the greatest number that the databases hold.
_COUNTED = (("log_seq", 0), ("revision", 0), ("fencing_token", 0))
_MOST_COUNTED = 2**62


# Each removal adds one level to the expression that SQLite evaluates per row, and it allows a
# thousand levels; a process may claim more runs than that at once.
_REMOVALS_AT_ONCE = 250


async def _passed(
    connection: AsyncConnection, tenant_ids: Collection[str], step_key: str
) -> set[str]:
    ids = list(tenant_ids)
    passed: set[str] = set()
    for first in range(0, len(ids), _REMOVALS_AT_ONCE):
        some = ids[first : first + _REMOVALS_AT_ONCE]
        passed |= await _passed_of(connection, some, step_key)
    return passed


async def _passed_of(
    connection: AsyncConnection, tenant_ids: Sequence[str], step_key: str
) -> set[str]:
    mine = and_(RUNS.c.tenant_id.in_(tenant_ids), await _of_this_life(connection, tenant_ids))
    by_run = select(RUNS.c.tenant_id).where(
        mine, or_(RUNS.c.state.in_(_PASSED), RUNS.c.previous_state.in_(_PASSED))
    )
    by_step = (
        select(RUNS.c.tenant_id)
        .join(STEPS, STEPS.c.run_id == RUNS.c.id)
        .where(mine, STEPS.c.key == step_key, STEPS.c.state == StepState.COMPLETED.value)
    )
    return set((await connection.execute(union_all(by_run, by_step))).scalars())


async def _of_this_life(
    connection: AsyncConnection, tenant_ids: Collection[str]
) -> ColumnElement[bool]:
    """Return a condition that leaves out what tenants did before their documents were removed.

    The time of the removal is read once per tenant; asked for each run, it would read all runs of
    the run's tenant every time.
    """
    # Compared as the database holds it: even a damaged time is before or after another.
    when = type_coerce(RUNS.c.created_at, NullType())
    removals = (
        select(RUNS.c.tenant_id, func.max(when))
        .where(
            RUNS.c.tenant_id.in_(tenant_ids),
            RUNS.c.run_order == Order.DEPROVISION.value,
            RUNS.c.state == RunState.COMPLETED.value,
        )
        .group_by(RUNS.c.tenant_id)
    )
    removed = {row[0]: row[1] for row in await connection.execute(removals)}
    return and_(
        true(),
        *(
            or_(RUNS.c.tenant_id != tenant_id, when > literal(at, NullType()))
            for tenant_id, at in removed.items()
        ),
    )


async def read_shared_names(
    connection: AsyncConnection, names: Collection[tuple[str, str]]
) -> set[tuple[str, str]]:
    """Return which of these pairs of site and company name more than one tenant has.

    Names are compared as the engine does (`fold_name`); tenants that were removed do not count.

    Args:
        connection: For a single statement; no snapshot is needed.
        names: The pairs.
    """
    folds = {(site, name): fold_name(name) for site, name in names}
    counts = await _same_name(connection, folds.values())
    return {(site, name) for (site, name), fold in folds.items() if counts[site, fold] > 1}


async def _same_name(
    connection: AsyncConnection, folds: Collection[str]
) -> dict[tuple[str, str], int]:
    counts: defaultdict[tuple[str, str], int] = defaultdict(int)
    named = await connection.execute(_NAMED, {"folds": list(set(folds))})
    for site, fold in named:
        counts[site, fold] += 1
    return counts


# Built once: every claim asks, and building the query takes as long as running it.
_NAMED = select(TENANTS.c.site, TENANTS.c.company_fold).where(
    TENANTS.c.company_fold.in_(bindparam("folds", expanding=True)),
    TENANTS.c.state != TenantState.DEPROVISIONED.value,
)


def _by(rows: Sequence[RowMapping], column: str) -> dict[str, list[RowMapping]]:
    grouped: dict[str, list[RowMapping]] = {}
    for row in rows:
        grouped.setdefault(row[column], []).append(row)
    return grouped


async def _all(connection: AsyncConnection, query: Any) -> Sequence[RowMapping]:  # Any: a select
    return (await connection.execute(query)).mappings().all()
