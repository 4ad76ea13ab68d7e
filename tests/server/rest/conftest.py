"""The HTTP face over a real socket and a real SQLite file, with no executor: runs stay QUEUED."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from server.access.http_door import door_for
from server.access.wiring import Access, open_access
from server.commands import Commands, EngineEntry
from server.diagnosis import Diagnoser
from server.healing import History
from server.model.actor import Actor, Role
from server.model.blueprint import ENGINE_BLUEPRINTS, ERPNEXT
from server.probing import Prober
from server.queries import Queries
from server.queries.fleet import Fleet
from server.queries.surveys import Surveys
from server.rest import HttpServer
from server.rest.wiring import open_rest
from server.rpc import ProvisioningService
from server.rpc.fleet import FleetService
from server.rpc.identity import by_token
from server.settings import Settings
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx
    from starlette.types import ASGIApp

    from server.model.identifiers import TenantId
    from server.model.states import GateState
    from server.rest.metrics import Metrics

FILE = "provisioner.db"
SITE = "https://erp.example.com"
ENGINES = {"main": EngineEntry(site=SITE, blueprint=ERPNEXT)}
BOSS = Actor(name="boss", role=Role.ADMIN)
ADMIN = {"email": "admin@moran.com", "password": "admin123"}
NEW_TENANT = {
    "name": "Kijani Stores",
    "admin_email": "owner@example.com",
    "admin_name": "Shop Owner",
    "admin_password": "a long password",
    "engine": "erpnext",
}


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Rig:
    """A served store, a client of it, and a hand on the store itself."""

    database: Database
    file: Path
    access: Access
    commands: Commands
    metrics: Metrics
    http: httpx.AsyncClient
    port: int
    service: ProvisioningService
    fleet: FleetService
    app: ASGIApp

    async def get(self, path: str, **options: Any) -> httpx.Response:  # Any: httpx's
        return await self.http.get(path, **options)

    async def post(self, path: str, **options: Any) -> httpx.Response:  # Any: httpx's
        return await self.http.post(path, **options)

    async def begun(self, name: str = "Kijani Stores", *, demo: bool = False) -> TenantId:
        """Register a tenant with an open run."""
        return await self.commands.start(BOSS, RawSpec(company_name=name, include_demo_data=demo))

    async def registered(self, name: str = "Kijani Stores") -> TenantId:
        """Register a tenant that lives here and was not begun, as an import does."""
        tenant_id = await self.begun(name)
        self.sql("DELETE FROM steps WHERE tenant_id = ?", tenant_id)
        self.sql("DELETE FROM runs WHERE tenant_id = ?", tenant_id)
        self.sql("DELETE FROM bindings WHERE tenant_id = ?", tenant_id)
        self.sql("UPDATE tenants SET state = 'PENDING', run_id = NULL WHERE id = ?", tenant_id)
        return tenant_id

    async def member(self, email: str, *tenant_ids: str, role: str = "MANAGER") -> dict[str, str]:
        """Make a member of some tenants, and return the headers he calls with."""
        await self.access.users.add(
            BOSS,
            email=email,
            password="a long password",
            role=Role.ADMIN,
            memberships=dict.fromkeys(tenant_ids, role),
        )
        return await self.signed_in(email, "a long password")

    async def signed_in(self, email: str, password: str) -> dict[str, str]:
        answer = await self.post("/auth/login", json={"email": email, "password": password})
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def gate(self, state: GateState, message: str = "") -> None:
        """Write what the prober would."""
        await self.database.submit(
            GateOperation(
                site=SITE, at=utc_now(), gate=state, code=f"ENGINE_{state}", message=message
            )
        )

    def ended(
        self, tenant_id: str, state: str, *, done: int, error: str = "", key: str = ""
    ) -> None:
        """Write how a run ended: so many steps done, and one that failed.

        At once and with a new revision, as a worker does: who watches must see no half of it.
        """
        began, over = "2026-03-01 08:15:04.120000+00:00", "2026-03-01 08:16:40.002000+00:00"
        with contextlib.closing(sqlite3.connect(self.file, timeout=30)) as connection, connection:
            connection.execute(
                "UPDATE steps SET state = 'COMPLETED', started_at = ?, completed_at = ? "
                "WHERE tenant_id = ? AND position < ?",
                (began, "2026-03-01 08:15:05.010000+00:00", tenant_id, done),
            )
            if key:
                connection.execute(
                    "UPDATE steps SET state = 'FAILED', error_code = 'REFUSED', error_message = ? "
                    "WHERE tenant_id = ? AND key = ?",
                    (error, tenant_id, key),
                )
            connection.execute(
                "UPDATE runs SET state = ?, started_at = ?, finished_at = ? WHERE tenant_id = ?",
                (state, began, over, tenant_id),
            )
            connection.execute(
                "UPDATE tenants SET state = ?, revision = revision + 1 WHERE id = ?",
                (state, tenant_id),
            )

    def sql(self, statement: str, *values: object) -> list[Any]:  # Any: rows
        """Do what an operator with SQL might."""
        connection = sqlite3.connect(self.file)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
        finally:
            connection.close()
        return rows

    def counts(self) -> dict[str, int]:
        """Count the rows of every table but the audit: what is refused is written there too."""
        tables = self.sql("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'audit'")
        return {
            name: self.sql(f'SELECT count(*) FROM "{name}"')[0][0]  # noqa: S608 - own tables
            for (name,) in tables
        }


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Databases with and without the old scripts' administrator: set up once, then copied."""

    async def prepare(folder: Path, *, compat: bool) -> Path:
        settings = Settings(database_url=f"sqlite+aiosqlite:///{folder / FILE}", compat=compat)
        async with AsyncExitStack() as stack:
            database = await Database.open(settings.database_url)
            stack.push_async_callback(database.close)
            await open_access(settings, database, stack, now=utc_now)
        return folder

    return {
        compat: asyncio.run(prepare(tmp_path_factory.mktemp("template"), compat=compat))
        for compat in (False, True)
    }


@pytest.fixture
def serve(
    tmp_path: Path, templates: dict[bool, Path]
) -> Callable[..., AbstractAsyncContextManager[Rig]]:
    """Serve a store: with sign-in or without, for old clients or not."""

    @asynccontextmanager
    async def served(
        *, auth: bool = True, compat: bool = True, engines: bool = True, **more: object
    ) -> AsyncIterator[Rig]:
        file = tmp_path / FILE
        shutil.copytree(templates[compat], tmp_path, dirs_exist_ok=True)
        settings = Settings.model_validate(
            {
                "database_url": f"sqlite+aiosqlite:///{file}",
                "auth": auth,
                "compat": compat,
                **more,
            }
        )
        known = ENGINES if engines else {}
        async with AsyncExitStack() as stack:
            database = await Database.open(settings.database_url)
            stack.push_async_callback(database.close)
            access = await open_access(settings, database, stack, now=utc_now)
            queries = Queries(database, engines=known, now=utc_now, lease_seconds=10.0)
            await queries.start()
            stack.push_async_callback(queries.stop)
            commands = Commands(
                database,
                engines=known,
                default_engine="main" if engines else None,
                now=utc_now,
            )
            service = ProvisioningService(
                commands,
                queries,
                identify=by_token(access.authenticator),
                diagnoser=Diagnoser(database, engines=known, now=utc_now, lease_seconds=10.0),
                surveys=Surveys(
                    database,
                    Prober(database, {}, ENGINE_BLUEPRINTS, now=utc_now),
                    engine_ids=known.keys(),
                    default_engine="main" if engines else None,
                ),
                stream_check_seconds=0.1,
            )
            fleet = FleetService(
                History(database, now=utc_now),
                fleet=Fleet(
                    database,
                    engines=known,
                    default_engine="main" if engines else "",
                    max_runs={},
                ),
                commands=commands,
                identify=by_token(access.authenticator),
                healer=None,
            )
            service.rate = fleet.rate = access.rate
            service.note_refusal = fleet.note_refusal = access.note_refusal
            built = open_rest(
                settings,
                database,
                commands=commands,
                queries=queries,
                access=access,
                services={"ProvisioningService": service, "FleetService": fleet},
                engines=known,
                default_engine="main" if engines else None,
            )
            server = HttpServer(door_for(built.app, settings), "127.0.0.1", 0)
            await server.start()
            stack.push_async_callback(server.stop)
            stack.push_async_callback(service.streams.stop)
            client = await stack.enter_async_context(
                plain_client(
                    base_url=f"http://127.0.0.1:{server.port}",
                    trust_env=False,
                    timeout=60,
                )
            )
            yield Rig(
                database=database,
                file=file,
                access=access,
                commands=commands,
                metrics=built.metrics,
                http=client,
                port=server.port,
                service=service,
                fleet=fleet,
                app=built.app,
            )

    return served


@pytest.fixture
async def rig(serve: Callable[..., AbstractAsyncContextManager[Rig]]) -> AsyncIterator[Rig]:
    """A server as old clients expect it: sign-in, and what they may do without."""
    async with serve() as rig:
        yield rig


@pytest.fixture
async def strict(serve: Callable[..., AbstractAsyncContextManager[Rig]]) -> AsyncIterator[Rig]:
    """A server as it is by default: nothing without signing in."""
    async with serve(compat=False) as rig:
        yield rig


@pytest.fixture
async def open_rig(serve: Callable[..., AbstractAsyncContextManager[Rig]]) -> AsyncIterator[Rig]:
    """A server as `make run` starts it: nobody signs in."""
    async with serve(auth=False) as rig:
        yield rig
