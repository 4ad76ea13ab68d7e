"""A town: a stand-in site, a store, a worker and a reconciler in one process; nothing is mocked."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from reconciler.sweep import Sweeper
from server.app import open_core, utc_now
from server.commands import OrderTerms
from server.diagnosis import Diagnoser
from server.diagnosis.surveyed import SurveyedTenant
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.budget import Pacing
from server.model.states import TenantState
from server.settings import load_settings
from server.standin.app import StandIn
from server.validation import RawSpec
from tests.support.site import engines_at, look, set_faults
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL, Connection

    from reconciler.found import SweepReport
    from server.app import Core
    from server.diagnosis import Diagnosis
    from server.model.identifiers import TenantId
    from server.model.records import Record

LEASE_SECONDS = 1.0
TILL_USER = "till@example.com"
SOON = Pacing(transient_base=0.01, transient_cap=0.05, race_low=0.002, race_high=0.01)

# What a Company with cash, M-Pesa and a till has at the site, made once each.
WHOLE = {"Company": 1, "Warehouse": 7, "POS Profile": 1, "POS Opening Entry": 1, "Account": 83}

OF_A_TENANT = ("tenants", "bindings", "runs", "steps", "attempts", "resources", "log_entries")

Rows = list[dict[str, Any]]
Fault = dict[str, Any]


@dataclass
class Town:
    """Everything a story needs."""

    site: StandIn
    core: Core
    healthy: list[TenantId] = field(default_factory=list)
    worker: Executor | None = None

    async def open_worker(self, **options: Any) -> Executor:  # Any: the options of an executor
        """Start a worker that drives."""
        given: dict[str, Any] = {"lease_seconds": LEASE_SECONDS, "pacing": SOON, "max_runs": 32}
        worker = Executor(
            self.core.database,
            self.core.engines,
            now=utc_now,
            options=ExecutorOptions(**(given | options)),
        )
        await worker.start()
        self.worker = worker
        return worker

    async def close_worker(self) -> None:
        """Stop the worker as a deploy does."""
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.stop()

    async def order(self, name: str, **spec: Any) -> TenantId:  # Any: the fields of a spec
        """Order a tenant."""
        given: dict[str, Any] = {"till_user": TILL_USER} | spec
        return await self.core.commands.start(LOCAL, RawSpec(company_name=name, **given))

    async def completed(self, name: str, **spec: Any) -> TenantId:
        """Order a tenant and see it COMPLETED."""
        tenant_id = await self.order(name, **spec)
        assert await self.rest(tenant_id) is TenantState.COMPLETED, await self.lines(tenant_id)
        return tenant_id

    async def continue_(self, tenant_id: str) -> None:
        """Continue as a person."""
        await self.core.commands.continue_(LOCAL, tenant_id, OrderTerms(reason="a person"))

    async def sweep(self) -> SweepReport:
        """Make one sweep, as a reconciler that has just been started."""
        return await Sweeper(
            self.core.database,
            self.core.commands,
            engines=self.core.entries,
            now=utc_now,
            lease_seconds=LEASE_SECONDS,
            notify=True,
        ).sweep()

    async def diagnose(self, tenant_id: str) -> Diagnosis:
        """Say why a tenant stands where it stands; the engine is asked."""
        return await Diagnoser(
            self.core.database,
            engines=self.core.entries,
            now=utc_now,
            lease_seconds=LEASE_SECONDS,
            probe_all=SurveyedTenant(self.core.prober),
        ).diagnose(LOCAL, tenant_id)

    async def rest(self, tenant_id: str) -> TenantState | None:
        """Wait until a tenant stands still; return where."""

        async def at_rest() -> TenantState | None:
            state = (await self.record(tenant_id)).tenant.state
            return None if state is TenantState.IN_PROGRESS else state

        return await until(at_rest)

    async def healed(self, tenant_id: str) -> SweepReport:
        """Sweep once, and see the tenant come to COMPLETED without a person."""
        report = await self.sweep()
        assert await self.rest(tenant_id) is TenantState.COMPLETED, await self.lines(tenant_id)
        return report

    async def record(self, tenant_id: str) -> Record:
        return (await self.core.database.reads.records([tenant_id]))[0]

    async def lines(self, tenant_id: str) -> list[str]:
        log = await self.core.database.reads.log_page(tenant_id, after=0, limit=10_000)
        return [f"{entry.step_key}: {entry.message}" for entry in log]

    async def found(self, tenant_id: str) -> list[tuple[str, str, str]]:
        """Return what sweeps found about a tenant: cause, verdict, outcome; the first one first."""
        rows = await self.core.database.reads.findings(limit=100, tenant_id=tenant_id)
        return [(row["cause"], row["verdict"], row["outcome"]) for row in reversed(rows)]

    async def sql(self, statement: str, **values: object) -> Rows:
        """Do by SQL what an operator may do by hand, behind our code's back."""

        def run(connection: Connection) -> Rows:
            result = connection.execute(text(statement), values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

        return await self.core.database.in_transaction(run)

    async def rows_of(self, tenant_ids: list[TenantId]) -> dict[str, list[str]]:
        """Return all rows of some tenants."""
        rows: dict[str, list[str]] = {}
        for table in OF_A_TENANT:
            column = "id" if table == "tenants" else "tenant_id"
            found = await self.sql(f"SELECT * FROM {table}")  # noqa: S608 - our own names
            rows[table] = sorted(repr(row) for row in found if row[column] in tenant_ids)
        return rows

    async def faults(self, *faults: Fault, **more: object) -> None:
        """Let requests go wrong from now on; without arguments nothing does."""
        await set_faults(self.site.url, *faults, **more)

    async def look(self) -> dict[str, Any]:
        return await look(self.site.url)

    async def writes(self) -> int:
        """Count the requests so far that could change something at the site."""
        requests = (await self.look())["requests"]
        return sum(row["count"] for row in requests if row["method"] != "GET")

    async def belongings(self, company: str) -> dict[str, int]:
        """Count the documents of one Company, of the kinds of `WHOLE`."""
        held = (await self.look())["documents"]
        counts: Counter[str] = Counter()
        for doctype in WHOLE:
            key = "name" if doctype == "Company" else "company"
            counts[doctype] = sum(each.get(key) == company for each in held.get(doctype, []))
        return dict(counts)


@asynccontextmanager
async def town(url: URL) -> AsyncIterator[Town]:
    """Open a town with a worker, and two healthy tenants who must not notice anything."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(StandIn())
        settings = load_settings(
            config=None,
            overrides={
                "database_url": url.render_as_string(hide_password=False),
            },
            environ={},
        )
        config = engines_at(site.url)
        opened = Town(site, await open_core(settings, config, stack))
        await opened.open_worker()
        stack.push_async_callback(opened.close_worker)
        opened.healthy = [await opened.completed(name) for name in ("Healthy One", "Healthy Two")]
        yield opened
