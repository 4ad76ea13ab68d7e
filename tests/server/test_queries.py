"""Where a tenant stands in its callers' words, and its log given page by page."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from server.commands import Commands, EngineEntry, OrderTerms
from server.errors import (
    CursorOutOfRange,
    CursorTooOld,
    InvalidInput,
    NotFound,
    Refused,
    StoreUnavailable,
)
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.derive import Standing
from server.model.identifiers import RunId, TenantId, WorkerId
from server.model.records import Hold, Record, Run, Step, Tenant, WaitingFor, Worker
from server.model.spec import TenantSpec
from server.model.states import (
    GateState,
    LogLevel,
    Order,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)
from server.queries import HELD, STALLED, LogHub, Queries, status_of
from server.queries.log_pages import PAGE_ENTRIES
from server.store.database import Database
from server.store.found import Gate, Live
from server.store.operations import LogDraft, TenantOperation
from server.store.tables import LOG_ENTRIES, TENANTS
from server.validation import RawSpec
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LEASE = 10.0
TENANT = TenantId("01900000-0000-7000-8000-000000000001")
RUN = RunId("01900000-0000-7000-8000-0000000000aa")
WORKER = WorkerId("worker-1")
KINDS = NOOP.steps
ENGINES = {"main": EngineEntry(site="site", blueprint=NOOP)}
SPEC = TenantSpec(company_name="Acme", country_code="KE", currency="KES", engine_id="main")

HOLD = Hold(reason="The Company is gone.", by="reconciler", since=NOW - timedelta(hours=1))
SLOT_WAIT = WaitingFor(code=WaitingCode.SITE_SLOT, message="Waiting for the site.", until=None)


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def live(
    run_state: RunState | None,
    *,
    step_states: tuple[StepState, ...] = (StepState.PENDING,) * len(KINDS),
    stored: TenantState | None = TenantState.IN_PROGRESS,
    hold: Hold | None = None,
    waiting_for: WaitingFor | None = None,
    due_at: datetime = NOW,
    updated_at: datetime = NOW,
    deadline_at: datetime | None = None,
    heartbeat_at: datetime | None = None,
    stopped_at: datetime | None = None,
    gate: GateState = GateState.UP,
) -> Live:
    """A tenant of the no-op blueprint; a run state of None is a tenant without a run."""
    run = None
    if run_state is not None:
        run = Run(
            id=RUN,
            tenant_id=TENANT,
            order=Order.START,
            blueprint=NOOP.name,
            blueprint_version=1,
            state=run_state,
            total_steps=len(KINDS),
            due_at=due_at,
            worker_id=WORKER if heartbeat_at else None,
            token=1,
            actor="local",
            reason="",
            previous_state="PENDING",
            waiting_for=waiting_for,
            created_at=before(600),
            started_at=before(500),
            finished_at=None,
        )
    steps = tuple(
        Step(
            run_id=RUN,
            key=kind.key,
            position=position,
            required=kind.required,
            state=state,
            error_code="BROKEN" if state is StepState.FAILED else None,
            error_message="It broke." if state is StepState.FAILED else None,
            error_at=NOW if state is StepState.FAILED else None,
        )
        for position, (kind, state) in enumerate(zip(KINDS, step_states, strict=False))
    )
    tenant = Tenant(
        id=TENANT,
        spec=SPEC,
        site="site",
        state=stored,
        run_id=RUN if run else None,
        fencing_token=1,
        log_seq=1,
        revision=1,
        hold=hold,
        look_at=None,
        heal_count=0,
        healed_at=None,
        first_completed_at=None,
        created_at=before(600),
        updated_at=updated_at,
    )
    worker = None
    if heartbeat_at is not None:
        worker = Worker(
            id=WORKER,
            started_at=before(900),
            heartbeat_at=heartbeat_at,
            lease_seconds=LEASE,
            stopped_at=stopped_at,
        )
    site = Gate(
        site="site",
        state=gate,
        code="" if gate is GateState.UP else "SITE_DOWN",
        message="" if gate is GateState.UP else "The site does not answer.",
        since=before(60),
        next_probe_at=None if gate is GateState.UP else after(15),
        slot_tenant_id=None,
        slot_doctype=None,
        slot_name=None,
        slot_sent_at=None,
        slot_expires_at=None,
    )
    record = Record(tenant=tenant, run=run, steps=steps)
    return Live(record=record, gate=site, worker=worker, deadline_at=deadline_at)


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


# Logs


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(await copied_store(tmp_path / "provisioner.db"))
    yield opened
    await opened.close()


@asynccontextmanager
async def running(database: Database, poll_seconds: float = 60.0) -> AsyncIterator[Queries]:
    """Queries that poll so seldom that only what this process wrote wakes a follower."""
    queries = Queries(
        database, engines=ENGINES, now=lambda: NOW, lease_seconds=LEASE, poll_seconds=poll_seconds
    )
    await queries.start()
    yield queries
    await queries.stop()


@pytest.fixture
async def queries(database: Database) -> AsyncIterator[Queries]:
    async with running(database) as started:
        yield started


@pytest.fixture
async def tenant(database: Database) -> TenantId:
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)
    return await commands.start(LOCAL, RawSpec(company_name="Acme"))


async def write(database: Database, tenant: TenantId, *messages: str) -> None:
    drafts = tuple(LogDraft(level=LogLevel.INFO, message=text, event="test") for text in messages)
    assert (await database.submit(TenantOperation(tenant_id=tenant, at=NOW, log=drafts))).applied


async def come_to_rest(database: Database, tenant: TenantId, *messages: str) -> None:
    operation = TenantOperation(
        tenant_id=tenant,
        at=NOW,
        standing=Standing(
            state=TenantState.COMPLETED,
            current_step="",
            steps_completed=10,
            total_steps=10,
            errors=(),
        ),
        log=tuple(LogDraft(level=LogLevel.INFO, message=m, event="test") for m in messages),
    )
    assert (await database.submit(operation)).applied


async def cursors(queries: Queries, tenant: str, after: int, *, follow: bool = False) -> list[int]:
    async with aclosing(queries.logs(LOCAL, tenant, after, follow=follow)) as pages:
        return [entry.cursor async for page in pages for entry in page]


async def test_a_log_is_given_in_pages_in_order_without_gaps(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    await write(database, tenant, *(f"line {n}" for n in range(PAGE_ENTRIES + 10)))
    pages = [page async for page in queries.logs(LOCAL, tenant, 1, follow=False)]
    assert [len(page) for page in pages] == [PAGE_ENTRIES, 10]
    assert [e.cursor for page in pages for e in page] == list(range(2, PAGE_ENTRIES + 12))


async def test_a_cursor_at_the_end_gives_nothing_and_one_beyond_it_is_refused(
    queries: Queries, tenant: TenantId
) -> None:
    assert await cursors(queries, tenant, 1) == []
    with pytest.raises(CursorOutOfRange, match="beyond the end"):
        await cursors(queries, tenant, 2)


@pytest.mark.parametrize("follow", [False, True])
async def test_a_cursor_older_than_what_is_kept_is_told_the_oldest_one(
    database: Database, queries: Queries, tenant: TenantId, follow: bool
) -> None:
    await write(database, tenant, "two", "three", "four")
    await delete_entries(database, 1, 2)
    with pytest.raises(CursorTooOld, match="oldest entry is 3"):
        await cursors(queries, tenant, 1, follow=follow)
    assert await cursors(queries, tenant, 2) == [3, 4]


@pytest.mark.parametrize("lost", [(2, 3), (4, 5)])
async def test_a_log_damaged_by_hand_gives_what_comes_before_the_gap_and_then_says_so(
    database: Database, queries: Queries, tenant: TenantId, lost: tuple[int, ...]
) -> None:
    await write(database, tenant, "two", "three", "four", "five")
    await delete_entries(database, *lost)
    pages = queries.logs(LOCAL, tenant, 0, follow=False)
    assert [entry.cursor for entry in await anext(pages)] == list(range(1, lost[0]))
    with pytest.raises(CursorTooOld):
        await anext(pages)


async def delete_entries(database: Database, *which: int) -> None:
    await database.in_transaction(
        lambda connection: connection.execute(
            delete(LOG_ENTRIES).where(LOG_ENTRIES.c.cursor.in_(which))
        )
    )


async def test_unknown_tenants_and_impossible_arguments_are_refused(queries: Queries) -> None:
    for answer in (cursors(queries, TENANT, 0), queries.status(LOCAL, TENANT)):
        with pytest.raises(NotFound, match=f"No tenant {TENANT}"):
            await answer
    with pytest.raises(InvalidInput, match="tenant_id"):
        await queries.status(LOCAL, "acme")
    with pytest.raises(InvalidInput, match="after_cursor"):
        await cursors(queries, TENANT, -1)


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


async def test_a_follower_gets_what_is_written_here_at_once_and_ends_when_all_is_at_rest(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    async with aclosing(queries.logs(LOCAL, tenant, 0, follow=True)) as pages:
        assert [entry.cursor for entry in await anext(pages)] == [1]
        await write(database, tenant, "two")
        assert [entry.message for entry in await anext(pages)] == ["two"]
        await come_to_rest(database, tenant, "three")
        assert [entry.message for entry in await anext(pages)] == ["three"]
        with pytest.raises(StopAsyncIteration):
            await anext(pages)
    assert queries.hub.follower_count == 0


async def test_a_follower_of_a_tenant_at_rest_gets_the_log_and_ends(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    await come_to_rest(database, tenant, "two")
    assert await cursors(queries, tenant, 0, follow=True) == [1, 2]


async def test_a_follower_sees_what_another_process_writes(
    database: Database, tenant: TenantId
) -> None:
    other = await Database.open(database.url)
    async with running(database, poll_seconds=0.01) as queries:
        reading = asyncio.create_task(cursors(queries, tenant, 0, follow=True))
        for number in range(2, 6):
            await write(other, tenant, f"line {number}")
        await come_to_rest(other, tenant)
        assert await reading == [1, 2, 3, 4, 5]
    await other.close()


async def test_many_followers_of_one_tenant_each_get_every_line_once(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    readers = [asyncio.create_task(cursors(queries, tenant, 0, follow=True)) for _ in range(50)]
    for number in range(2, 40):
        await write(database, tenant, f"line {number}")
    await come_to_rest(database, tenant)
    assert all(seen == list(range(1, 40)) for seen in await asyncio.gather(*readers))


async def test_a_newcomer_is_not_sent_away_by_what_was_heard_before_it_came() -> None:
    class Ends:
        """Answers that a tenant is at rest, until an order through another process."""

        in_motion = False
        asked = asyncio.Event()

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.asked.set()
            return {TENANT: (5, self.in_motion)}

    ends = Ends()
    hub = LogHub(ends, poll_seconds=60)
    hub.start()
    with hub.follow(TENANT) as first:
        assert await first.beyond(5) is None  # heard: at rest
        ends.in_motion = True
        with hub.follow(TENANT) as second:
            waiting = asyncio.create_task(second.beyond(5))
            ends.asked.clear()
            await ends.asked.wait()
            await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()
    await hub.stop()


async def test_a_hub_outlives_a_database_that_fails_for_a_while() -> None:
    class Ends:
        """Fails twice, then answers."""

        calls = 0

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.calls += 1
            if self.calls == 1:
                raise StoreUnavailable("The database can't be read now.")
            if self.calls == 2:
                raise RuntimeError("a bug")
            return {TENANT: (7, True)}

    hub = LogHub(Ends(), poll_seconds=0.001)
    hub.start()
    with hub.follow(TENANT) as follower:
        assert await follower.beyond(6) == 7
    await hub.stop()


async def test_a_hub_without_followers_asks_nothing_and_one_that_stops_sends_them_away() -> None:
    class Never:
        """Fails the test if it is asked for a tenant nobody follows."""

        asked: list[list[str]] = []  # noqa: RUF012 - lives as long as this test

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.asked.append(list(tenant_ids))
            return {TENANT: (1, True)}

    never = Never()
    hub = LogHub(never, poll_seconds=0.001)
    hub.start()
    await asyncio.sleep(0)
    assert never.asked == []
    with hub.follow(TENANT) as follower:
        waiting = asyncio.create_task(follower.beyond(1))
        await asyncio.sleep(0)
        await hub.stop()
        with pytest.raises(StoreUnavailable) as stopped:
            await waiting
        assert stopped.value.code == "SERVER_STOPPING"


async def test_a_follower_of_a_tenant_whose_row_was_deleted_is_let_go(
    database: Database, tenant: TenantId
) -> None:
    async with running(database, poll_seconds=0.01) as queries:
        reading = asyncio.create_task(cursors(queries, tenant, 0, follow=True))
        await database.in_transaction(
            lambda connection: connection.execute(delete(TENANTS).where(TENANTS.c.id == tenant))
        )
        with suppress(NotFound):  # where it was deleted before the reading began
            assert await reading in ([], [1])
