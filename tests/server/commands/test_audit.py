"""One order, one row in the audit: who, what, on whom, and what became of it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from server.commands import BeginOptions, Commands, OrderTerms
from server.errors import NotAllowed, ProvisionerError
from server.model.actor import RECONCILER, Actor, Role
from server.model.states import StepState, TenantState
from server.model.undo import UndoOptions
from server.validation import RawSpec
from tests.server.commands.desk import JANE, NAME, OPTIONAL, VIEWER, Desk

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from sqlalchemy import Connection

    Order = Callable[..., Coroutine[Any, Any, Any]]

# They look, and change nothing.
LOOKS = {"adoption", "documents", "foreseen", "holder", "look_at_site"}
ORDERS: dict[str, Order] = {
    name: order
    for name, order in inspect.getmembers(Commands, inspect.iscoroutinefunction)
    if not name.startswith("_") and name not in LOOKS
}
BOSS = Actor(name="boss@example.com", role=Role.ADMIN, origin="grpc 10.0.0.1")
TERMS = OrderTerms(request_id="ticket-1", reason="agreed with the shop")


def arguments(order: Order, tenant_id: str) -> dict[str, Any]:
    """Return what an order wants, found by the names of its parameters."""
    known = {
        "tenant_id": tenant_id,
        "terms": TERMS,
        "options": UndoOptions(),
        "raw": RawSpec(company_name="Another Company"),
        "step_key": "step_6_items",
        "engine_id": "main",
        "name": "Elsewhere Ltd",
        "country_code": "KE",
        "kind": "odoo",
        "facts": {},
    }
    if order is Commands.begin:
        known["options"] = BeginOptions()
    wanted = inspect.signature(order).parameters
    return {
        name: known[name]
        for name, parameter in wanted.items()
        if name not in {"self", "actor"} and (parameter.default is parameter.empty)
    }


async def rows(desk: Desk) -> list[dict[str, str]]:
    """Return the audit, oldest first."""
    found = await desk.scene.sql(
        "SELECT actor, role, origin, action, target, outcome, request_id, reason FROM audit "
        "ORDER BY id"
    )
    return [dict(row) for row in found]


async def delete(desk: Desk, table: str) -> None:
    def work(connection: Connection) -> None:
        connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - own tables

    await desk.scene.database.in_transaction(work)


async def forget(desk: Desk) -> None:
    await delete(desk, "audit")


def test_there_are_orders_and_each_says_its_name_in_the_audit() -> None:
    unmarked = [name for name, order in ORDERS.items() if not hasattr(order, "audited")]
    assert not unmarked, "mark them with @audited, or name them as looks here"
    assert len(ORDERS) > len(LOOKS)


@pytest.mark.parametrize("name", ORDERS)
async def test_an_order_that_is_refused_has_one_row_with_the_refusal(desk: Desk, name: str) -> None:
    order = ORDERS[name]
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    await forget(desk)
    stranger = Actor(name="vic@example.com", role=Role.VIEWER, tenants={}, origin="http 10.0.0.2")
    given = arguments(order, tenant_id)
    with pytest.raises(ProvisionerError) as refused:
        await order(desk.commands, stranger, **given)
    (row,) = await rows(desk)
    assert (row["actor"], row["role"], row["origin"]) == (
        *("vic@example.com", "VIEWER"),
        "http 10.0.0.2",
    )
    assert row["action"] == order.__dict__["audited"]
    assert row["outcome"] == refused.value.code != "OK"
    assert row["target"] == given.get("tenant_id", given.get("engine_id", ""))
    if "terms" in given:
        assert (row["request_id"], row["reason"]) == ("ticket-1", "agreed with the shop")


# How a tenant must stand for an order to be carried out.
STANDS: dict[str, Callable[[Desk], Coroutine[Any, Any, str]]] = {
    "cancel": lambda desk: desk.start(),
    "release": lambda desk: desk.held(),
    "retry": lambda desk: desk.stopped(),
}


@pytest.mark.parametrize("name", [name for name in ORDERS if name != "adopt_company"])
async def test_an_order_that_is_carried_out_has_one_row(desk: Desk, name: str) -> None:
    order = ORDERS[name]
    failed = {OPTIONAL: StepState.FAILED}
    stands = STANDS.get(name)
    tenant_id = await (stands(desk) if stands is not None else desk.stopped(failed))
    await forget(desk)
    given = arguments(order, tenant_id)
    if "step_key" in given:
        given["step_key"] = OPTIONAL
    answer = await order(desk.commands, BOSS, **given)
    (row,) = await rows(desk)
    assert (row["actor"], row["origin"]) == ("boss@example.com", "grpc 10.0.0.1")
    assert (row["action"], row["outcome"]) == (order.__dict__["audited"], "OK")
    made = name in {"start", "register_elsewhere"}
    about = {"accept_site": "main", "after_restore": ""}
    assert row["target"] == about.get(name, answer if made else tenant_id)


async def test_an_old_clients_start_that_drives_on_is_one_order(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    await forget(desk)
    await desk.commands.begin(JANE, tenant_id, BeginOptions())
    assert [(row["action"], row["outcome"]) for row in await rows(desk)] == [
        ("StartProvisioning", "OK")
    ]
    # It is in motion now: refused, and that is one row, too.
    await forget(desk)
    with pytest.raises(ProvisionerError):
        await desk.commands.begin(JANE, tenant_id, BeginOptions())
    assert [(row["action"], row["outcome"]) for row in await rows(desk)] == [
        ("StartProvisioning", "TENANT_IN_MOTION")
    ]


async def test_an_old_clients_start_of_a_removed_tenant_is_one_order(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    for table in ("steps", "runs", "bindings"):
        await delete(desk, table)
    await desk.scene.change_tenant(tenant_id, state=TenantState.DEPROVISIONED.value, run_id=None)
    await forget(desk)
    await desk.commands.begin(JANE, tenant_id, BeginOptions())
    assert [(row["action"], row["target"], row["outcome"]) for row in await rows(desk)] == [
        ("StartProvisioning", tenant_id, "OK")
    ]


async def test_a_sweeps_orders_are_told_from_peoples(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    await forget(desk)
    await desk.commands.continue_(RECONCILER, tenant_id, OrderTerms(reason="STEP_FAILED"))
    (row,) = await rows(desk)
    assert (row["actor"], row["action"], row["outcome"]) == ("reconciler", "Continue", "OK")


async def test_what_nobody_could_carry_out_is_no_order(desk: Desk) -> None:
    with pytest.raises(ProvisionerError):
        await desk.commands.start(JANE, RawSpec(company_name=""))
    with pytest.raises(NotAllowed):
        await desk.commands.start(VIEWER, RawSpec(company_name=NAME))
    assert [(row["actor"], row["outcome"]) for row in await rows(desk)] == [("vic", "NOT_ALLOWED")]
