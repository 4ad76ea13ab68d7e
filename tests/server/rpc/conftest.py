"""A real server on a free port over a real SQLite file, with no executor: runs stay QUEUED."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from provisioner.v1.tenant_pb2 import TenantSpec, TenantStatus
from server.commands import Commands, EngineEntry
from server.diagnosis import Diagnoser
from server.healing import History
from server.model.blueprint import ENGINE_BLUEPRINTS, NOOP
from server.model.derive import Standing
from server.model.identifiers import TenantId
from server.model.states import LogLevel, TenantState
from server.probing import Prober
from server.queries import Queries
from server.queries.fleet import Fleet
from server.queries.surveys import Surveys
from server.rpc import ProvisioningService, RpcServer, local_caller
from server.rpc.fleet import FleetService
from server.store.database import Database
from server.store.operations import LogDraft, TenantOperation
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from server.model.step_context import Engine
    from server.rpc import Identify

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ENGINES = {"main": EngineEntry(site="site", blueprint=NOOP)}


@dataclass
class Rig:
    """A served store, a channel to it, and a hand on the store itself."""

    database: Database
    commands: Commands
    queries: Queries
    file: Path
    engines: dict[str, Engine] = field(default_factory=dict)
    service: ProvisioningService = field(init=False)
    fleet: FleetService = field(init=False)
    server: RpcServer = field(init=False)
    channel: grpc.aio.Channel = field(init=False)
    stub: ProvisioningServiceStub = field(init=False)

    async def serve(
        self,
        *,
        identify: Identify = local_caller,
        longest_stream_seconds: float = 3600.0,
        most_streams_per_peer: int = 1000,
        most_streams_per_caller: int = 2000,
    ) -> None:
        """Serve, and connect."""
        self.service = ProvisioningService(
            self.commands,
            self.queries,
            identify=identify,
            diagnoser=Diagnoser(
                self.database, engines=ENGINES, now=lambda: NOW, lease_seconds=10.0
            ),
            surveys=Surveys(
                self.database,
                Prober(self.database, self.engines, ENGINE_BLUEPRINTS, now=lambda: NOW),
                engine_ids=ENGINES.keys(),
                default_engine="main",
            ),
            longest_stream_seconds=longest_stream_seconds,
            most_streams_per_peer=most_streams_per_peer,
            most_streams_per_caller=most_streams_per_caller,
        )
        self.fleet = FleetService(
            History(self.database, now=lambda: NOW),
            fleet=Fleet(
                self.database, engines=ENGINES, default_engine="main", max_runs={"main": 4}
            ),
            commands=self.commands,
            identify=identify,
            healer=None,
        )
        self.server = RpcServer(self.service, "127.0.0.1:0", fleet=self.fleet)
        await self.server.start()
        self.channel = grpc.aio.insecure_channel(f"127.0.0.1:{self.server.port}")
        self.stub = ProvisioningServiceStub(self.channel)

    async def close(self) -> None:
        """Disconnect, and stop serving."""
        await self.channel.close()
        await self.server.stop(0)

    async def start(
        self, name: str = "Acme", *, tenant_id: str | None = None, request_id: str = ""
    ) -> TenantStatus:
        """Start a tenant over the wire."""
        answer = await self.stub.StartProvisioning(
            pb.StartProvisioningRequest(
                tenant_id=tenant_id, spec=TenantSpec(company_name=name), request_id=request_id
            )
        )
        return answer.status

    async def write(self, tenant_id: str, *lines: str, rest: bool = False) -> None:
        """Append to a tenant's log, as an executor does; `rest` brings it to rest."""
        standing = Standing(
            state=TenantState.COMPLETED,
            current_step="",
            steps_completed=10,
            total_steps=10,
            errors=(),
        )
        drafts = [LogDraft(level=LogLevel.INFO, message=text, event="test") for text in lines]
        outcome = await self.database.submit(
            TenantOperation(
                tenant_id=TenantId(tenant_id),
                at=NOW,
                standing=standing if rest else None,
                log=tuple(drafts),
            )
        )
        assert outcome.applied

    def row_counts(self) -> dict[str, int]:
        """Count the rows of every table but the audit, as another program sees them."""
        connection = sqlite3.connect(self.file)
        try:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'audit'"
            )
            return {
                name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - own tables
                for (name,) in tables.fetchall()
            }
        finally:
            connection.close()

    def damage(self, sql: str, *values: object) -> None:
        """Change rows as an operator with SQL might."""
        connection = sqlite3.connect(self.file)
        try:
            connection.execute(sql, values)
            connection.commit()
        finally:
            connection.close()


@pytest.fixture
async def unserved(tmp_path: Path) -> AsyncIterator[Rig]:
    """A store that is not served yet; the test serves it as it needs."""
    file = tmp_path / "provisioner.db"
    database = await Database.open(await copied_store(file))
    queries = Queries(database, engines=ENGINES, now=lambda: NOW, lease_seconds=10.0)
    await queries.start()
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)
    yield Rig(database=database, commands=commands, queries=queries, file=file)
    await queries.stop()
    await database.close()


@pytest.fixture
async def rig(unserved: Rig) -> AsyncIterator[Rig]:
    """A served store."""
    await unserved.serve()
    yield unserved
    await unserved.close()
