"""A PostgreSQL that hangs: callers hear it at once, health says it, and afterwards all goes on."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from sqlalchemy import text

from clients.sdk import ProvisionerClient, ProvisionerError
from provisioner.v1.tenant_pb2 import TenantSpec
from server.app import App
from server.model.blueprint import NOOP
from server.model.identifiers import SiteKey
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from server.store.database import Database
from tests.support.proxy import proxied
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import URL, Connection

    from tests.support.proxy import Proxy

pytestmark = pytest.mark.postgres

_FREE = Address(host="127.0.0.1", port=0)
PATIENCE_SECONDS = 120.0


@asynccontextmanager
async def serving(wire: Proxy, folder: Path) -> AsyncIterator[App]:
    key = folder / "jwt.key"
    key.write_text("k" * 64)
    key.chmod(0o600)
    settings = Settings(
        database_url=wire.url.render_as_string(hide_password=False),
        grpc_address=_FREE,
        http_address=_FREE,
        auth=False,
        jwt_key_file=key,
        drain_seconds=0.0,
    )
    engine = EngineConfig(id="main", blueprint=NOOP.name, site=SiteKey("noop"))
    async with App(settings, EnginesConfig(default="main", engines={"main": engine})) as app:
        yield app


def _slowly(connection: Connection) -> None:
    connection.execute(text("SELECT pg_sleep(0.3)"))


async def _word(health: Any, service: str) -> str:
    answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_a_database_that_hangs_is_told_at_once_and_waited_for_by_nobody(
    postgres_url: URL, tmp_path: Path
) -> None:
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        proxied(postgres_url) as wire,
        serving(wire, tmp_path) as app,
        ProvisionerClient(f"127.0.0.1:{app.grpc_port}", timeout_seconds=60) as client,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}") as channel,
        plain_client(
            base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False, timeout=60
        ) as web,
    ):
        health: Any = health_pb2_grpc.HealthStub(channel)  # its stubs name no methods
        started = await client.start_provisioning(TenantSpec(company_name="Kijani Stores"))
        assert (await web.get("/ready")).json() == {"status": "ready"}
        assert await _word(health, "database") == "SERVING"
        pulse = app.core.database.pulse
        changed = asyncio.Event()

        async def tell(_there: bool) -> None:
            changed.set()

        pulse.on_change(tell)
        wire.flows.clear()
        # Under way while nobody knows yet: cut off, when it is known.
        waiting = asyncio.ensure_future(client.get_status(started.tenant_id))
        await changed.wait()
        with pytest.raises(ProvisionerError) as refused:
            await waiting
        assert (refused.value.code, refused.value.reason) == ("UNAVAILABLE", "STORE_UNAVAILABLE")

        for ask in (
            client.get_status(started.tenant_id),
            client.start_provisioning(TenantSpec(company_name="Baraka Stores")),
            client.list_tenants(),
        ):
            with pytest.raises(ProvisionerError) as refused:
                await ask
            assert refused.value.reason == "STORE_UNAVAILABLE"
            assert "does not answer: no answer came in time" in refused.value.message
        paths = (
            "/ready",
            "/metrics",
            "/iam/tenants",
            f"/v1/tenants/{started.tenant_id}",
            f"/provisioning/tenants/{started.tenant_id}/status",
        )
        for path in paths:
            answer = await web.get(path)
            assert answer.status_code == 503, path
            assert answer.headers["retry-after"] == "1"
            assert "no answer came in time" in answer.text
        # The process is well: to start it anew would mend nothing.
        assert (await web.get("/health")).content == b'{"status":"healthy"}'
        assert await _word(health, "") == "SERVING"
        for service in ("database", "provisioner.v1.ProvisioningService"):
            assert await _word(health, service) == "NOT_SERVING"

        changed.clear()
        wire.flows.set()
        await changed.wait()
        assert (await web.get("/ready")).status_code == 200
        assert await _word(health, "database") == "SERVING"
        assert (await client.get_status(started.tenant_id)).tenant_id == started.tenant_id


async def test_a_process_that_stops_beside_a_database_that_hangs_does_not_wait_for_goodbyes(
    postgres_url: URL,
) -> None:
    """Each connection waited for its own, fifteen seconds, one after the other."""
    async with proxied(postgres_url) as wire:
        database = await Database.open(wire.url)
        # As many connections as are kept.
        await asyncio.gather(*(database.in_snapshot(_slowly) for _ in range(5)))
        wire.flows.clear()
        try:
            async with asyncio.timeout(14):
                await database.close()
        finally:
            wire.flows.set()
