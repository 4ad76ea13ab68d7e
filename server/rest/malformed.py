"""Answers what is not HTTP with JSON in the form of all our errors; uvicorn has plain text.

The application can't do it: the protocol answers this before there is a request.
"""

from __future__ import annotations

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.rest.answers import compact, typed

_SAID = compact(
    {
        "detail": typed(
            "malformed_request",
            "This is not a readable HTTP request, or its head is too long. Nothing was done.",
        )
    }
)


class Http11(H11Protocol):
    """uvicorn's protocol, with an answer that a script can read."""

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
