"""How a site is reached: changed keys, a private authority, proxies, and its own time limits."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvicorn

from server.erpnext.client import Credentials, ErpNextEngine
from server.erpnext.codes import Code
from server.erpnext.requests import get, make
from server.erpnext.timeouts import Timeouts
from server.errors import EngineError
from server.standin.app import create_app
from tests.server.erpnext.conftest import credentials
from tests.server.erpnext.context import MemoryContext, drive, kenyan
from tests.support.waiting import until
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from pathlib import Path

    from server.standin.app import StandIn

_UOM = get("UOM", "Nos")


async def test_credentials_of_the_moment_are_asked_before_each_request(site: StandIn) -> None:
    async with plain_client() as client:
        await client.post(f"{site.url}/standin/faults", json={"token": "new:secret"})
    current = [Credentials(api_key="old", api_secret="secret")]
    engine = ErpNextEngine(url=site.url, credentials=lambda: current[0])
    with pytest.raises(EngineError) as caught:
        await engine.send(_UOM)
    assert caught.value.code == Code.ENGINE_CREDENTIALS_REFUSED
    current[0] = Credentials(api_key="new", api_secret="secret")
    assert (await engine.send(_UOM)).data["name"] == "Nos"
    await engine.close()


async def test_a_private_authority_is_trusted_only_where_it_is_named(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    config = uvicorn.Config(
        create_app(),
        port=0,
        ssl_keyfile=tmp_path / "key.pem",
        ssl_certfile=tmp_path / "cert.pem",
        log_config=None,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        friend = ErpNextEngine(
            url=f"https://localhost:{port}",
            credentials=credentials(),
            ca_file=tmp_path / "ca.pem",
        )
        assert (await friend.send(_UOM)).data["name"] == "Nos"
        # Beside the one who trusts it: what sites share is not more than what each may trust.
        stranger = ErpNextEngine(url=f"https://localhost:{port}", credentials=credentials())
        with pytest.raises(EngineError) as caught:
            await stranger.send(_UOM)
        assert caught.value.code == Code.ENGINE_UNREACHABLE
        assert "certificate" in caught.value.message
        await stranger.close()
        await friend.close()
    finally:
        server.should_exit = True
        await serving


async def test_many_sites_load_the_public_authorities_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fifty of them would keep a start waiting for seconds."""
    loads: list[ssl.SSLContext] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, *arguments: Any, **named: Any) -> None:
        loads.append(context)
        load(context, *arguments, **named)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    engines = [
        ErpNextEngine(url=f"https://erp{number}.example.com", credentials=credentials())
        for number in range(50)
    ]
    # Not once where a client of the test before is still in memory.
    assert len(loads) <= 1
    for engine in engines:
        await engine.close()


async def test_a_proxy_of_the_environment_is_used(
    site: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
    engine = ErpNextEngine(url="http://erp.example.invalid", credentials=credentials())
    with pytest.raises(EngineError):
        await engine.send(_UOM)
    await engine.close()
    assert asked == [b"GET http://erp.example.invalid/api/resource/UOM/Nos HTTP/1.1\r\n"]

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    direct = ErpNextEngine(url=site.url, credentials=credentials())
    assert (await direct.send(_UOM)).data["name"] == "Nos"
    await direct.close()
    assert len(asked) == 1
    listening.close()
    await listening.wait_closed()


async def test_the_limits_of_a_site_are_part_of_what_its_steps_ask(site: StandIn) -> None:
    engine = ErpNextEngine(
        url=site.url,
        credentials=credentials(),
        timeouts=Timeouts(seconds=75.0, company_seconds=300.0),
    )
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context)
    await engine.close()
    limits = {
        request.timeout_seconds
        for request in context.sent
        if request.doctype not in {"Company", "Stock Settings"} and "method" not in request.path
    }
    assert limits == {75.0}
    post = next(each for each in context.writes if each.doctype == "Company")
    assert post.timeout_seconds == 300.0


def test_a_limit_of_a_company_is_never_shortened() -> None:
    request = replace(make("Company", "X", {}), timeout_seconds=350.0)
    assert Timeouts(company_seconds=120.0).laid_on(request).timeout_seconds == 350.0
