"""The client: what goes over the wire, what is bounded, and that no secret leaves."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import logging
import traceback
from typing import TYPE_CHECKING
from urllib.parse import unquote

import httpx
import pytest

from server.erpnext.client import MAX_BODY_BYTES, MAX_REQUEST_LINE, Credentials, ErpNextEngine
from server.erpnext.codes import Code
from server.erpnext.requests import PING, get, make, resource_path, rows
from server.errors import EngineError, SettingsError
from server.model.blueprint import ERPNEXT
from server.model.states import ErrorClass, GateState
from server.model.step_context import AnswerKind, Engine, Request
from server.standin.app import StandIn
from tests.server.erpnext.conftest import KEY, SECRET, credentials
from tests.server.erpnext.context import NOON
from tests.server.erpnext.sitework import fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

ODD = 'Café "Ñandú" & Söhne/2 #1 50%? ;\\ 🏦'


class Wire:
    """The edge: keeps what was sent, and answers with what it was given."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response]) -> None:
        self.sent: list[httpx.Request] = []
        self._answer = answer

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request)
        return self._answer(request)

    def engine(self, **changes: str) -> ErpNextEngine:
        settings = {"url": "https://erp.example.com", **changes}
        return ErpNextEngine(
            url=settings["url"],
            host=settings.get("host", ""),
            credentials=credentials(),
            transport=httpx.MockTransport(self),
        )


class Pieces(httpx.AsyncByteStream):
    """A body as it comes over the wire, packed."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body


def streaming(stream: Pieces, request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, stream=stream, headers={"content-encoding": "gzip"})


def fine(request: httpx.Request) -> httpx.Response:
    name = unquote(request.url.raw_path.decode().rpartition("/")[2])
    return httpx.Response(200, json={"data": {"name": name}})


def failing(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error

    return fail


async def refused(engine: ErpNextEngine, request: Request) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await engine.send(request)
    await engine.close()
    return caught.value


async def test_a_request_carries_token_accept_and_host() -> None:
    wire = Wire(fine)
    engine = wire.engine(host="Shop.Example.com")
    await engine.send(get("Company", ODD))
    await engine.close()
    headers = wire.sent[0].headers
    assert headers["authorization"] == f"token {KEY}:{SECRET}"
    assert headers["accept"] == "application/json"
    # Some refusals are told apart by their words.
    assert headers["accept-language"] == "en"
    assert headers["host"] == "shop.example.com"
    assert "cookie" not in headers


async def test_ping_goes_without_a_token() -> None:
    wire = Wire(lambda request: httpx.Response(200, json={"message": "pong"}))
    engine = wire.engine()
    await engine.send(Request(method="GET", path=PING))
    await engine.close()
    assert "authorization" not in wire.sent[0].headers


async def test_odd_names_are_percent_encoded_in_paths_and_json_in_filters() -> None:
    wire = Wire(fine)
    engine = wire.engine(url="https://erp.example.com/base/")
    await engine.send(get("Sales Person", ODD))
    await engine.send(rows("Company", ("name", "=", ODD), fields=("name",), limit=3))
    await engine.close()
    path = wire.sent[0].url.raw_path
    assert path.startswith(b"/base/api/resource/Sales%20Person/Caf%C3%A9%20%22")
    assert b"%2F2%20%231%2050%25%3F%20%3B%5C%20%F0%9F%8F%A6" in path
    sent = wire.sent[1].url.params
    assert json.loads(sent["filters"]) == [["name", "=", ODD]]
    assert json.loads(sent["fields"]) == ["name"]
    assert sent["limit_page_length"] == "3"


def test_a_name_of_dots_stays_a_name() -> None:
    assert resource_path("Company", "..") == "/api/resource/Company/%2E%2E"
    assert resource_path("Company", "A.B") == "/api/resource/Company/A.B"
    assert httpx.URL("http://h" + resource_path("Company", "..")).raw_path.endswith(b"%2E%2E")


async def test_a_body_is_json_in_utf8() -> None:
    wire = Wire(fine)
    engine = wire.engine()
    await engine.send(make("Company", ODD, {"company_name": ODD}))
    await engine.close()
    assert wire.sent[0].headers["content-type"] == "application/json"
    assert wire.sent[0].content == json.dumps(
        {"company_name": ODD}, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8")


async def test_cookies_are_neither_kept_nor_sent() -> None:
    wire = Wire(
        lambda request: httpx.Response(
            200, json={"data": []}, headers={"set-cookie": "sid=Guest; Path=/"}
        )
    )
    engine = wire.engine()
    await engine.send(rows("Company", fields=("name",)))
    await engine.send(rows("Company", fields=("name",)))
    await engine.close()
    assert all("cookie" not in sent.headers for sent in wire.sent)


async def test_a_redirect_is_not_followed() -> None:
    wire = Wire(
        lambda request: httpx.Response(302, headers={"location": "https://evil.example/login"})
    )
    error = await refused(wire.engine(), get("Company", "a"))
    assert error.code == Code.ENGINE_WRONG_HOST
    assert len(wire.sent) == 1


async def test_a_request_line_too_long_for_web_servers_is_refused_before_it_is_sent() -> None:
    wire = Wire(fine)
    names = ["n" * 100] * 40
    request = rows("Account", ("name", "in", names), fields=("name",))
    error = await refused(wire.engine(), request)
    assert error.code == Code.REQUEST_TOO_LONG
    assert str(MAX_REQUEST_LINE) in error.message
    assert not wire.sent


async def test_an_answer_larger_than_the_bound_is_not_read_to_its_end() -> None:
    wire = Wire(lambda request: httpx.Response(200, content=b"x" * (MAX_BODY_BYTES + 1)))
    error = await refused(wire.engine(), get("Company", "a"))
    assert error.code == Code.ENGINE_UNEXPECTED_ANSWER
    error = await refused(wire.engine(), make("Company", "a", {}))
    assert error.error_class is ErrorClass.UNKNOWN_OUTCOME


@pytest.mark.parametrize(
    ("raised", "read", "write"),
    [
        (httpx.ConnectError("x"), Code.ENGINE_UNREACHABLE, Code.ENGINE_UNREACHABLE),
        (httpx.ConnectTimeout("x"), Code.ENGINE_UNREACHABLE, Code.ENGINE_UNREACHABLE),
        (httpx.ProxyError("x"), Code.ENGINE_UNREACHABLE, Code.ENGINE_UNREACHABLE),
        (httpx.PoolTimeout("x"), Code.CONNECTIONS_EXHAUSTED, Code.CONNECTIONS_EXHAUSTED),
        (httpx.ReadTimeout("x"), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
        (httpx.ReadError("x"), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
        (httpx.WriteError("x"), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
        (httpx.WriteTimeout("x"), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
        (httpx.RemoteProtocolError("x"), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
        (TimeoutError(), Code.ENGINE_NO_ANSWER, Code.OUTCOME_UNKNOWN),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Exception) else None,
)
async def test_a_broken_call_is_told_by_whether_anything_was_sent(
    raised: Exception, read: Code, write: Code
) -> None:
    wire = Wire(failing(raised))
    assert (await refused(wire.engine(), get("Company", "a"))).code == read
    assert (await refused(wire.engine(), make("Company", "a", {}))).code == write


async def test_a_packed_answer_is_read_and_a_broken_one_leaves_a_write_unknown() -> None:
    packed = gzip.compress(b'{"data": {"name": "a", "abbr": "A"}}')
    headers = {"content-encoding": "gzip"}
    whole = Wire(lambda _: httpx.Response(200, content=packed, headers=headers))
    answer = await whole.engine().send(get("Company", "a"))
    assert answer.data["abbr"] == "A"
    # Packed so tightly that it would fill the memory.
    bomb = gzip.compress(b"0" * (MAX_BODY_BYTES + 1))
    for body in (b"\x1f\x8b broken", bomb):
        stream = Pieces(body)
        wire = Wire(functools.partial(streaming, stream))
        error = await refused(wire.engine(), make("Company", "a", {}))
        assert error.code == Code.OUTCOME_UNKNOWN


async def test_time_limits_of_a_request_reach_the_wire() -> None:
    wire = Wire(fine)
    engine = wire.engine()
    await engine.send(make("Company", "a", {}, timeout_seconds=240.0))
    await engine.close()
    limits = wire.sent[0].extensions["timeout"]
    assert (limits["read"], limits["connect"]) == (240.0, 5.0)


async def test_a_closed_port_is_told_by_its_kind() -> None:
    async with StandIn(now=lambda: NOON) as site:
        url = site.url
    error = await refused(
        ErpNextEngine(url=url, credentials=credentials()), make("Company", "a", {})
    )
    assert error.code == Code.ENGINE_UNREACHABLE
    assert "ConnectionRefusedError" in error.message


async def test_the_prober_is_not_kept_waiting_by_our_own_requests(site: StandIn) -> None:
    engine = ErpNextEngine(url=site.url, credentials=credentials(), max_connections=1)
    await fault(site, method="GET", doctype="UOM", hang_seconds=60)
    asking = asyncio.create_task(engine.send(get("UOM", "Nos")))
    await site.arrived("GET", "UOM")
    assert (await engine.check()).state is GateState.UP
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await engine.close()


async def test_no_secret_is_shown_by_repr_error_traceback_or_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    header = f"Illegal header value b'token {KEY}:{SECRET}'"
    wire = Wire(failing(httpx.LocalProtocolError(header)))
    engine = wire.engine()
    shown = repr(engine) + repr(credentials()) + str(credentials()) + repr(vars(engine))
    error = await refused(engine, make("Company", "a", {"company_name": "a"}))
    shown += "".join(traceback.format_exception(error)) + repr(error.evidence) + error.message
    async with StandIn(now=lambda: NOON) as site:
        real = ErpNextEngine(url=site.url, credentials=credentials())
        await real.check()
        await refused(real, make("Company", "a", {}))
    shown += caplog.text
    assert SECRET not in shown
    assert KEY not in shown


def echo(status: int, kind: str) -> Callable[[httpx.Request], httpx.Response]:
    """Return what answers with every header that it got."""

    def repeat(request: httpx.Request) -> httpx.Response:
        got = dict(request.headers)
        lines = "\n".join(f"{name}: {value}" for name, value in got.items())
        if kind == "page":
            return httpx.Response(status, html=f"<pre>{lines}</pre>")
        if kind == "redirect":
            return httpx.Response(status, headers={"location": f"/{got['authorization'][6:]}"})
        message = json.dumps([json.dumps({"message": lines})])
        return httpx.Response(
            status, json={"exc_type": "ValidationError", "exception": lines, kind: message}
        )

    return repeat


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "page"),
        (404, "page"),
        (502, "page"),
        (302, "redirect"),
        (417, "_server_messages"),
        (500, "headers"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_repeats_our_headers_does_not_make_us_tell_the_secret(
    status: int, kind: str, method: str
) -> None:
    """The default page of a gateway may show them, and a part of it is kept with the attempt."""
    wire = Wire(echo(status, kind))
    request = get("Company", "a") if method == "GET" else make("Company", "a", {})
    error = await refused(wire.engine(), request)
    told = f"{vars(error)} {error.message} {error.told}"
    told += "".join(traceback.format_exception(error))
    assert SECRET not in told
    assert KEY not in told
    # It still says what came.
    assert "…" in told


@pytest.mark.parametrize("bad", ["", "a b", "a\nb", "ä"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(bad: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Credentials(api_key=KEY, api_secret=bad)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "erp.example.com",
        "ftp://erp.example.com",
        "https://me:pw@erp.example.com",
        "http://h?x=1",
    ],
)
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ErpNextEngine(url=url, credentials=credentials())
    assert "pw" not in str(caught.value)


def test_a_host_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(SettingsError):
        Wire(fine).engine(host="two words")


async def test_the_same_site_is_the_same_however_its_address_is_written() -> None:
    def site(url: str, host: str = "") -> str:
        return Wire(fine).engine(url=url, host=host).site

    assert site("HTTPS://ERP.Example.com:443/") == site("https://erp.example.com")
    assert site("https://erp.example.com", "ERP.example.com") == site("https://erp.example.com")
    assert site("https://erp.example.com", "other") != site("https://erp.example.com")
    assert site("http://erp.example.com:8000") != site("http://erp.example.com")


async def test_it_is_an_engine_with_a_step_for_every_key_of_its_blueprint() -> None:
    engine: Engine = Wire(fine).engine()
    assert engine.blueprint_name == "erpnext"
    for step in ERPNEXT.steps:
        assert engine.step(step.key).key == step.key


async def test_a_document_is_made_found_and_met_again_over_real_http(
    engine: ErpNextEngine,
) -> None:
    assert (await engine.send(get("UOM", ODD))).kind is AnswerKind.MISSING
    body = {"uom_name": ODD}
    assert (await engine.send(make("UOM", ODD, body))).kind is AnswerKind.OK
    assert (await engine.send(get("UOM", ODD))).data["name"] == ODD
    assert (await engine.send(make("UOM", ODD, body))).kind is AnswerKind.EXISTS


async def test_the_host_header_chooses_the_site() -> None:
    async with StandIn(now=lambda: NOON, host="shop.example.com") as site:
        right = ErpNextEngine(url=site.url, host="shop.example.com", credentials=credentials())
        assert (await right.send(get("UOM", "Nos"))).kind is AnswerKind.OK
        await right.close()
        wrong = ErpNextEngine(url=site.url, host="other.example.com", credentials=credentials())
        assert (await refused(wrong, get("UOM", "Nos"))).code == Code.ENGINE_WRONG_HOST
