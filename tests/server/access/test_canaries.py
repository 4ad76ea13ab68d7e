"""Secrets planted everywhere appear in no row, log line, repr, answer or error."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from clients.sdk import ProvisionerClient, ProvisionerError
from provisioner.v1.tenant_pb2 import TenantSpec
from server.app import App
from server.model.actor import LOCAL, Role
from server.model.identifiers import SiteKey, TenantId
from server.model.states import LogLevel
from server.noop import NoopStep
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from server.store.operations import LogDraft, TenantOperation
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "CANARY-7f3a9c"


async def test_no_secret_gets_out(tmp_path: Path) -> None:
    file, key_file = tmp_path / "provisioner.db", tmp_path / "jwt.key"
    key_file.touch(mode=0o600)
    key_file.write_text(f"{CANARY}-{'k' * 40}")
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{file}",
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
        jwt_key_file=key_file,
        admin_email="boss@example.com",
        admin_password=SecretStr(f"{CANARY}-password"),
    )
    engine = EngineConfig(
        id="main",
        blueprint="erpnext",
        site=SiteKey("http://127.0.0.1:1 host=127.0.0.1:1"),
        url="http://127.0.0.1:1",
        api_key=SecretStr(f"{CANARY}-key"),
        api_secret=SecretStr(f"{CANARY}-secret"),
    )
    engines = EnginesConfig(default="main", engines={"main": engine})
    said: list[str] = [repr(settings), repr(engines)]
    with capture_logs() as logged:
        async with App(settings, engines) as app:
            made = await app.access.keys.create(LOCAL, name="ci", role=Role.OPERATOR)
            said += [repr(app.access), repr(made)]
            address = f"127.0.0.1:{app.grpc_port}"
            async with ProvisionerClient(address) as client:
                signed = await client.sign_in("boss@example.com", f"{CANARY}-password")
                with pytest.raises(ProvisionerError) as refused:
                    await client.sign_in("boss@example.com", f"{CANARY}-wrong")
                said.append(f"{refused.value!r} {refused.value.metadata}")
            for token in (f"{CANARY}-token", made.text.get_secret_value(), signed.access_token):
                async with ProvisionerClient(address, token=token) as client:
                    try:
                        status = await client.start_provisioning(
                            TenantSpec(company_name="Acme"), request_id="one"
                        )
                        said += [str(status), str(await client.diagnose(status.tenant_id))]
                    except ProvisionerError as error:
                        said.append(f"{error!r} {error.metadata}")
            async with plain_client(
                base_url=f"http://127.0.0.1:{app.http_port}", trust_env=False
            ) as web:
                headers = {"Authorization": f"Bearer {CANARY}-token"}
                login = {"email": "boss@example.com", "password": f"{CANARY}-wrong"}
                said.append((await web.post("/auth/login", json=login)).text)
                said.append((await web.post("/auth/login", json={"password": CANARY})).text)
                for path in ("/v1/tenants", "/erpnext/health", "/metrics", "/openapi.json"):
                    said.append((await web.get(path, headers=headers)).text)
    said += [str(entry) for entry in logged]
    with sqlite3.connect(file) as connection:
        said += connection.iterdump()
    connection.close()
    secrets = (CANARY, signed.access_token, made.text.get_secret_value())
    leaks = [text[:300] for text in said if any(secret in text for secret in secrets)]
    assert not leaks


async def test_a_key_that_was_revoked_reads_nothing_from_that_moment_on(tmp_path: Path) -> None:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}",
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
    )
    engine = EngineConfig(id="main", blueprint="noop", site=SiteKey("noop"))
    async with App(settings, EnginesConfig(default="main", engines={"main": engine})) as app:
        made = await app.access.keys.create(LOCAL, name="ci", role=Role.OPERATOR)
        token = made.text.get_secret_value()
        async with ProvisionerClient(f"127.0.0.1:{app.grpc_port}", token=token) as client:
            status = await client.start_provisioning(TenantSpec(company_name="Acme"))
            async with client.stream_logs(status.tenant_id) as log:
                assert [entry async for entry in log]
            await app.access.keys.revoke(LOCAL, "ci")
            with pytest.raises(ProvisionerError) as refused:
                async with client.stream_logs(status.tenant_id, max_failures=1) as log:
                    assert not [entry async for entry in log]
            assert refused.value.reason == "TOKEN_INVALID"


async def test_a_stream_ends_with_the_first_line_after_its_key_was_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_step: NoopStep, _context: object, _found: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(NoopStep, "apply", never)
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}",
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
        drain_seconds=1,
    )
    engine = EngineConfig(id="main", blueprint="noop", site=SiteKey("noop"))
    async with App(settings, EnginesConfig(default="main", engines={"main": engine})) as app:
        made = await app.access.keys.create(LOCAL, name="ci", role=Role.OPERATOR)
        token = made.text.get_secret_value()
        async with ProvisionerClient(f"127.0.0.1:{app.grpc_port}", token=token) as client:
            status = await client.start_provisioning(TenantSpec(company_name="Acme"))
            async with client.stream_logs(status.tenant_id, follow=True, max_failures=1) as log:
                async for entry in log:
                    if entry.fields["event"] == "step.began":
                        break
                await app.access.keys.revoke(LOCAL, "ci")
                line = LogDraft(level=LogLevel.INFO, event="test.line", message="For no eyes.")
                operation = TenantOperation(
                    tenant_id=TenantId(status.tenant_id), at=datetime.now(UTC), log=(line,)
                )
                await app.core.database.submit(operation)
                with pytest.raises(ProvisionerError) as refused:
                    assert not [entry async for entry in log]
        assert refused.value.reason == "TOKEN_INVALID"
