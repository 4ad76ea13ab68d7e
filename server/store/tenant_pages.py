"""Reads what the old clients list: tenants, newest first, by offset, with owner and members.

Each state's newest tenants come from its index, and only these are sorted, so that the first pages
cost the same whatever the number of tenants. A large offset costs what comes before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, false, func, literal_column, or_, select, union_all

from server.model.states import TenantState
from server.store import values
from server.store.conditions import OPEN
from server.store.tables import MEMBERSHIPS, RUNS, TENANTS, USERS

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping, Select

    from server.store.database import Database

_OWNER = "OWNER"
# Exactly as in the partial index.
_UNKNOWN_STATE: ColumnElement[bool] = literal_column(
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFilter:
    """Which tenants are listed.

    Attributes:
        free: The states in which tenants that are not held are listed.
        held: The states in which tenants that are held are listed.
        at_site: Whether only tenants at a site of ours are listed, or only others; None for both.
        engine_id: If given, only tenants on this engine.
        ids: If given, only these tenants.
    """

    free: frozenset[TenantState] = frozenset(TenantState)
    held: frozenset[TenantState] = frozenset(TenantState)
    at_site: bool | None = None
    engine_id: str | None = None
    ids: Collection[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedOwner:
    """The user who owns a tenant."""

    id: str
    email: str
    full_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTenant:
    """A line of the list.

    Attributes:
        site: "" if it lives on no site of ours.
        state: None if the stored state is not one of ours.
        member_count: How many members have joined; those invited do not count.
        owner: The member with the role OWNER, the earliest if there are several; None without one.
    """

    id: str
    name: str
    country_code: str
    engine_id: str
    site: str
    state: TenantState | None
    held: bool
    created_at: datetime
    member_count: int
    owner: ListedOwner | None


class TenantPages:
    """Lists of one store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: TenantFilter, *, skip: int, limit: int
    ) -> tuple[int, list[ListedTenant]]:
        """Return how many tenants match, and a page of them, newest first.

        Args:
            wanted: Which tenants are listed.
            skip: How many to skip.
            limit: The most tenants on the page.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return await self._database.in_snapshot(
            lambda connection: _page(connection, wanted, skip, limit)
        )

    async def counts(self) -> dict[str, int]:
        """Return how many tenants are in each state, as stored, be it a word of ours or not.

        Raises:
            StoreUnavailable: the database can't be read.
        """

        def read(connection: Connection) -> dict[str, int]:
            query = select(TENANTS.c.state, func.count().label("number")).group_by(TENANTS.c.state)
            return {row.state: row.number for row in connection.execute(query)}

        return await self._database.in_snapshot(read)

    async def open_runs(self) -> int:
        """Return how many runs are queued, running or waiting.

        Raises:
            StoreUnavailable: the database can't be read.
        """

        def read(connection: Connection) -> int:
            query = select(func.count()).select_from(RUNS).where(literal_column(OPEN))
            return connection.execute(query).scalar_one()

        return await self._database.in_snapshot(read)


def _page(
    connection: Connection, wanted: TenantFilter, skip: int, limit: int
) -> tuple[int, list[ListedTenant]]:
    fits = _fits(wanted)
    total = connection.execute(select(func.count()).select_from(TENANTS).where(*fits)).scalar_one()
    if wanted.ids is not None:
        # A person is a member of few tenants: all of them are read, without an index's order.
        parts = [select(TENANTS.c.id, TENANTS.c.created_at).where(*fits)]
    else:
        parts = [_newest(one, fits, skip + limit) for one in _by_state(wanted)]
    newest = union_all(*parts).subquery()
    keys = (
        select(newest.c.id)
        .order_by(newest.c.created_at.desc(), newest.c.id.desc())
        .offset(skip)
        .limit(limit)
    )
    ids = list(connection.execute(keys).scalars())
    rows = {
        row["id"]: row
        for row in connection.execute(select(TENANTS).where(TENANTS.c.id.in_(ids))).mappings()
    }
    members = _members(connection, ids)
    owners = _owners(connection, ids)
    return total, [
        _listed(rows[each], members.get(each, 0), owners.get(each)) for each in ids if each in rows
    ]


def _by_state(wanted: TenantFilter) -> list[ColumnElement[bool]]:
    """Return one range of the index per state that matches; other states would be read in full."""
    states = wanted.free | wanted.held
    ranges: list[ColumnElement[bool]] = [TENANTS.c.state == state.value for state in sorted(states)]
    if not _is_filtered(wanted):
        return [*ranges, _UNKNOWN_STATE]
    return ranges or [false()]


def _newest(one: ColumnElement[bool], fits: list[Any], limit: int) -> Select[Any]:
    newest = (
        select(TENANTS.c.id, TENANTS.c.created_at)
        .where(one, *fits)
        .order_by(TENANTS.c.created_at.desc(), TENANTS.c.id.desc())
        .limit(limit)
        .subquery()
    )
    return select(newest.c.id, newest.c.created_at)


def _column(wanted: TenantFilter, name: str) -> ColumnElement[str]:
    """Return a column, in a form that no index has if only some ids are asked for.

    Otherwise SQLite would read the whole index of a state or an engine instead of these few.
    """
    column: ColumnElement[str] = TENANTS.c[name]
    return column if wanted.ids is None else func.coalesce(column, "")


def _is_filtered(wanted: TenantFilter) -> bool:
    """Tell whether some states do not match; then no unknown state does either."""
    everything = frozenset(TenantState)
    return wanted.free != everything or wanted.held != everything


def _fits(wanted: TenantFilter) -> list[Any]:  # Any: SQL conditions of several types
    fits: list[Any] = []
    if _is_filtered(wanted):
        state = _column(wanted, "state")
        fits.append(
            or_(
                and_(TENANTS.c.hold_reason.is_(None), state.in_(sorted(wanted.free))),
                and_(TENANTS.c.hold_reason.is_not(None), state.in_(sorted(wanted.held))),
            )
        )
    if wanted.at_site is not None:
        fits.append(TENANTS.c.site != "" if wanted.at_site else TENANTS.c.site == "")
    if wanted.engine_id is not None:
        fits.append(_column(wanted, "engine_id") == wanted.engine_id)
    if wanted.ids is not None:
        fits.append(TENANTS.c.id.in_(list(wanted.ids)))
    return fits


def _members(connection: Connection, ids: list[str]) -> dict[str, int]:
    query = (
        select(MEMBERSHIPS.c.tenant_id, func.count().label("number"))
        .where(MEMBERSHIPS.c.tenant_id.in_(ids), MEMBERSHIPS.c.status == "ACTIVE")
        .group_by(MEMBERSHIPS.c.tenant_id)
    )
    return {row.tenant_id: row.number for row in connection.execute(query)}


def _owners(connection: Connection, ids: list[str]) -> dict[str, ListedOwner]:
    query = (
        select(MEMBERSHIPS.c.tenant_id, USERS.c.id, USERS.c.email, USERS.c.full_name)
        .join(USERS, USERS.c.id == MEMBERSHIPS.c.user_id)
        .where(MEMBERSHIPS.c.tenant_id.in_(ids))
        .where(MEMBERSHIPS.c.role == _OWNER)
        .order_by(MEMBERSHIPS.c.created_at.desc())
    )
    return {
        row["tenant_id"]: ListedOwner(id=row["id"], email=row["email"], full_name=row["full_name"])
        for row in connection.execute(query).mappings()
    }


def _listed(row: RowMapping, member_count: int, owner: ListedOwner | None) -> ListedTenant:
    tenant = values.tenant(row)
    return ListedTenant(
        id=tenant.id,
        name=tenant.spec.company_name,
        country_code=tenant.spec.country_code,
        engine_id=tenant.spec.engine_id,
        site=tenant.site,
        state=tenant.state,
        held=tenant.hold is not None,
        created_at=tenant.created_at,
        member_count=member_count,
        owner=owner,
    )
