"""At the door: TLS, clients' certificates, Hosts, origins, sizes, and who is refused a start."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trustme
from pydantic import ValidationError

from clients.sdk import ProvisionerClient, Tls, Unauthenticated, Unreachable
from server.access.http_door import HttpDoor
from server.access.passwords import LEGACY_PASSWORD, weakness
from server.access.sign_in import LEGACY_ADMIN
from server.app import App
from server.errors import SettingsError
from server.limits import MAX_HEADER_BYTES, MAX_REQUEST_BYTES
from server.model.actor import LOCAL, Role
from server.settings import Address, EnginesConfig, Settings, load_tls
from tests.server.access.rooms import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from server.store.database import Database

_FREE = Address(host="127.0.0.1", port=0)
_EVERYWHERE = Address(host="0.0.0.0", port=0)  # noqa: S104 - never started


def files(folder: Path, authority: trustme.CA, **more: Path) -> dict[str, Any]:
    issued = authority.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    return {"tls_cert_file": certificate, "tls_key_file": key, **more}


@contextlib.asynccontextmanager
async def serving(folder: Path, **settings: Any) -> AsyncIterator[App]:
    made = Settings(
        database_url=f"sqlite+aiosqlite:///{folder / 'provisioner.db'}",
        grpc_address=_FREE,
        http_address=_FREE,
        **settings,
    )
    async with App(made, EnginesConfig()) as app:
        yield app


async def test_grpc_and_http_speak_tls_and_nothing_else(
    tmp_path: Path, authority: trustme.CA
) -> None:
    trusted = authority.cert_pem.bytes()
    async with serving(tmp_path, **files(tmp_path, authority)) as app:
        address = f"localhost:{app.grpc_port}"
        async with ProvisionerClient(address, tls=Tls(authorities=trusted)) as client:
            with pytest.raises(Unauthenticated):
                await client.get_caller()
        async with ProvisionerClient(address, timeout_seconds=2) as plain:
            with pytest.raises(Unreachable):
                await plain.get_caller()
        context = ssl.create_default_context(cadata=trusted.decode())
        async with httpx.AsyncClient(verify=context, trust_env=False) as web:
            answer = await web.get(f"https://localhost:{app.http_port}/health")
            assert answer.json() == {"status": "healthy"}
            with pytest.raises(httpx.HTTPError):
                await web.get(f"http://localhost:{app.http_port}/health")


async def test_with_a_client_authority_grpc_lets_in_nobody_without_a_certificate(
    tmp_path: Path, authority: trustme.CA
) -> None:
    clients_authority = trustme.CA()
    ca = tmp_path / "clients.pem"
    ca.write_bytes(clients_authority.cert_pem.bytes())
    issued = clients_authority.issue_cert("machine")
    own = Tls(
        authorities=authority.cert_pem.bytes(),
        certificate=issued.cert_chain_pems[0].bytes(),
        key=issued.private_key_pem.bytes(),
    )
    assert "PRIVATE" not in repr(own)
    async with serving(tmp_path, **files(tmp_path, authority, tls_client_ca_file=ca)) as app:
        address = f"localhost:{app.grpc_port}"
        async with ProvisionerClient(address, tls=own) as client:
            with pytest.raises(Unauthenticated):
                await client.get_caller()
        without = Tls(authorities=authority.cert_pem.bytes())
        async with ProvisionerClient(address, tls=without, timeout_seconds=2) as client:
            with pytest.raises(Unreachable):
                await client.get_caller()


def test_tls_files_that_others_can_read_or_that_are_no_pair_are_refused(
    tmp_path: Path, authority: trustme.CA
) -> None:
    named = files(tmp_path, authority)
    assert load_tls(Settings()) is None
    assert "PRIVATE" not in repr(load_tls(Settings(**named)))
    named["tls_key_file"].chmod(0o640)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_tls(Settings(**named))
    named["tls_key_file"].chmod(0o600)
    named["tls_key_file"].write_bytes(trustme.CA().issue_cert("x").private_key_pem.bytes())
    with pytest.raises(SettingsError, match="do not belong together"):
        load_tls(Settings(**named))
    with pytest.raises(ValidationError, match="go together"):
        Settings(tls_cert_file=named["tls_cert_file"])


def test_where_others_can_reach_it_plain_text_or_no_sign_in_is_refused_unless_it_is_said() -> None:
    for name in ("grpc_address", "http_address"):
        exposed: dict[str, Any] = {name: _EVERYWHERE}
        with pytest.raises(ValidationError, match="no TLS"):
            Settings(**exposed)
        with pytest.raises(ValidationError, match=r"auth \(PROVISIONER_AUTH\) is off"):
            Settings(**exposed, auth=False)
        assert Settings(**exposed, insecure=True).is_exposed


async def test_where_others_can_reach_it_a_weak_or_legacy_password_is_refused(
    sqlite: Database, tmp_path: Path, authority: trustme.CA
) -> None:
    exposed = {"grpc_address": _EVERYWHERE, **files(tmp_path, authority)}
    weak: dict[str, Any] = {"admin_email": "boss@example.com", "admin_password": "admin123"}
    with pytest.raises(SettingsError) as refused:
        await opened(sqlite, tmp_path, **exposed, **weak)
    assert "admin123" not in refused.value.message
    access = await opened(sqlite, tmp_path, compat=True)
    assert await access.users.by_email(LEGACY_ADMIN) is not None
    with pytest.raises(SettingsError, match="provisioner users password"):
        await opened(sqlite, tmp_path, **exposed)
    user = await access.users.find(LEGACY_ADMIN)
    await access.users.set_password(LOCAL, user, "no longer that one")
    await opened(sqlite, tmp_path, **exposed)
    # On loopback any password is taken.
    await opened(sqlite, tmp_path, **weak)
    boss = await access.users.find("boss@example.com")
    assert (boss.role, boss.all_tenants) == (Role.ADMIN, True)


@pytest.mark.parametrize("password", [LEGACY_PASSWORD, "Password1", "short", "aaaaaaaaaaaa"])
def test_a_weak_password_is_known_and_not_repeated(password: str) -> None:
    assert weakness(password)
    assert password not in weakness(password)
    assert not weakness("correct horse battery")


def door() -> httpx.AsyncClient:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = len((await receive()).get("body", b"")) if scope["method"] == "POST" else 0
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": str(size).encode()})

    guarded = HttpDoor(
        app, hosts=frozenset({"prov.example.com"}), origins=frozenset({"https://shop.example.com"})
    )
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=guarded), base_url="http://127.0.0.1"
    )


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4000", 200),
        ("localhost", 200),
        ("app.localhost:80", 200),
        ("[::1]:4000", 200),
        ("PROV.example.com.:443", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("10.0.0.1", 421),
        ("prov.example.com.evil.example.com", 421),
        ("", 400),
    ],
)
async def test_only_hosts_that_are_ours_are_answered(host: str, status: int) -> None:
    async with door() as client:
        assert (await client.get("/health", headers={"Host": host})).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1"}, 200),
        ({"Origin": "https://shop.example.com"}, 200),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
async def test_a_page_of_another_origin_may_not_write(headers: dict[str, str], status: int) -> None:
    async with door() as client:
        assert (await client.post("/x", content=b"{}", headers=headers)).status_code == status
        assert (await client.get("/x", headers=headers)).status_code == 200


async def test_a_body_is_read_to_the_limit_and_not_beyond() -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (MAX_REQUEST_BYTES // 2)

    async with door() as client:
        assert (await client.post("/x", content=b"x" * MAX_REQUEST_BYTES)).text == str(
            MAX_REQUEST_BYTES
        )
        assert (await client.post("/x", content=b"x" * (MAX_REQUEST_BYTES + 1))).status_code == 413
        assert (await client.post("/x", content=parts())).status_code == 413


async def test_headers_are_taken_to_a_limit() -> None:
    async with door() as client:
        for size, status in ((MAX_HEADER_BYTES - 500, 200), (MAX_HEADER_BYTES, 431)):
            answer = await client.get("/x", headers={"Cookie": "x" * size})
            assert answer.status_code == status


async def test_one_address_has_so_many_requests_under_way_and_others_have_theirs() -> None:
    go_on = asyncio.Event()

    async def slow(_scope: Any, _receive: Any, send: Any) -> None:
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    guarded = HttpDoor(slow, hosts=frozenset(), origins=frozenset(), most_per_address=3)

    def of(address: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=guarded, client=(address, 4711))
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")

    async with of("10.0.0.1") as busy, of("10.0.0.2") as other:
        under_way = [asyncio.ensure_future(busy.get("/x")) for _ in range(3)]
        await asyncio.sleep(0)
        while guarded.under_way("10.0.0.1") < 3:
            await asyncio.sleep(0)
        refused = await busy.get("/x")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
        assert "under way" in refused.json()["detail"]
        theirs = asyncio.ensure_future(other.get("/x"))
        go_on.set()
        assert {each.status_code for each in await asyncio.gather(*under_way, theirs)} == {200}
        # Each that has ended makes room.
        assert (await busy.get("/x")).status_code == 200
        assert guarded.under_way("10.0.0.1") == 0
