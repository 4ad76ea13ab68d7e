"""Reads a reply: its JSON, its error type and ERPNext's own words, without deciding anything.

`exception` and `exc` are missing if tracebacks are switched off (recording
11-errors-without-traceback), so nothing here depends on them; `exc` is never read at all.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from server.erpnext.requests import JsonObject
    from server.model.step_context import Request

# In characters: long enough for every sentence of ERPNext, short enough for a log line.
MAX_WORDS = 400
_TAG = re.compile(r"<[^<>]*>")
_DUPLICATE = re.compile(r"^\s*(?P<doctype>[^<>]+?)\s*<strong>(?P<name>.*)</strong>")
_NUMBER_IN_EXCEPTION = re.compile(r"Error: \((?P<number>\d+),")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as it came over the wire.

    Attributes:
        status: The HTTP status.
        headers: Values by name in lower case.
        body: The decompressed body, whole.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request and its reply, parsed.

    Attributes:
        request: What was asked.
        status: The HTTP status.
        retry_after: Seconds that the engine asks us to wait, or None.
        json: The body if it is a JSON object, else None (such as a web server's HTML page).
        text: The body as text, shortened, if it is not a JSON object; else "".
        exc_type: ERPNext's error type, or "".
        raw_words: ERPNext's messages with their markup.
        words: The same as plain text, shortened.
        exception: The traceback's last line, if tracebacks are on; only for details.
        location: Where a redirect points to: scheme, host and path; or "".
    """

    request: Request
    status: int
    retry_after: float | None
    json: JsonObject | None
    text: str
    exc_type: str
    raw_words: tuple[str, ...]
    words: str
    exception: str
    location: str = ""

    @property
    def is_foreign(self) -> bool:
        """Whether a refusal is not ERPNext's: an HTML page, or JSON of a gateway in front.

        ERPNext's own refusals always have a type (recordings' README, "Shapes of an answer"), or
        the list of errors that its newer routes give (recording 13-api-v2).
        """
        return self.json is None or not (self.exc_type or "errors" in self.json)

    @property
    def is_write(self) -> bool:
        """Whether the request may have changed something."""
        return self.request.method not in {"GET", "HEAD", "OPTIONS"}

    @property
    def duplicate_of(self) -> tuple[str, str]:
        """Doctype and name that exist, as a DuplicateEntryError says; "" if it does not say.

        The doctype is in the API user's language; the name is not translated.
        """
        for words in self.raw_words:
            if match := _DUPLICATE.match(words):
                return match["doctype"], html.unescape(match["name"])
        return "", ""

    @property
    def database_error(self) -> int:
        """The database's own error number; 0 if there is none, or tracebacks are off."""
        match = _NUMBER_IN_EXCEPTION.search(self.exception)
        return int(match["number"]) if match else 0


def read_reply(request: Request, reply: Reply) -> Case:
    """Read a reply; whatever the other side sent, nothing is raised.

    Args:
        request: What was asked.
        reply: What came back.

    Returns:
        The case, ready to be judged.

    Source: the README of the recordings, "Shapes of an answer".
    """
    decoded = _json_object(reply.body)
    fields = decoded or {}
    raw = _server_messages(fields.get("_server_messages"))
    exception = str(fields.get("exception") or "")
    said = str(fields.get("_error_message") or "") or exception
    words = " / ".join(plain(each) for each in raw) or plain(said)
    return Case(
        request=request,
        status=reply.status,
        retry_after=_seconds(reply.headers),
        json=decoded,
        text="" if decoded is not None else plain(reply.body.decode("utf-8", "replace")),
        exc_type=str(fields.get("exc_type") or ""),
        raw_words=raw,
        words=words[:MAX_WORDS],
        exception=exception,
        location=reply.headers.get("location", "").partition("?")[0][:MAX_WORDS],
    )


def clock_ahead(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return how far the answering side's clock is ahead of ours; None if it did not say.

    Args:
        headers: The answer's headers, by name in lower case.
        now: When the answer was there, with a zone.

    Returns:
        The difference, less than zero if the other clock is behind. Its time has whole seconds, and
        is as old as the answer was under way.
    """
    try:
        return parsedate_to_datetime(headers.get("date", "")) - now
    except (ValueError, TypeError, OverflowError):
        return None


def plain(text: str) -> str:
    """Return text without markup and superfluous blanks, shortened to `MAX_WORDS` characters."""
    return " ".join(html.unescape(_TAG.sub(" ", text)).split())[:MAX_WORDS]


def _json_object(body: bytes) -> JsonObject | None:
    try:
        decoded: Any = json.loads(body)  # Any: whatever the other side sent
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _server_messages(value: object) -> tuple[str, ...]:
    # A list of strings, each of them an object: JSON in JSON in JSON. Broken parts are skipped,
    # so that the rest is still heard.
    texts = _decoded(value)
    if not isinstance(texts, list):
        return ()
    found = [_decoded(each) for each in texts]
    return tuple(
        str(each["message"]) for each in found if isinstance(each, dict) and "message" in each
    )


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Return a Retry-After in seconds; it may be a date, by the answering side's clock."""
    wish = headers.get("retry-after", "").strip()
    if wish.isdecimal():
        return float(wish)
    try:
        # Proxies send dates. Without the answer's own date there is no clock to compare with.
        seconds = parsedate_to_datetime(wish) - parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return max(seconds.total_seconds(), 0.0)
