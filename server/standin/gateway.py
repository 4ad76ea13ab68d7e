"""From an HTTP request to a call and back: addresses, credentials, bodies, faults, the log.

Facts: 01-logged-user-*, 01-unknown-site, 01-ping-bad-token, 11-accept-html, 11-bad-json,
11-body-too-large, 11-content-type, 11-maintenance-mode, 11-mariadb-down, 11-method-not-allowed,
11-url-too-long. A request is logged once it is answered or its connection is cut.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from starlette.responses import JSONResponse, Response

from server.standin import credentials, documents, errors, methods
from server.standin.api import Api, Call, Reply
from server.standin.bodies import parse_body
from server.standin.catalogue import DOCTYPES
from server.standin.errors import EngineError, PageError
from server.standin.faults import Fault, Faults
from server.standin.site import API_USER

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from server.standin.connections import Connections
    from server.standin.site import Site
    from server.standin.traffic import Traffic

_log = logging.getLogger(__name__)
# What an unchecked request can cause.
_UNCHECKED = (AttributeError, KeyError, TypeError, ValueError)
_BODY_LIMIT = 25 * 1024 * 1024
_REQUEST_LINE_LIMIT = 4094
_COOKIES = (
    "sid=Guest; Max-Age=612000; HttpOnly; Path=/; SameSite=Lax",
    "system_user=no; Path=/; SameSite=Lax",
    "full_name=Guest; Path=/; SameSite=Lax",
    "user_id=Guest; Path=/; SameSite=Lax",
    "user_image=; Path=/; SameSite=Lax",
)


class CutError(Exception):
    """The connection is to be closed without an answer."""


class Gateway:
    """The ASGI application that plays the engine.

    Attributes:
        faults: What goes wrong; replaced as a whole.
        log: How many requests were answered, by method, doctype (or method path) and status; status
            0 for those that were cut.
        arrivals: How many requests have come in, by method and doctype (or method path).
    """

    def __init__(
        self, api: Api, traffic: Traffic, connections: Connections, *, host: str | None
    ) -> None:
        self.faults = Faults()
        self.log: Counter[tuple[str, str, int]] = Counter()
        self.arrivals: Counter[tuple[str, str]] = Counter()
        self._arrival = asyncio.Event()
        self._api = api
        self._traffic = traffic
        self._connections = connections
        self._host = host

    async def arrived(self, method: str, doctype: str, count: int) -> None:
        """Return once so many such requests have reached the engine since it started.

        Args:
            method: The HTTP method.
            doctype: The doctype, or the dotted path of a method.
            count: How many, answered or not.
        """
        while self.arrivals[method, doctype] < count:
            await self._arrival.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"]
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        call = Call(method=method, target=scope["path"])
        status = 0
        try:
            response = await self._respond(scope, receive, headers, call)
            status = response.status_code
        except CutError:
            await self._connections.cut(scope, receive)
            return
        finally:
            self.log[method, call.target, status] += 1
        if call.cut_in_the_middle:
            await self._send_half(response, scope, receive, send)
        else:
            await response(scope, receive, send)

    async def _send_half(
        self, response: Response, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Send the headers, which promise the whole body, and half of it; then cut."""
        body = bytes(response.body)
        await send(
            {
                "type": "http.response.start",
                "status": response.status_code,
                "headers": response.raw_headers,
            }
        )
        half = body[: len(body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await self._connections.cut(scope, receive)

    async def _respond(
        self, scope: Scope, receive: Receive, headers: dict[str, str], call: Call
    ) -> Response:
        try:
            reply = await self._answer(scope, receive, headers, call)
        except PageError as error:
            return _page(error)
        except EngineError as error:
            if not call.spent:
                await self._api.spend(call)
            return _refusal(error, headers, tracebacks=self.faults.tracebacks)
        except _UNCHECKED as error:
            # ERPNext answers the unexpected with a 500, and so do we; we log it in case the fault
            # is in the stand-in.
            _log.warning("standin.crashed %s %s", call.method, call.target, exc_info=True)
            kind = type(error).__name__
            crashed = errors.crashed(kind, f"{kind}: {error}")
            return _refusal(crashed, headers, tracebacks=self.faults.tracebacks)
        if call.method == "OPTIONS":
            return Response(b"", headers={"server": "gunicorn"}, media_type="text/plain")
        if call.method == "HEAD":
            return _finished(Response(b"", reply.status, media_type="application/json"))
        return _finished(JSONResponse(reply.body, status_code=reply.status))

    async def _answer(
        self, scope: Scope, receive: Receive, headers: dict[str, str], call: Call
    ) -> Reply:
        self._check_line_and_host(scope, headers)
        raw = await _read(receive)
        kind = _understand(scope, call)
        self.arrivals[call.method, call.target] += 1
        self._arrival.set()
        self._arrival = asyncio.Event()
        self._check_up(headers, call)
        call.query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        call.user = credentials.user(headers.get("authorization"), self.faults.token)
        call.roles = self.faults.roles
        if self.faults.user is not None and call.user == API_USER:
            call.user = self.faults.user
        if call.method not in {"GET", "HEAD"}:
            call.body = parse_body(raw, headers.get("content-type", ""))
        fault = self.faults.take(call.method, call.target, _names(self._api.site, call))
        call.delay = self.faults.latency_ms / 1000
        if fault is not None and fault.comes_before:
            call.delay += fault.seconds
            if fault.cuts or fault.refuses:
                await self._fail(fault, call)
        if call.method == "OPTIONS":
            return Reply(body={})
        reply = await (
            self._api.resource(call) if kind == "resource" else methods.answer(self._api, call)
        )
        if fault is not None and not fault.comes_before:
            call.delay = fault.seconds
            call.cut_in_the_middle = fault.cuts_in_the_middle
            await self._fail(fault, call)
        return reply

    async def _fail(self, fault: Fault, call: Call) -> None:
        call.spent = True
        await self._traffic.pause(call.delay)
        if fault.cuts and not fault.cuts_in_the_middle:
            raise CutError
        if fault.refuses:
            raise fault.error()

    def _check_line_and_host(self, scope: Scope, headers: dict[str, str]) -> None:
        path = scope.get("raw_path") or b""
        line = len(path) + len(scope["query_string"]) + len(f"{scope['method']} ? HTTP/1.1")
        if line > _REQUEST_LINE_LIMIT:
            raise PageError(
                400,
                "<html>\n  <head>\n    <title>Bad Request</title>\n  </head>\n  <body>\n"
                "    <h1><p>Bad Request</p></h1>\n"
                f"    Request Line is too large ({line} &gt; {_REQUEST_LINE_LIMIT})\n"
                "  </body>\n</html>\n",
                {"connection": "close"},
            )
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if self._host is not None and host.lower() != self._host.lower():
            raise errors.page(404, "Not Found", f"{host} does not exist")

    def _check_up(self, headers: dict[str, str], call: Call) -> None:
        if self.faults.down:
            # A GET with a token gets far enough for JSON; anything else fails in the web server.
            reached = call.method == "GET" and "authorization" in headers
            if not reached or "text/html" in headers.get("accept", ""):
                raise errors.server_error_page()
            raise errors.crashed(
                "OperationalError",
                "pymysql.err.OperationalError: (2003, \"Can't connect to MySQL server on "
                f"'{self._api.site.name}' ([Errno 111] Connection refused)\")",
            )
        if self.faults.maintenance:
            raise errors.plain(503, "SessionStopped", "Session Stopped")


async def _read(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size > _BODY_LIMIT:
            raise errors.page(
                413,
                "Request Entity Too Large",
                "The data value transmitted exceeds the capacity limit.",
                connection="close",
            )
        parts.append(part)
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return b"".join(parts)


def _understand(scope: Scope, call: Call) -> str:
    """Find doctype and name, or the method path; return which of the two it is."""
    path = str(scope["path"])
    if not path.startswith("/api/"):
        raise errors.page(404, "Not Found", "The requested URL was not found on the server.")
    rest = path.removeprefix("/api/").removeprefix("v1/")
    area, _, rest = rest.partition("/")
    if area == "method":
        call.target = rest
        return area
    if area != "resource" or not rest:
        raise errors.gone()
    doctype, _, name = rest.partition("/")
    # A slash at the end belongs to the address, even if the name ends in one (by ERPNext's own
    # rule for addresses; recording 11-wrong-address shows it of a list).
    call.target, call.name = doctype, name.removesuffix("/") or None
    return area


def _names(site: Site, call: Call) -> list[str]:
    """Return every name by which a fault may refer to the document."""
    sent = call.body.get("doc", call.body)
    sent = json.loads(sent) if isinstance(sent, str) else sent
    names = [call.name, sent.get("name"), sent.get("parent")]
    kind = DOCTYPES.get(call.target)
    if kind is not None and call.name is None:
        names += [sent.get(kind.naming), documents.name_of(site, kind, sent)]
    return [str(name) for name in names if name]


def _refusal(error: EngineError, headers: dict[str, str], *, tracebacks: bool) -> Response:
    answer = error.answer
    if "text/html" in headers.get("accept", ""):
        text = answer.exception or answer.exc_type
        page = f'<!DOCTYPE html>\n<html lang="en">\n<body>{text}</body>\n</html>\n'
        return _finished(Response(page, answer.status, media_type="text/html"))
    body = answer.body()
    if not tracebacks:  # 11-errors-without-traceback
        body = {key: body[key] for key in body.keys() - {"exception", "exc", "_exc_source"}}
    response = JSONResponse(body, status_code=answer.status)
    response.headers.update(answer.headers)
    return _finished(response)


def _page(error: PageError) -> Response:
    return Response(
        error.page,
        error.status,
        {"server": "gunicorn", **error.headers},
        media_type="text/html",
    )


def _finished(response: Response) -> Response:
    response.headers["server"] = "gunicorn"
    for cookie in _COOKIES:
        response.headers.append("set-cookie", cookie)
    return response
