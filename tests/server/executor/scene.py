"""A shop: a stand-in site over real HTTP, a store in an SQLite file, and executors over both."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from server.commands import Commands, EngineEntry, OrderTerms
from server.erpnext.client import Credentials, ErpNextEngine
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT, blueprint_of
from server.model.budget import Pacing
from server.model.derive import derive
from server.model.identifiers import TenantId
from server.model.states import OPEN_RUN_STATES, GateState, LogLevel, RunState, TenantState
from server.model.undo import UndoOptions
from server.probing import Prober
from server.store.columns import time_text
from server.store.database import Database
from server.store.operations import GateOperation, TenantOperation
from server.validation import RawSpec
from tests.support.site import look, set_faults
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from server.model.actor import Actor
    from server.model.records import Attempt, LogEntry, Record
    from server.model.step_context import Answer, Request
    from server.standin.app import StandIn
    from server.store.operations import Operation, Outcome

# Bounds a hang only: the machine may be busy with other tests.
PATIENCE_SECONDS = 90.0
TILL_USER = "till@example.com"
SOON = Pacing(transient_base=0.01, transient_cap=0.05, race_low=0.002, race_high=0.01)
COMPANY, WAREHOUSE = "step_2_company", "step_4_warehouses"
PROFILE, TILL = "step_8_pos_profile", "step_9_pos_session"
# How the adapter adds a payment row: a method, not a doctype.
INSERT = "frappe.client.insert"

# What a Company with cash, M-Pesa and a till has at the site.
WHOLE = Counter(
    {
        "Company": 1,
        "Account": 83,
        "Cost Center": 2,
        "Warehouse": 7,
        "Mode of Payment Account": 2,
        "POS Profile": 1,
        "POS Opening Entry": 1,
        "Item Tax Template": 1,
        "Purchase Taxes and Charges Template": 1,
        "Sales Taxes and Charges Template": 1,
    }
)

Rows = list[tuple[Any, ...]]
Fault = dict[str, Any]


def draft_of_till() -> dict[str, Any]:
    """Return what makes a draft of the till of Kijani Stores, as a person may leave one."""
    return {
        "name": "POS-OPE-KS-1",
        "period_start_date": "2026-11-23 08:00:00",
        "posting_date": "2026-11-23",
        "company": "Kijani Stores",
        "pos_profile": "POS KS",
        "user": TILL_USER,
        "balance_details": [{"mode_of_payment": "Cash", "opening_amount": 0}],
    }


def now() -> datetime:
    return datetime.now(UTC)


class Engine(ErpNextEngine):
    """The adapter, with an eye on what it sends and a limit of the test's choosing."""

    def __init__(self, url: str) -> None:
        super().__init__(url=url, credentials=Credentials(api_key="key", api_secret="secret"))
        # How long to wait for the answers to the next writes, where not the usual time.
        self.patience: list[float] = []

    async def send(self, request: Request) -> Answer:
        if request.method != "GET" and self.patience:
            request = replace(request, timeout_seconds=self.patience.pop(0))
        return await super().send(request)


@dataclass
class Store:
    """One process's hand on the database, and the executor that drives with it."""

    database: Database
    engine: Engine
    executor: Executor
    # Each operation on a tenant with what became of it, in order.
    written: list[tuple[TenantOperation, Outcome]] = field(default_factory=list)

    async def close(self) -> None:
        await self.executor.stop()
        await self.engine.close()
        await self.database.close()


@dataclass
class Shop:
    """Everything a test needs to order tenants and to look at what came of it."""

    site: StandIn
    file: Path
    stores: list[Store] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    # Where the engine is reached, if not at the stand-in.
    url: str = ""

    @property
    def store(self) -> Store:
        return self.stores[0]

    async def open(self, **options: Any) -> Store:
        """Open the store as one more process would; its executor is not started.

        Args:
            options: Of the executor; and `clock`, the process's own.
        """
        if not self.file.exists():
            await copied_store(self.file)
        database = await Database.open(f"sqlite+aiosqlite:///{self.file}")
        engine = Engine(self.url or self.site.url)
        await database.register_engines(
            [GateOperation(site=engine.site, at=now(), gate=GateState.UP)]
        )
        given: dict[str, Any] = {
            # A busy machine must not make a worker lose its lease where that is not what is
            # tested: one that stalls past it is lost once more than the test has it.
            "lease_seconds": 30.0,
            "max_runs": 32,
            "drain_seconds": 5.0,
            "pacing": SOON,
        }
        clock = options.pop("clock", now)
        executor = Executor(
            database, {"main": engine}, now=clock, options=ExecutorOptions(**(given | options))
        )
        store = Store(database, engine, executor)
        self._watch(store)
        self.stores.append(store)
        return store

    async def drive(self, **options: Any) -> Store:
        """Open the store and let its executor drive."""
        store = await self.open(**options)
        await store.executor.start()
        return store

    async def leave(self, store: Store) -> None:
        """Stop one process."""
        self.stores.remove(store)
        await store.close()

    def _watch(self, store: Store) -> None:
        submit = store.database.submit

        async def watched(operation: Operation) -> Outcome:
            outcome = await submit(operation)
            if isinstance(operation, TenantOperation):
                store.written.append((operation, outcome))
            self.changed.set()
            self.changed = asyncio.Event()
            return outcome

        store.database.submit = watched  # type: ignore[method-assign]  # the test looks on

    @property
    def commands(self) -> Commands:
        entries = {"main": EngineEntry(site=self.store.engine.site, blueprint=ERPNEXT)}
        return Commands(
            self.store.database,
            engines=entries,
            default_engine="main",
            now=now,
            adapters={"main": self.store.engine},
            prober=Prober(
                self.store.database,
                {"main": self.store.engine},
                {ERPNEXT.name: ERPNEXT},
                now=now,
            ),
        )

    async def order(self, name: str = "Kijani Stores", **spec: Any) -> TenantId:
        """Order a tenant."""
        given: dict[str, Any] = {"till_user": TILL_USER} | spec
        return await self.commands.start(LOCAL, RawSpec(company_name=name, **given))

    async def proceed(self, tenant: TenantId, actor: Actor = LOCAL) -> None:
        """Order to continue."""
        await self.commands.continue_(actor, tenant, OrderTerms(reason="a test"))

    async def again(self, tenant: TenantId, actor: Actor = LOCAL, step_key: str = "") -> None:
        """Order to look at all steps again, or at one and those that need it."""
        await self.commands.retry(actor, tenant, OrderTerms(reason="a test"), step_key=step_key)

    async def remove(self, tenant: TenantId, **options: bool) -> None:
        """Order that a tenant be removed."""
        await self.commands.deprovision(
            LOCAL, tenant, OrderTerms(reason="a test"), options=UndoOptions(**options)
        )

    async def until(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Return once something holds; looked at after each write."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                changed = self.changed
                if await holds():
                    return
                await changed.wait()

    async def rest(self, *tenants: TenantId) -> list[TenantState | None]:
        """Wait until the tenants stand still; return where."""

        def those(words: Iterable[str]) -> str:
            return ", ".join(f"'{word}'" for word in words)

        opened = (
            f"SELECT 1 FROM runs WHERE state IN ({those(OPEN_RUN_STATES)})"  # noqa: S608 - our own words
            f" AND tenant_id IN ({those(tenants)}) LIMIT 1"
        )

        async def still() -> bool:
            # Asked after each write of each tenant: whole records cost more than all they do.
            if self.sql(opened):
                return False
            runs = [(await self.record(each)).run for each in tenants]
            return all(run is not None and run.state not in OPEN_RUN_STATES for run in runs)

        await self.until(still)
        return [await self.state(each) for each in tenants]

    async def completed(self, name: str = "Kijani Stores", **spec: Any) -> TenantId:
        """Order a tenant and see it COMPLETED."""
        tenant = await self.order(name, **spec)
        await self.must_complete(tenant)
        return tenant

    async def must_complete(self, *tenants: TenantId) -> None:
        states = await self.rest(*tenants)
        if states != [TenantState.COMPLETED] * len(tenants):
            raise AssertionError([await self.lines(tenant) for tenant in tenants])

    async def record(self, tenant: TenantId) -> Record:
        live = await self.store.database.reads.live(tenant)
        assert live is not None
        return live.record

    async def state(self, tenant: TenantId) -> TenantState | None:
        return (await self.record(tenant)).tenant.state

    async def waits_for(self, tenant: TenantId) -> str:
        """Return what the tenant's open run waits for, or ""."""
        run = (await self.record(tenant)).run
        return "" if run is None or run.waiting_for is None else run.waiting_for.code.value

    async def until_waiting(self, tenant: TenantId, code: str) -> None:
        async def waits() -> bool:
            run = (await self.record(tenant)).run
            # Who has come to an end waits for nothing any more.
            assert run is None or run.state in OPEN_RUN_STATES, await self.lines(tenant)
            return run is not None and run.waiting_for is not None and run.waiting_for.code == code

        await self.until(waits)

    async def attempts(self, tenant: TenantId) -> list[Attempt]:
        """Return the attempts of the tenant's last run."""
        run = (await self.record(tenant)).run
        assert run is not None
        return await self.store.database.reads.attempts(run.id)

    async def outcomes(self, tenant: TenantId) -> dict[str, list[str | None]]:
        """Return how the attempts of each step of the last run ended."""
        ended: dict[str, list[str | None]] = {}
        for attempt in await self.attempts(tenant):
            ended.setdefault(attempt.step_key, []).append(attempt.outcome)
        return ended

    async def log(self, tenant: TenantId) -> list[LogEntry]:
        return await self.store.database.reads.log_page(tenant, after=0, limit=10_000)

    async def lines(self, tenant: TenantId, level: LogLevel | None = None) -> list[str]:
        return [
            f"{entry.step_key}: {entry.message}"
            for entry in await self.log(tenant)
            if level is None or entry.level is level
        ]

    def sql(self, statement: str, *values: object) -> Rows:
        """Do by SQL what an operator may do by hand."""
        with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as connection:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows

    def somebody_holds_the_slot(self) -> None:
        """Let a request of somebody unknown be out, for longer than any test."""
        self.sql(
            "UPDATE engines SET slot_tenant_id = 'somebody', slot_doctype = 'Company',"
            " slot_name = 'Other', slot_sent_at = ?, slot_expires_at = ?",
            time_text(now()),
            time_text(now() + timedelta(hours=1)),
        )

    async def faults(self, *faults: Fault, **more: object) -> None:
        """Let requests go wrong from now on; without arguments nothing does."""
        await set_faults(self.site.url, *faults, **more)

    async def look(self) -> dict[str, Any]:
        """Return what the stand-in holds."""
        return await look(self.site.url)

    async def writes(self) -> int:
        """Count the requests so far that could change something at the site."""
        return sum(
            row["count"] for row in (await self.look())["requests"] if row["method"] != "GET"
        )

    async def documents(self) -> Counter[str]:
        """Count the site's documents by doctype, payment rows too."""
        held = (await self.look())["documents"]
        counts = Counter({doctype: len(documents) for doctype, documents in held.items()})
        counts["Mode of Payment Account"] = sum(
            len(mode["accounts"]) for mode in held["Mode of Payment"]
        )
        return counts

    async def belongings(self, company: str) -> Counter[str]:
        """Count the documents of one Company by doctype, payment rows too."""
        held = (await self.look())["documents"]
        counts: Counter[str] = Counter()
        for doctype, documents in held.items():
            for document in documents:
                if doctype == "Company":
                    counts[doctype] += document["name"] == company
                elif document.get("company") == company:
                    counts[doctype] += 1
        counts["Mode of Payment Account"] = sum(
            row["company"] == company
            for mode in held["Mode of Payment"]
            for row in mode["accounts"]
        )
        return +counts


async def check_all(shop: Shop) -> None:
    """Check what must hold for every tenant after whatever happened."""
    for (tenant_id,) in shop.sql("SELECT id FROM tenants"):
        tenant = TenantId(tenant_id)
        await _check_standing(shop, tenant)
        await _check_log(shop, tenant)
        await _check_attempts(shop, tenant)


async def _check_standing(shop: Shop, tenant: TenantId) -> None:
    record = await shop.record(tenant)
    standing = derive(
        stored=record.tenant.state,
        run=record.run,
        steps=record.steps,
        step_types=blueprint_of(record.run, ERPNEXT).steps_for(record.tenant.spec),
        at=record.tenant.updated_at,
    )
    stored = shop.sql(
        "SELECT state, current_step, steps_completed, total_steps, error_code FROM tenants"
        " WHERE id = ?",
        tenant,
    )
    error = standing.errors[0].code if standing.errors else None
    assert stored == [
        (
            standing.state,
            standing.current_step,
            standing.steps_completed,
            standing.total_steps,
            error,
        )
    ]
    if standing.state in {TenantState.PARTIAL, TenantState.FAILED}:
        assert standing.errors, "a tenant that stands still must say why"


async def _check_log(shop: Shop, tenant: TenantId) -> None:
    cursors = [entry.cursor for entry in await shop.log(tenant)]
    assert cursors == list(range(1, (await shop.record(tenant)).tenant.log_seq + 1))


async def _check_attempts(shop: Shop, tenant: TenantId) -> None:
    """No attempt may stay without an outcome once its run is closed."""
    open_words = {state.value for state in OPEN_RUN_STATES}
    for run_id, state in shop.sql("SELECT id, state FROM runs WHERE tenant_id = ?", tenant):
        assert RunState.parse(state) is not None
        if state not in open_words:
            assert (
                shop.sql("SELECT id FROM attempts WHERE run_id = ? AND outcome IS NULL", run_id)
                == []
            )
