"""Guards HTTP: which Host is answered, whose pages may write, how much may be sent.

A page can make somebody's browser send requests to 127.0.0.1, under a name of its own (DNS
rebinding) or across origins; without authentication neither needs a password. So a Host that is not
ours, and a write from a page that is not ours, are refused before anything is routed. Bodies are
read here, up to the limit: the application behind the door gets them whole.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from server.limits import BODY_SECONDS, HTTP_PER_ADDRESS, MAX_HEADER_BYTES, MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from server.settings import Settings

    # Any: ASGI's own types.
    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# The origins of the old web front end.
LEGACY_ORIGINS = (
    "http://localhost:4000",
    "http://localhost:3000",
    "http://127.0.0.1:4000",
    "http://127.0.0.1:3000",
    "http://app.localhost",
)
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_TOO_MANY = 429
_OF_THIS_PAGE = frozenset({"same-origin", "none"})


class HttpDoor:
    """ASGI middleware in front of the application."""

    def __init__(
        self,
        app: AsgiApp,
        *,
        hosts: frozenset[str],
        origins: frozenset[str],
        most_per_address: int = HTTP_PER_ADDRESS,
    ) -> None:
        """Put a door in front of an application.

        Args:
            app: The application behind it.
            hosts: Names it answers to besides the loopback ones, in lower case, without ports.
            origins: Origins whose pages may write, besides its own.
            most_per_address: Most requests of one address under way at once.
        """
        self._app = app
        self._hosts = hosts
        self._origins = origins
        self._most_per_address = most_per_address
        self._under_way: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = scope.get("client")
        address = str(client[0]) if client else ""
        if self._under_way[address] >= self._most_per_address:
            await _refuse(
                send, _TOO_MANY, "Too many requests from this address are under way. Wait."
            )
            return
        self._under_way[address] += 1
        try:
            await self._answer(scope, receive, send)
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]

    def under_way(self, address: str) -> int:
        """Return how many requests of an address are under way.

        Args:
            address: As ASGI names the client: without a port; "" for clients that have none.
        """
        return self._under_way[address]

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        refusal = self._refusal(str(scope["method"]), headers)
        if refusal is None and _has_body(headers):
            body = await _body(headers, receive)
            if isinstance(body, bytes):
                receive = _replay(body, receive)
            else:
                refusal = body
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await _refuse(send, *refusal)

    def _refusal(self, method: str, headers: dict[str, list[str]]) -> tuple[int, str] | None:
        if _size(headers) > MAX_HEADER_BYTES:
            return 431, f"The headers are larger than {MAX_HEADER_BYTES} bytes."
        hosts = headers.get("host", [])
        if len(hosts) != 1 or not hosts[0]:
            return 400, "The request names no Host, or several. Send one."
        if not self._is_ours(hosts[0]):
            return 421, (
                "This server does not answer to that Host. Name it in PROVISIONER_ALLOWED_HOSTS, "
                "or call 127.0.0.1."
            )
        if method not in _READS and not self._may_write(hosts[0], headers):
            return 403, (
                "A page of another origin may not write here. Name its origin in "
                "PROVISIONER_ALLOWED_ORIGINS."
            )
        return None

    def _is_ours(self, host: str) -> bool:
        name = host_name(host)
        return name in self._hosts or is_loopback_name(name)

    def _may_write(self, host: str, headers: dict[str, list[str]]) -> bool:
        origins = headers.get("origin", [])
        if not origins:
            # Browsers send at least this header; programs send neither.
            sites = headers.get("sec-fetch-site", [])
            return all(site.lower() in _OF_THIS_PAGE for site in sites)
        return all(
            origin.lower() in self._origins
            or origin.lower() in {f"http://{host.lower()}", f"https://{host.lower()}"}
            for origin in origins
        )


def door_for(app: AsgiApp, settings: Settings) -> HttpDoor:
    """Put a door with these settings in front of an application."""
    return HttpDoor(app, hosts=allowed_hosts(settings), origins=allowed_origins(settings))


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that HTTP answers to, besides the loopback ones.

    Returns:
        In the form of `host_name`: those in the settings, and the name or address it listens at.
    """
    listed = {host_name(host) for host in settings.allowed_hosts.split(",") if host}
    own = settings.http_address.host.lower()
    # The addresses that stand for "every address of this machine" are nobody's name.
    return frozenset(listed | ({own} - {"0.0.0.0", "::"}))  # noqa: S104 - compared, not bound


def allowed_origins(settings: Settings) -> frozenset[str]:
    """Return the origins whose pages may call, besides the server's own."""
    listed = {origin for origin in settings.allowed_origins.split(",") if origin}
    return frozenset(listed | (set(LEGACY_ORIGINS) if settings.compat else set()))


def host_name(host: str) -> str:
    """Return the name in a Host header: in lower case, without port, brackets or final dot."""
    lowered = host.strip().lower()
    if lowered.startswith("["):
        return lowered[1:].partition("]")[0]
    name, colon, port = lowered.rpartition(":")
    if colon and ":" not in name and port.isdigit():
        lowered = name
    return lowered.rstrip(".")


def is_loopback_name(name: str) -> bool:
    """Tell whether a name can only mean the caller's own machine.

    That is an address of 127.0.0.0/8 or ::1, or a name that ends in localhost (RFC 6761, section
    6.3).

    Args:
        name: In the form of `host_name`.
    """
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _headers(scope: Scope) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return headers


def _size(headers: dict[str, list[str]]) -> int:
    return sum(len(name) + len(value) for name, values in headers.items() for value in values)


def _has_body(headers: dict[str, list[str]]) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", ["0"]) != ["0"]


async def _body(headers: dict[str, list[str]], receive: Receive) -> bytes | tuple[int, str]:
    """Return the body, or the status and the reason of the refusal."""
    too_large = 413, f"The body is larger than {MAX_REQUEST_BYTES} bytes."
    length = headers.get("content-length", [""])[0]
    if length.isdigit() and int(length) > MAX_REQUEST_BYTES:
        return too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return 400, "The body was not sent to its end."
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > MAX_REQUEST_BYTES:
                    return too_large
    except TimeoutError:
        return 408, f"The body was not sent within {BODY_SECONDS:g} s."
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    left = [body]

    async def again() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return again


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == _TOO_MANY:
        headers.append((b"retry-after", b"1"))
    if status in {408, 413}:
        # The rest of the body must not be taken for the next request.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
