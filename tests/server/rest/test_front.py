"""What every address has in common: the prefix, other origins, what is not there."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("path", ["/health", "/api/health"])
async def test_health_answers_exactly_what_old_scripts_compare(rig: Rig, path: str) -> None:
    answer = await rig.get(path)
    assert answer.status_code == 200
    assert answer.content == b'{"status":"healthy"}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/ready", "/api/ready"])
async def test_ready_says_that_nothing_can_be_written_until_it_can(rig: Rig, path: str) -> None:
    """It goes unseen else: who only asks might be answered for long."""
    assert (await rig.get(path)).json() == {"status": "ready"}
    away = rig.file.rename(rig.file.with_name("away"))
    answer = await rig.get(path)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["detail"]["type"] == "store_unavailable"
    assert "moved or deleted" in answer.text
    assert (await rig.get("/health")).json() == {"status": "healthy"}
    away.rename(rig.file)
    assert (await rig.get(path)).json() == {"status": "ready"}


async def test_the_root_says_what_this_is(rig: Rig) -> None:
    for path in ("/", "/api", "/api/"):
        answer = await rig.get(path)
        assert answer.status_code == 200
        assert list(answer.json()) == ["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/health/"),
        ("GET", "/nope"),
        ("POST", "/health"),
        ("DELETE", "/iam/tenants"),
        ("GET", "/apihealth"),
        ("POST", f"/provisioning/tenants/{UNKNOWN}/unknown"),
        ("GET", f"/provisioning/tenants/{UNKNOWN}/start"),
        ("GET", "/%2e%2e/etc/passwd"),
        ("GET", "/\u00e9"),
    ],
)
async def test_everything_else_is_not_found_as_json_the_same_with_the_prefix(
    rig: Rig, method: str, path: str
) -> None:
    before = rig.counts()
    for prefixed in (path, f"/api{path}", "/api/api/health"):
        answer = await rig.http.request(method, prefixed)
        assert answer.status_code == 404
        assert answer.content == b'{"detail":"Not Found"}'
    assert rig.counts() == before


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:4000",
        "http://localhost:3000",
        "http://127.0.0.1:4000",
        "http://127.0.0.1:3000",
        "http://app.localhost",
    ],
)
async def test_the_old_front_ends_pages_may_call(rig: Rig, origin: str) -> None:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,x-tenant-id",
    }
    answer = await rig.http.request("OPTIONS", "/api/auth/login", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert (
        answer.headers["access-control-allow-headers"] == "authorization,content-type,x-tenant-id"
    )
    sent = {"email": "admin@moran.com", "password": "admin123"}
    answer = await rig.post("/auth/login", json=sent, headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:4001"])
async def test_a_page_of_another_origin_writes_nothing_and_reads_nothing(
    rig: Rig, origin: str
) -> None:
    before = rig.counts()
    form = {"name": "Evil", "admin_email": "e@example.com", "admin_name": "E"}
    answer = await rig.post(
        "/iam/tenants", json={**form, "admin_password": "p"}, headers={"Origin": origin}
    )
    assert answer.status_code == 403
    assert rig.counts() == before
    answer = await rig.get("/health", headers={"Origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    answer = await rig.http.request("OPTIONS", "/api/auth/login", headers=asked)
    assert "access-control-allow-origin" not in answer.headers


async def test_a_page_of_this_server_may_write(rig: Rig) -> None:
    own = {"Origin": f"http://127.0.0.1:{rig.port}"}
    sent = {"email": "admin@moran.com", "password": "admin123"}
    assert (await rig.post("/auth/login", json=sent, headers=own)).status_code == 200


async def test_an_answer_is_for_its_reader_only_and_no_cache_keeps_it(rig: Rig) -> None:
    answer = await rig.get("/health")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_docs_page_brings_all_it_needs(rig: Rig) -> None:
    for path in ("/docs", "/api/docs"):
        answer = await rig.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "Swagger UI" in answer.text
        assert not re.search(r"(src|href)=.?https?:", answer.text)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    described = (await rig.get("/openapi.json")).json()
    assert {"openapi", "info", "paths"} <= set(described)


async def test_every_reference_of_the_description_leads_somewhere(rig: Rig) -> None:
    described = (await rig.get("/api/openapi.json")).json()
    wanted = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(described)))
    assert wanted <= set(described["components"]["schemas"])
    assert "HTTPValidationError" not in json.dumps(described["paths"])
    for path, verbs in described["paths"].items():
        for verb, said in verbs.items():
            assert said.get("description"), (path, verb)
            assert "security" in said, (path, verb)


async def test_a_request_without_a_host_or_to_another_is_refused(rig: Rig) -> None:
    answer = await rig.get("/health", headers={"Host": "evil.example"})
    assert answer.status_code == 421
    assert "detail" in answer.json()


async def test_head_is_answered_as_get_without_its_body_and_never_as_a_stream(rig: Rig) -> None:
    tenant_id = await rig.begun()
    monitor = {**await rig.signed_in("admin@moran.com", "admin123"), "Accept": "text/event-stream"}
    before = rig.counts()
    for path in (
        "/health",
        "/api/health",
        "/docs",
        "/metrics",
        f"/provisioning/tenants/{tenant_id}/status",
        f"/v1/tenants/{tenant_id}/logs",
        f"/v1/tenants/{tenant_id}/watch",
    ):
        answer = await rig.http.head(path, headers=monitor)
        assert (answer.status_code, answer.content) == (200, b""), path
        assert int(answer.headers["content-length"]) > 0
        assert "event-stream" not in answer.headers["content-type"]
    for path in ("/nope", f"/provisioning/tenants/{tenant_id}/start"):
        assert (await rig.http.head(path, headers=monitor)).status_code == 404
    assert rig.counts() == before
    assert rig.service.streams.count == 0


async def test_who_hangs_up_before_his_request_is_read_is_no_bug(rig: Rig) -> None:
    """A client whose patience is over is met every day: a traceback each time hides real bugs."""
    asked = {"type": "http", "method": "GET", "path": f"/v1/tenants/{UNKNOWN}", "raw_path": None}
    scope = asked | {"scheme": "http", "http_version": "1.1", "query_string": b"", "headers": []}
    sent: list[int] = []

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message.get("status", 0))

    with capture_logs() as logs:
        await rig.app(scope, receive, send)
    assert [log for log in logs if log["log_level"] == "error"] == []
    assert 500 not in sent
