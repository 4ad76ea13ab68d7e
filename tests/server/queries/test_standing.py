"""Where a tenant stands, in its callers' words: why, what it waits for, and what to do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry, OrderTerms
from server.errors import Refused
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.records import Hold, WaitingFor
from server.model.states import GateState, Order, RunState, StepState, TenantState, WaitingCode
from server.queries import HELD, STALLED, Queries, status_of
from tests.server.queries.scene import (
    ENGINES,
    KINDS,
    LEASE,
    NOW,
    SLOT_WAIT,
    TENANT,
    after,
    before,
    live,
    paused,
)

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.store.database import Database
    from server.store.found import Live


HOLD = Hold(reason="The Company is gone.", by="reconciler", since=NOW - timedelta(hours=1))
DONE = (StepState.COMPLETED,) * len(KINDS)
BROKEN = (*DONE[:-1], StepState.FAILED)
CONTINUE = f"provisioner continue {TENANT}"

STANDINGS = [
    pytest.param(live(None, stored=TenantState.PENDING), "PENDING", [], CONTINUE, id="pending"),
    pytest.param(live(RunState.QUEUED), "IN_PROGRESS", [], "", id="queued"),
    pytest.param(live(RunState.COMPLETED, step_states=DONE), "COMPLETED", [], "", id="completed"),
    pytest.param(
        live(RunState.FAILED, step_states=BROKEN), "FAILED", ["BROKEN"], CONTINUE, id="failed"
    ),
    pytest.param(
        live(RunState.FAILED), "FAILED", ["STEP_NOT_DONE"] * len(KINDS), CONTINUE, id="no reason"
    ),
    pytest.param(live(RunState.CANCELLED), "CANCELLED", [], CONTINUE, id="cancelled"),
    pytest.param(
        live(RunState.CANCELLED, hold=HOLD), "CANCELLED", [HELD], CONTINUE, id="cancelled, held"
    ),
    pytest.param(
        live(RunState.FAILED, step_states=BROKEN, hold=HOLD),
        "FAILED",
        ["BROKEN"],
        CONTINUE,
        id="failed, held",
    ),
    pytest.param(
        live(RunState.COMPLETED, step_states=DONE, hold=HOLD),
        "COMPLETED",
        [HELD],
        f"provisioner continue {TENANT}",
        id="a live shop, held",
    ),
    pytest.param(
        live(RunState.PARTIAL, step_states=()),
        "PARTIAL",
        ["STEP_RECORD_LOST"],
        CONTINUE,
        id="record lost",
    ),
    pytest.param(
        live(RunState.QUEUED, step_states=DONE[:3]),
        "IN_PROGRESS",
        ["STEP_RECORD_LOST"],
        CONTINUE,
        id="record lost in motion",
    ),
    pytest.param(
        live(None, stored=TenantState.DEPROVISIONED),
        "DEPROVISIONED",
        ["STEP_RECORD_LOST"],
        "",
        id="gone",
    ),
]


@pytest.mark.parametrize(("seen", "state", "codes", "command"), STANDINGS)
def test_a_status_says_how_a_tenant_stands_why_and_what_to_do(
    seen: Live, state: str, codes: list[str], command: str
) -> None:
    status = status_of(seen, KINDS, NOW, LEASE)
    assert status.standing.state == state
    assert [error.code for error in status.errors] == codes
    assert all(error.message and error.occurred_at.tzinfo for error in status.errors)
    assert status.next_command == command


def test_a_spec_that_can_not_be_read_is_said_again_before_anything_is_continued() -> None:
    """The run would stop at it, and hold the tenant."""
    seen = live(RunState.FAILED, step_states=BROKEN)
    tenant = replace(seen.record.tenant, spec_damage=("currency",))
    seen = replace(seen, record=replace(seen.record, tenant=tenant))
    assert status_of(seen, KINDS, NOW, LEASE).next_command == f"provisioner diagnose {TENANT}"


NOT_HERE = "Its engine 'main' is not configured at this server. Add [engines.main]."
DIAGNOSE = f"provisioner diagnose {TENANT}"
LOOK_ON = f"provisioner status {TENANT} --watch"
UNKNOWN_ENGINE = ["ENGINE_NOT_CONFIGURED"]
WITHOUT_ENGINE = [
    pytest.param(
        live(None, stored=TenantState.PENDING), UNKNOWN_ENGINE, CONTINUE, DIAGNOSE, id="pending"
    ),
    pytest.param(
        live(RunState.FAILED, step_states=BROKEN),
        ["BROKEN", *UNKNOWN_ENGINE],
        CONTINUE,
        DIAGNOSE,
        id="failed",
    ),
    pytest.param(live(RunState.CANCELLED), UNKNOWN_ENGINE, CONTINUE, DIAGNOSE, id="cancelled"),
    pytest.param(
        live(RunState.COMPLETED, step_states=DONE, hold=HOLD),
        [HELD, *UNKNOWN_ENGINE],
        CONTINUE,
        DIAGNOSE,
        id="a live shop, held",
    ),
    pytest.param(
        live(RunState.QUEUED, step_states=DONE[:3]),
        ["STEP_RECORD_LOST"],
        CONTINUE,
        DIAGNOSE,
        id="record lost in motion",
    ),
    pytest.param(
        live(
            RunState.RUNNING,
            updated_at=before(600),
            heartbeat_at=before(600),
            deadline_at=before(600),
        ),
        [STALLED],
        LOOK_ON,
        DIAGNOSE,
        id="stalled",
    ),
    # Another server may have the engine, and drive it.
    pytest.param(live(RunState.QUEUED), [], "", "", id="queued"),
    pytest.param(live(RunState.COMPLETED, step_states=DONE), [], "", "", id="a live shop"),
]


@pytest.mark.parametrize(("seen", "codes", "known", "unknown"), WITHOUT_ENGINE)
def test_where_the_engine_is_not_known_no_order_is_named_as_each_would_be_refused(
    seen: Live, codes: list[str], known: str, unknown: str
) -> None:
    assert status_of(seen, KINDS, NOW, LEASE).next_command == known
    status = status_of(seen, KINDS, NOW, LEASE, not_here=NOT_HERE)
    assert [error.code for error in status.errors] == codes
    if UNKNOWN_ENGINE[0] in codes:
        assert status.errors[-1].message == NOT_HERE
    assert status.next_command == unknown


def test_a_queued_run_says_that_no_worker_of_this_server_takes_it_up() -> None:
    status = status_of(live(RunState.QUEUED), KINDS, NOW, LEASE, not_here=NOT_HERE)
    assert status.waiting_for is not None
    assert status.waiting_for.code is WaitingCode.WORKER
    assert status.waiting_for.message.endswith(NOT_HERE)


@pytest.mark.parametrize("gate", [GateState.DOWN, GateState.MISCONFIGURED])
def test_a_shut_gate_that_this_server_does_not_ask_is_not_all_that_is_said(gate: GateState) -> None:
    """An engine got another address while it was down: nobody asks the old one any more."""
    seen = live(RunState.WAITING, gate=gate)
    status = status_of(seen, KINDS, NOW, LEASE, not_here=NOT_HERE)
    assert status.waiting_for is not None
    assert status.waiting_for.message.endswith(NOT_HERE)
    known = status_of(seen, KINDS, NOW, LEASE).waiting_for
    assert known is not None
    assert NOT_HERE not in known.message


def test_a_held_tenants_error_names_who_held_it_why_and_since_when() -> None:
    (error,) = status_of(live(RunState.CANCELLED, hold=HOLD), KINDS, NOW, LEASE).errors
    assert error.message == (
        "Held by reconciler: The Company is gone. Only a person may move it: "
        f"provisioner continue {TENANT}"
    )
    assert error.occurred_at == HOLD.since


def test_one_that_was_imported_without_its_company_is_looked_at_first() -> None:
    """Continue would look for that Company, and stop."""
    hold = replace(HOLD, reason="IMPORT_COMPANY_GONE: The record says so.", by="imported")
    status = status_of(live(None, stored=TenantState.PENDING, hold=hold), KINDS, NOW, LEASE)
    (error,) = status.errors
    assert error.message.endswith(f": provisioner diagnose {TENANT}")
    assert status.next_command == f"provisioner diagnose {TENANT}"


@pytest.mark.parametrize(
    ("code", "given", "flags"),
    [
        ("STILL_LINKED", (), ""),
        ("STILL_LINKED", ("even_if_sold",), " --even-if-sold"),
        ("SHOP_HAS_SOLD", (), " --even-if-sold"),
        ("LEDGER_ENTRIES", (), " --delete-transactions"),
        ("LEDGER_ENTRIES", ("even_if_sold",), " --even-if-sold --delete-transactions"),
        # Tills can be taken away in ERPNext; in a Company that is not ours the option is refused.
        ("TILLS_OF_OTHERS", (), ""),
    ],
)
def test_a_removal_that_stopped_names_the_order_that_gets_past_its_error(
    code: str, given: tuple[str, ...], flags: str
) -> None:
    """The same order again would meet the same error again."""
    seen = live(RunState.FAILED, step_states=(StepState.FAILED,) * len(KINDS))
    assert seen.record.run is not None
    run = replace(seen.record.run, order=Order.DEPROVISION, options=dict.fromkeys(given, "yes"))
    steps = tuple(replace(step, error_code=code) for step in seen.record.steps)
    seen = replace(seen, record=replace(seen.record, run=run, steps=steps))
    status = status_of(seen, KINDS, NOW, LEASE)
    assert status.standing.state is TenantState.DEPROVISIONING
    assert status.next_command == f"provisioner deprovision {TENANT}{flags}"


def test_a_held_tenant_that_was_removed_names_an_order_that_is_not_refused() -> None:
    removed = live(RunState.COMPLETED, step_states=DONE, hold=HOLD)
    assert removed.record.run is not None
    run = replace(removed.record.run, order=Order.DEPROVISION)
    removed = replace(removed, record=replace(removed.record, run=run))
    status = status_of(removed, KINDS, NOW, LEASE)
    assert status.standing.state is TenantState.DEPROVISIONED
    release = f"provisioner release {TENANT}"
    assert [error.code for error in status.errors] == [HELD]
    assert status.errors[0].message.endswith(f"To lift the hold: {release}")
    assert status.next_command == release


WAITS = [
    pytest.param(live(RunState.QUEUED), WaitingCode.WORKER, None, id="queued"),
    pytest.param(
        live(RunState.QUEUED, gate=GateState.DOWN), WaitingCode.ENGINE_DOWN, after(15), id="down"
    ),
    pytest.param(
        live(RunState.WAITING, waiting_for=SLOT_WAIT, gate=GateState.MISCONFIGURED),
        WaitingCode.ENGINE_MISCONFIGURED,
        after(15),
        id="misconfigured",
    ),
    pytest.param(
        live(
            RunState.WAITING,
            waiting_for=WaitingFor(code=WaitingCode.RETRY, message="Again.", until=after(4)),
        ),
        WaitingCode.RETRY,
        after(4),
        id="between tries",
    ),
    pytest.param(
        live(
            RunState.WAITING,
            waiting_for=WaitingFor(code=WaitingCode.RETRY, message="Again.", until=before(90)),
        ),
        WaitingCode.WORKER,
        None,
        id="due, and nobody takes it",
    ),
    pytest.param(
        live(RunState.WAITING, due_at=after(9)), WaitingCode.RETRY, after(9), id="no word"
    ),
    pytest.param(
        paused(live(RunState.QUEUED), after(60)),
        WaitingCode.SITE_PAUSED,
        after(60),
        id="queued at a site that wants to be left alone",
    ),
    pytest.param(
        paused(live(RunState.WAITING, due_at=before(1)), after(60)),
        WaitingCode.SITE_PAUSED,
        after(60),
        id="due at such a site",
    ),
    pytest.param(
        paused(live(RunState.WAITING, due_at=after(90)), after(60)),
        WaitingCode.RETRY,
        after(90),
        id="longer than the site",
    ),
    pytest.param(
        paused(live(RunState.QUEUED), before(1)), WaitingCode.WORKER, None, id="not any more"
    ),
    pytest.param(
        paused(live(RunState.QUEUED), after(3600)),
        WaitingCode.WORKER,
        None,
        id="longer than any site may ask for",
    ),
    pytest.param(
        live(RunState.RUNNING, waiting_for=SLOT_WAIT, heartbeat_at=before(1)),
        WaitingCode.SITE_SLOT,
        None,
        id="waits in its attempt",
    ),
]


@pytest.mark.parametrize(("seen", "code", "until"), WAITS)
def test_an_open_run_says_what_it_waits_for(
    seen: Live, code: WaitingCode, until: datetime | None
) -> None:
    status = status_of(replace(seen), KINDS, NOW, LEASE)
    assert status.waiting_for is not None
    assert (status.waiting_for.code, status.waiting_for.until) == (code, until)
    assert status.waiting_for.message
    assert status.errors == ()


def test_a_closed_run_waits_for_nothing_even_while_its_engine_is_down() -> None:
    seen = live(RunState.FAILED, step_states=BROKEN, gate=GateState.DOWN)
    assert status_of(seen, KINDS, NOW, LEASE).waiting_for is None


MOTION = [
    pytest.param({"heartbeat_at": before(2), "deadline_at": after(60)}, False, id="moves"),
    pytest.param(
        {"heartbeat_at": before(29), "deadline_at": after(60)}, False, id="worker lost just now"
    ),
    pytest.param(
        {"heartbeat_at": before(30), "deadline_at": after(60)}, True, id="worker lost for 3 leases"
    ),
    pytest.param(
        {"heartbeat_at": before(2), "deadline_at": before(29)}, False, id="just past its deadline"
    ),
    pytest.param(
        {"heartbeat_at": before(2), "deadline_at": before(31)}, True, id="past its deadline"
    ),
    pytest.param({"heartbeat_at": before(2)}, True, id="claimed, nothing begun"),
    pytest.param({}, True, id="no worker at all"),
    pytest.param(
        {"heartbeat_at": before(40), "stopped_at": before(31), "deadline_at": after(60)},
        True,
        id="worker stopped",
    ),
    pytest.param(
        {"heartbeat_at": before(99), "waiting_for": SLOT_WAIT}, True, id="its wait died with it"
    ),
    pytest.param(
        {"heartbeat_at": before(99), "gate": GateState.DOWN}, False, id="waits for the engine"
    ),
    pytest.param({"heartbeat_at": before(99), "updated_at": before(5)}, False, id="just changed"),
    pytest.param(
        {"heartbeat_at": before(99), "updated_at": before(-3600)},
        True,
        id="changed before the clock was set back",
    ),
    pytest.param(
        {"heartbeat_at": before(-3600)}, True, id="heard of before the clock was set back"
    ),
    pytest.param(
        {"heartbeat_at": before(-3600), "updated_at": before(-3600)},
        True,
        id="all of it before the clock was set back",
    ),
    pytest.param(
        {"heartbeat_at": before(99), "updated_at": before(-5)}, False, id="changed a moment ahead"
    ),
]


@pytest.mark.parametrize(("motion", "stalled"), MOTION)
def test_a_run_that_neither_moves_nor_waits_for_three_leases_is_stalled(
    motion: dict[str, datetime], stalled: bool
) -> None:
    seen = live(RunState.RUNNING, **({"updated_at": before(300)} | motion))  # type: ignore[arg-type]  # a table
    status = status_of(seen, KINDS, NOW, LEASE)
    assert status.standing.state is TenantState.IN_PROGRESS
    assert [error.code for error in status.errors] == ([STALLED] if stalled else [])
    command = f"provisioner status {TENANT} --watch" if stalled else ""
    assert status.next_command == command
    # Looked at again it is the same, so that who watches hears it once.
    later = status_of(seen, KINDS, NOW + timedelta(seconds=1), LEASE)
    assert not stalled or later.errors == status.errors


async def test_the_status_of_a_tenant_whose_engine_is_no_longer_configured_can_be_read(
    database: Database, tenant: TenantId
) -> None:
    orphaned = Queries(database, engines={}, now=lambda: NOW, lease_seconds=LEASE)
    status = await orphaned.status(LOCAL, tenant)
    assert [step.key for step in status.steps] == [kind.key for kind in NOOP.steps]
    assert status.titles["step_1_noop"] == "No-op 1"


@pytest.mark.parametrize(
    ("engines", "says"),
    [
        ({}, "Add [engines.main] to PROVISIONER_ENGINES_FILE"),
        ({"main": EngineEntry(site="other", blueprint=NOOP)}, "Its row names the site 'site'"),
    ],
)
async def test_a_tenant_whose_engine_is_not_known_here_says_so_and_names_no_order(
    database: Database, tenant: TenantId, engines: dict[str, EngineEntry], says: str
) -> None:
    queries = Queries(database, engines=engines, now=lambda: NOW, lease_seconds=LEASE)
    queued = await queries.status(LOCAL, tenant)
    assert queued.waiting_for is not None
    assert says in queued.waiting_for.message
    known = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)
    await known.cancel(LOCAL, tenant, OrderTerms())
    cancelled = await queries.status(LOCAL, tenant)
    assert [error.code for error in cancelled.errors] == ["ENGINE_NOT_CONFIGURED"]
    assert says in cancelled.errors[0].message
    assert cancelled.next_command == f"provisioner diagnose {tenant}"
    # What was named before is refused here.
    here = Commands(database, engines=engines, default_engine=None, now=lambda: NOW)
    with pytest.raises(Refused, match=re.escape(says)):
        await here.continue_(LOCAL, tenant, OrderTerms())
