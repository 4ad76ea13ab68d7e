"""Whoever speaks TLS to a server without, or the other way round, is told so."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
import trustme

from clients.cli import connection
from tests.clients.processes import environment, finish, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def _listening(
    authority: trustme.CA | None, *, name: str = "127.0.0.1", **dates: Any
) -> AsyncIterator[str]:
    server = grpc.aio.server()
    if authority is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        issued = authority.issue_cert(name, **dates)
        chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
        pair = (issued.private_key_pem.bytes(), chain)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(grace=None)


async def _listing(address: str, **environ: str) -> tuple[int, str]:
    async with running(
        "list", "--address", address, environ=environment(HOME="/nonexistent", **environ)
    ) as process:
        result = await finish(process)
    return result.code, result.err


@pytest.mark.parametrize(
    ("serves_tls", "trusts", "said", "next_command"),
    [
        (True, "", "hung up: if it speaks TLS", "provisioner login EMAIL --address "),
        (False, "its own", "answers without TLS, and TLS was spoken", ""),
        (True, "another", "is not trusted here", "provisioner login EMAIL --address "),
    ],
)
async def test_a_server_that_runs_is_not_said_to_be_down(
    tmp_path: Path, serves_tls: bool, trusts: str, said: str, next_command: str
) -> None:
    own, other = trustme.CA(), trustme.CA()
    environ = {}
    if trusts:
        file = tmp_path / "ca.pem"
        (own if trusts == "its own" else other).cert_pem.write_to_path(str(file))
        environ["PROVISIONER_TLS_CA"] = str(file)
    async with _listening(own if serves_tls else None) as address:
        code, words = await _listing(address, **environ)
    assert code == 3
    assert said in words
    assert "Is it running?" not in words
    assert next_command in words


async def test_a_certificate_that_is_over_is_told_from_one_that_is_not_trusted(
    tmp_path: Path,
) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    async with _listening(authority, not_after=datetime(2020, 1, 2, tzinfo=UTC)) as address:
        code, words = await _listing(address, PROVISIONER_TLS_CA=str(file))
    assert code == 3
    assert f"The certificate of {address} has expired" in words
    # Another authority would not help.
    assert "--tls-ca" not in words


@pytest.mark.parametrize(
    ("name", "dates", "said"),
    [
        ("else.example.com", {}, "names other hosts. Call the service by a name that is in it"),
        ("127.0.0.1", {"not_before": datetime(2900, 1, 2, tzinfo=UTC)}, "is not valid yet"),
    ],
)
async def test_what_another_authority_would_not_mend_does_not_ask_for_one(
    tmp_path: Path, name: str, dates: dict[str, datetime], said: str
) -> None:
    authority, file = trustme.CA(), tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    async with _listening(authority, name=name, **dates) as address:
        code, words = await _listing(address, PROVISIONER_TLS_CA=str(file))
    assert code == 3
    assert said in words
    assert "--tls-ca" not in words


def test_a_profile_keeps_whom_to_trust_for_commands_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert connection.from_anywhere("ca.pem") == str(tmp_path / "ca.pem")
    assert connection.from_anywhere("system") == "system"
    assert connection.from_anywhere("") == ""


async def test_the_address_of_http_is_not_said_to_be_a_service_that_is_down() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as http:
        code, words = await _listing(f"127.0.0.1:{http.sockets[0].getsockname()[1]}")
    assert (code, "speaks HTTP, not gRPC" in words) == (3, True)
    assert "Is it running?" not in words
