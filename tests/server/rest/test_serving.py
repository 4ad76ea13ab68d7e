"""Listening: one address, one application, started and stopped as one thing."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.responses import PlainTextResponse

from server.errors import SettingsError
from server.rest import HttpServer
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

APP = PlainTextResponse("here")


@pytest.fixture
async def http() -> AsyncIterator[HttpServer]:
    server = HttpServer(APP, "127.0.0.1", 0)
    await server.start()
    yield server
    await server.stop()


async def test_what_listens_answers_at_once(http: HttpServer) -> None:
    async with plain_client(trust_env=False) as client:
        answer = await client.get(f"http://127.0.0.1:{http.port}/")
    assert answer.text == "here"
    assert "server" not in answer.headers


async def test_who_calls_is_told_by_the_connection_and_not_by_a_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Limits go by the address, and the audit names it: a caller must not choose his own."""
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append((scope["client"][0], scope["scheme"]))
        await APP(scope, receive, send)

    server = HttpServer(app, "127.0.0.1", 0)
    await server.start()
    claimed = {"X-Forwarded-For": "10.9.8.7", "X-Forwarded-Proto": "https"}
    async with plain_client(trust_env=False) as client:
        await client.get(f"http://127.0.0.1:{server.port}/", headers=claimed)
    await server.stop()
    assert seen == [("127.0.0.1", "http")]


@pytest.mark.parametrize("sent", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\nBad Header\r\n\r\n"])
async def test_what_is_no_http_gets_an_error_in_the_form_of_all_others(
    http: HttpServer, sent: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    writer.write(sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/json" in head
    assert json.loads(body)["detail"]["type"] == "malformed_request"


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"],
)
async def test_who_sends_no_whole_request_is_not_waited_for(
    http: HttpServer, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection is an open file of the process; one that is forgotten must not stay."""
    monkeypatch.setattr("server.rest.malformed.HEAD_SECONDS", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", http.port)
    for byte in sent:
        writer.write(bytes([byte]))
        await writer.drain()
    said = await reader.read()
    writer.close()
    assert said.count(b"HTTP/1.1") == sent.count(b"\r\n\r\n")


async def test_who_has_sent_a_whole_request_is_answered_however_long_that_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("server.rest.malformed.HEAD_SECONDS", 0.05)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        over = asyncio.Event()
        # Well after a head that was not sent would be given up.
        asyncio.get_running_loop().call_later(0.3, over.set)
        await over.wait()
        await APP(scope, receive, send)

    server = HttpServer(slow, "127.0.0.1", 0)
    await server.start()
    async with plain_client(trust_env=False) as client:
        for _ in range(2):
            assert (await client.get(f"http://127.0.0.1:{server.port}/")).text == "here"
    await server.stop()


async def test_an_address_in_use_is_a_setting_to_mend(http: HttpServer) -> None:
    with pytest.raises(SettingsError, match=r"PROVISIONER_HTTP_ADDRESS.*choose another"):
        await HttpServer(APP, "127.0.0.1", http.port).start()
    with pytest.raises(SettingsError, match="PROVISIONER_HTTP_ADDRESS"):
        await HttpServer(APP, "192.0.2.1", 0).start()


async def test_a_server_can_be_stopped_twice_and_before_it_was_started() -> None:
    server = HttpServer(APP, "127.0.0.1", 0)
    await server.stop()
    await server.start()
    await server.stop()
    await server.stop()
    async with plain_client(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{server.port}/")
