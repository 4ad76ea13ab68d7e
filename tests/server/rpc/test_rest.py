"""The HTTP face, over a real socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from server.errors import SettingsError
from server.rest import HttpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def http() -> AsyncIterator[HttpServer]:
    server = HttpServer("127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop()


async def get(server: HttpServer, path: str, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.request(method, f"http://127.0.0.1:{server.port}{path}")


@pytest.mark.parametrize("path", ["/health", "/api/health"])
async def test_health_answers_exactly_what_old_scripts_compare(http: HttpServer, path: str) -> None:
    answer = await get(http, path)
    assert answer.status_code == 200
    assert answer.content == b'{"status":"healthy"}'
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/health/"), ("GET", "/nope"), ("POST", "/health")]
)
async def test_everything_else_is_not_found_as_json(
    http: HttpServer, method: str, path: str
) -> None:
    answer = await get(http, path, method)
    assert answer.status_code == 404
    assert answer.content == b'{"detail":"Not Found"}'


async def test_an_address_in_use_is_a_setting_to_mend(http: HttpServer) -> None:
    with pytest.raises(SettingsError, match=r"PROVISIONER_HTTP_ADDRESS.*choose another"):
        await HttpServer("127.0.0.1", http.port).start()
    with pytest.raises(SettingsError, match="PROVISIONER_HTTP_ADDRESS"):
        await HttpServer("192.0.2.1", 0).start()


async def test_a_server_can_be_stopped_twice_and_before_it_was_started() -> None:
    server = HttpServer("127.0.0.1", 0)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
