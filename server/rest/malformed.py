"""Deals with what is not HTTP: answers it in the form of all our errors, or hangs up.

The application can't do it: the protocol sees this before there is a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.limits import HEAD_SECONDS
from server.rest.answers import compact, typed

if TYPE_CHECKING:
    import asyncio

_SAID = compact(
    {
        "detail": typed(
            "malformed_request",
            "This is not a readable HTTP request, or its head is too long. Nothing was done.",
        )
    }
)


class Http11(H11Protocol):
    """uvicorn's protocol, with an answer that a script can read, and an end to waiting for a head.

    A connection on which nobody sends a request, or never ends its head, would stay open for ever.
    Each is an open file of this process, which needs some for its engines and its database.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Wait for a request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what was sent; the time for a head begins with the first part of it."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._wait_no_longer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._wait_no_longer()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the library's signature
        """Answer that the request could not be read, and hang up."""
        head = h11.Response(
            status_code=400,
            headers=[
                (b"content-type", b"application/json"),
                (b"content-length", str(len(_SAID)).encode()),
                (b"connection", b"close"),
            ],
            reason=b"Bad Request",
        )
        for event in (head, h11.Data(data=_SAID), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
