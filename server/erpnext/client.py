"""The engine: sends the one request that a step asks for, and says what came of it.

It promises that no secret is in a repr, an error or a log line; that no cookie is kept or sent
(every answer to a call with a token sets some, recording 01-ping); that no redirect is followed;
and that an answer is bounded in size and time. It never repeats a request: that is for the
executor to decide.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from typing import TYPE_CHECKING

import httpx

from server.erpnext.address import base_url, host_header, shared_tls_context
from server.erpnext.check import Checked, check_site, clock_finding, engine_line
from server.erpnext.classify import Failure, judge_failure, judge_reply
from server.erpnext.codes import Code
from server.erpnext.health import READ_ONLY, READ_ONLY_CHECKS, READ_ONLY_HEALTH, check_health
from server.erpnext.identity import find_missing_companies, read_identity
from server.erpnext.refused import RefusedDoctypes
from server.erpnext.reply import Reply, clock_ahead
from server.erpnext.requests import PING
from server.erpnext.steps import STEPS
from server.erpnext.timeouts import TimedStep, Timeouts
from server.erpnext.undo import UNDO_STEPS
from server.errors import EngineError, SettingsError
from server.model.blueprint import ERPNEXT
from server.model.states import ErrorClass, GateState
from server.model.step_context import DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection
    from datetime import timedelta
    from pathlib import Path

    from server.model.step_context import Answer, EngineHealth, Request, Step

# gunicorn accepts 4094 bytes for the whole line (recording 11-url-too-long); a proxy adds none.
MAX_REQUEST_LINE = 4000
# The answer about a Mode of Payment holds a row for every Company of the site; anything larger
# than this is not an answer to what is asked here.
MAX_BODY_BYTES = 8 * 1024 * 1024
CONNECT_SECONDS = 5.0
# Less than gunicorn's two seconds, so that no write uses a connection that gunicorn is just
# closing: its outcome would be unknown.
KEEP_ALIVE_SECONDS = 1.5
_PROBER_CONNECTIONS = 2
# ERPNext's have 15 characters. Whatever is much shorter is none, and may stand in any text.
_SHORTEST_KEY = 8
_BLANK = "…".encode()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """The API key and secret of the API user; neither is ever shown.

    Attributes:
        api_key: Printable ASCII without blanks, as in all keys that ERPNext makes.
        api_secret: The same.

    Raises:
        SettingsError: one is empty, or has other characters.
    """

    api_key: str
    api_secret: str

    def __post_init__(self) -> None:
        for part in (self.api_key, self.api_secret):
            if not part or not part.isascii() or not part.isprintable() or " " in part:
                raise SettingsError(
                    "An API key or secret is empty, or holds blanks or characters that no ERPNext "
                    "key has; check the engine's key files."
                )

    def __repr__(self) -> str:
        return "Credentials(…)"

    @property
    def authorization(self) -> str:
        """The value of the Authorization header."""
        return f"token {self.api_key}:{self.api_secret}"

    def blanked(self, text: bytes) -> bytes:
        """Return an answer without the key and the secret, if it repeats them.

        What stands in front of a site when an address is wrong may show every header that it got:
        default pages of gateways and pages for debugging do. A part of an answer is kept with the
        attempt, and shown.

        Args:
            text: A body or a header as it came, in bytes. A key or secret of fewer than
                `_SHORTEST_KEY` characters is not looked for: it may stand in any text.
        """
        for part in (self.api_secret, self.api_key):
            if len(part) >= _SHORTEST_KEY:
                text = text.replace(part.encode(), _BLANK)
        return text


class ErpNextEngine:
    """One ERPNext site.

    It is used on one event loop, and holds connections until `close`.
    """

    def __init__(
        self,
        *,
        url: str,
        credentials: Credentials | Callable[[], Credentials],
        host: str = "",
        ca_file: Path | None = None,
        timeouts: Timeouts | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        max_connections: int = 100,
        transport: httpx.AsyncBaseTransport | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare the adapter; nothing is sent.

        Args:
            url: Where the site answers, such as "https://erp.example.com".
            credentials: The API user's; or a function that returns the current ones, called
                before each request.
            host: The Host header that names the site, if it is not the url's host.
            ca_file: Certificates of a private authority, trusted in addition to the public ones.
            timeouts: The site's own time limits; None for those of the steps.
            connect_seconds: Time limit for connecting, and for getting a free connection; the
                limit for the answer comes with each request.
            max_connections: Most requests at once; the prober has its own in addition.
            transport: For tests; None for real HTTP.
            now: Returns the current time, in UTC.

        Raises:
            SettingsError: the url, the host or the file of certificates is no good.
        """
        self._base = base_url(url)
        self._host = host_header(host)
        self._credentials = credentials
        self._timeouts = timeouts or Timeouts()
        self._connect_seconds = connect_seconds
        # A site in maintenance may answer reads and refuse writes. Checks only read, so the next
        # few of them are told what a write met.
        self._read_only_checks = 0
        self._refused = RefusedDoctypes()
        self._now = now
        self._clock_ahead: timedelta | None = None
        context = shared_tls_context(self._base, ca_file)
        self._client = self._new_client(max_connections, context, transport)
        # A client of its own, so that a queue of ours is never mistaken for an outage.
        self._prober = self._new_client(_PROBER_CONNECTIONS, context, transport)

    def __repr__(self) -> str:
        return f"ErpNextEngine({self.site!r})"

    @property
    def site(self) -> str:
        """Url and host in one spelling, which no two engines may share."""
        return f"{self._base} host={self._host or httpx.URL(self._base).netloc.decode()}"

    @property
    def blueprint_name(self) -> str:
        """The name of the blueprint that its steps belong to."""
        return ERPNEXT.name

    @property
    def timeout_seconds(self) -> float:
        """For how many seconds it waits for the answer to a request without a limit of its own."""
        return self._timeouts.seconds or DEFAULT_TIMEOUT_SECONDS

    def step(self, key: str) -> Step:
        """Return the step with that key.

        Raises:
            KeyError: the blueprint has no such step.
        """
        step = STEPS[key] if key in STEPS else UNDO_STEPS[key]
        return step if self._timeouts == Timeouts() else TimedStep(step, self._timeouts)

    async def send(self, request: Request) -> Answer:
        """Send one request, once, and classify the answer.

        Returns:
            An answer of the kind OK, MISSING or EXISTS.

        Raises:
            EngineError: no answer came, or one that a step can't work with; REQUEST_TOO_LONG if
                nothing was sent for that reason.
        """
        try:
            answer = await self._send(self._client, request)
        except EngineError as error:
            if error.exc_type == READ_ONLY:
                self._read_only_checks = READ_ONLY_CHECKS
            if error.code == Code.ROLE_MISSING:
                self._refused.add(request.doctype)
            raise
        if request.method != "GET":
            self._read_only_checks = 0
        elif request.doctype == "User" and answer.data is not None:
            self._refused.look_at(answer.data)
        return answer

    async def check(self) -> EngineHealth:
        """Ask whether the site takes work: up, right host, valid token, roles, accepts writes.

        It sends reads only, on connections of its own. That a site refuses writes is known from a
        write that met it: the next `READ_ONLY_CHECKS` checks say so, unless a write succeeds first.

        Returns:
            UP; or DOWN or MISCONFIGURED, with a code and what to do. Of a misconfigured site the
            message names everything that is wrong. Nothing that the engine answers is raised.
        """
        health = await check_health(self._ask)
        if health.state is GateState.UP:
            health = await self._refused.judge(self._ask)
        if health.state is GateState.UP and self._read_only_checks:
            self._read_only_checks -= 1
            return READ_ONLY_HEALTH
        if health.state is GateState.MISCONFIGURED:
            # Everything that is wrong, so that one visit to ERPNext fixes it.
            checked = await check_site(self._ask, "")
            return replace(health, message=engine_line(health.message, checked))
        return health

    async def identity(self) -> str | None:
        """Return what identifies the site: the time of its set-up; None before it was set up.

        Raises:
            EngineError: it can't be read now.
        """
        return await read_identity(self._ask)

    async def missing_companies(self, names: Collection[str]) -> frozenset[str]:
        """Return those of the given Companies that the site does not have.

        Args:
            names: Names of Companies; each costs one request.

        Raises:
            EngineError: one of them can't be looked up now.
        """
        return await find_missing_companies(self._ask, names)

    async def check_all(self, country_code: str) -> Checked:
        """Check everything the site must have, without stopping at the first thing wrong.

        Args:
            country_code: The country whose charts of accounts are looked up; "" for none.

        Returns:
            The table, with a last line about the site's clock. Nothing that the engine answers is
            raised.
        """
        checked = await check_site(self._ask, country_code)
        clock = clock_finding(self._clock_ahead)
        return replace(checked, findings=(*checked.findings, clock))

    async def _ask(self, request: Request) -> Answer:
        """Send one of the prober's reads, on the prober's own connections."""
        return await self._send(self._prober, request)

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
        await self._prober.aclose()

    async def _send(self, client: httpx.AsyncClient, request: Request) -> Answer:
        judgement = judge_reply(request, await self._exchange(client, request))
        if isinstance(judgement, EngineError):
            raise judgement
        return judgement

    async def _exchange(self, client: httpx.AsyncClient, request: Request) -> Reply:
        current = self._current()
        prepared = self._prepare(client, request, current)
        try:
            # A limit for the whole exchange, because httpx only bounds each piece of an answer.
            # The wait for a free connection, connecting and TLS are added to the request's own.
            async with asyncio.timeout(request.timeout_seconds + 3 * self._connect_seconds):
                response = await client.send(prepared, stream=True)
                try:
                    body = await _bounded_body(response)
                finally:
                    await response.aclose()
        except TimeoutError as error:
            raise judge_failure(request, Failure.TIMED_OUT, "time limit") from error
        except _TooLargeError as error:
            raise judge_failure(request, Failure.TOO_LARGE, "too large") from error
        except httpx.HTTPError as error:
            # Neither the error nor its text is passed on: h11 quotes the headers it refuses.
            raise judge_failure(request, _failure_of(error), _kind_of(error)) from None
        headers = {
            name.lower(): current.blanked(value.encode()).decode()
            for name, value in response.headers.items()
        }
        self._clock_ahead = clock_ahead(headers, self._now())
        return Reply(status=response.status_code, headers=headers, body=current.blanked(body))

    def _current(self) -> Credentials:
        given = self._credentials
        return given if isinstance(given, Credentials) else given()

    def _prepare(
        self, client: httpx.AsyncClient, request: Request, current: Credentials
    ) -> httpx.Request:
        # English, because some refusals are told apart by their words. With a token this header
        # counts: Frappe chooses the language before it knows the user.
        headers = {"Accept": "application/json", "Accept-Language": "en"}
        if request.path != PING:  # which needs no token, and answers 401 to a bad one
            headers["Authorization"] = current.authorization
        if self._host:
            headers["Host"] = self._host
        content = None
        if request.body is not None:
            headers["Content-Type"] = "application/json"
            content = _json(request.body).encode()
        prepared = client.build_request(
            request.method,
            f"{self._base}{request.path}",
            params={name: _parameter(value) for name, value in request.params.items()} or None,
            headers=headers,
            content=content,
            timeout=httpx.Timeout(
                request.timeout_seconds,
                connect=self._connect_seconds,
                pool=self._connect_seconds,
            ),
        )
        line = len(f"{request.method}  HTTP/1.1") + len(prepared.url.raw_path)
        if line > MAX_REQUEST_LINE:
            raise EngineError(
                ErrorClass.PERMANENT,
                Code.REQUEST_TOO_LONG,
                f"{request.method} {request.doctype or request.path} would need a request line "
                f"of {line} bytes, more than {MAX_REQUEST_LINE}; nothing was sent. Report it.",
            )
        return prepared

    def _new_client(
        self,
        connections: int,
        context: ssl.SSLContext,
        transport: httpx.AsyncBaseTransport | None,
    ) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            verify=context,
            cookies=_NoCookies(),
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=KEEP_ALIVE_SECONDS,
            ),
            transport=transport,
        )


class _NoCookies(CookieJar):
    """Keeps and sends no cookies, and does not even parse them: a tenth of a request's work."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Ignore the cookies that an answer sets."""

    def add_cookie_header(self, request: object) -> None:
        """Add nothing."""


class _TooLargeError(Exception):
    """The answer is larger than we read."""


async def _bounded_body(response: httpx.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise _TooLargeError
    return bytes(body)


def _failure_of(error: httpx.HTTPError) -> Failure:
    if isinstance(error, httpx.PoolTimeout):
        return Failure.NO_CONNECTION_FREE
    not_sent = (
        httpx.ConnectError,
        httpx.ConnectTimeout,
        httpx.ProxyError,
        httpx.LocalProtocolError,
        httpx.UnsupportedProtocol,
    )
    if isinstance(error, not_sent):
        return Failure.NOT_SENT
    return Failure.TIMED_OUT if isinstance(error, httpx.TimeoutException) else Failure.CUT


def _kind_of(error: BaseException) -> str:
    # The types are enough: "ConnectError: SSLCertVerificationError" says what to fix.
    kind, cause = type(error).__name__, error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and type(cause) is not OSError:
            return f"{kind}: {type(cause).__name__}"
        cause = cause.__cause__ or cause.__context__
    return kind


def _parameter(value: object) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
