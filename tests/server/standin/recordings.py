"""Reads recorded exchanges and compares an answer with a recorded one.

Compared are status, what a client reads the answer by (content type, when to come again, which
keys), type and text of an error, messages of a success, every field of a document and every row
of a list; not compared are times, names that are random, and what was cut when it was recorded.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

FOLDER = Path(__file__).parents[2] / "data" / "erpnext-recordings"
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")
_RANDOM = re.compile(r"[0-9a-z]{10}")
# Entries of the ledger are made with no answer that would tell their names.
_ENTRY = re.compile(r"GL Entry/[0-9a-z]{10}(\\?\")>[0-9a-z]{10}<")
# What tells a client how to read an answer, and when to come again.
_COMPARED_HEADERS = ("content-type", "retry-after", "allow")
_UNCOMPARED = {"creation", "modified", "lft", "rgt", "__unsaved", "__islocal", "userid"}


def exchanges(case: str) -> list[dict[str, Any]]:  # Any: JSON
    loaded = json.loads((FOLDER / f"{case}.json").read_text("utf-8"))
    return list(loaded["exchanges"])


@dataclass(slots=True)
class Replay:
    """Sends recorded requests; remembers what random names became."""

    client: httpx.AsyncClient
    names: dict[str, str] = field(default_factory=dict)

    async def send(self, recorded: dict[str, Any]) -> httpx.Response:  # Any: JSON
        query = {
            key: value if isinstance(value, str) else json.dumps(value)
            for key, value in recorded["query"].items()
        }
        headers = {
            key: recorded["headers"][key]
            for key in ("host", "accept", "content-type", "authorization")
            if key in recorded["headers"]
        }
        if headers.get("authorization") == "token <token>":
            headers["authorization"] = "token key:secret"
        path = self._renamed(recorded["path"])
        return await self.client.request(
            recorded["method"], path, params=query, headers=headers, content=_content(recorded)
        )

    def differences(
        self,
        answer: httpx.Response,
        recorded: dict[str, Any],  # Any: JSON
        *,
        fewer: bool = False,
    ) -> Iterator[str]:
        """Say where an answer is not the recorded one."""
        if answer.status_code != recorded["status"]:
            yield f"status {answer.status_code}, recorded {recorded['status']}: {answer.text[:300]}"
            return
        yield from _header_differences(answer, recorded)
        if recorded["body_kind"] != "json":
            if "trimmed" not in recorded["body"] and answer.text != recorded["body"]:
                yield f"text {answer.text!r}, recorded {recorded['body']!r}"
            return
        got, wanted = answer.json(), recorded["body"]
        if answer.status_code >= 400:
            yield from _error_differences(got, json.loads(self._renamed(json.dumps(wanted))))
            return
        if not fewer and got.keys() != wanted.keys():
            yield f"keys {sorted(got)}, recorded {sorted(wanted)}"
        if not fewer and (one := _messages(got)) != (other := _messages(wanted)):
            yield f"messages {one}, recorded {other}"
        wanted = wanted.get("data", wanted.get("message"))
        got = got.get("data", got.get("message"))
        if fewer:
            # Whole tables are left out with the fields: rows would name what is not there.
            wanted = {
                key: value
                for key, value in wanted.items()
                if key in got and not isinstance(value, list)
            }
        yield from self._value(got, wanted, "")

    def _renamed(self, text: str) -> str:
        for old, new in self.names.items():
            text = text.replace(old, new)
        return text

    def _value(self, got: Any, wanted: Any, where: str) -> Iterator[str]:  # Any: JSON
        if isinstance(wanted, dict) and isinstance(got, dict):
            for key in wanted.keys() - _UNCOMPARED:
                yield from self._value(got.get(key), wanted[key], f"{where}.{key}")
        elif isinstance(wanted, list) and isinstance(got, list):
            cut = bool(wanted) and isinstance(wanted[-1], str) and " more, " in wanted[-1]
            compared = wanted[:-1] if cut else wanted
            if len(got) < len(compared) or (len(got) > len(compared) and not cut):
                yield f"{where}: {got}, recorded {wanted}"
                return
            for position, (one, other) in enumerate(zip(got, compared, strict=False)):
                yield from self._value(one, other, f"{where}[{position}]")
        elif where.endswith(".name") and _RANDOM.fullmatch(wanted) and isinstance(got, str):
            self.names[wanted] = got
        elif wanted not in ({}, got):
            yield f"{where}: {got!r}, recorded {wanted!r}"


def _header_differences(
    answer: httpx.Response,
    recorded: dict[str, Any],  # Any: JSON
) -> Iterator[str]:
    for name in _COMPARED_HEADERS:
        one, other = (
            headers.get(name, "").partition(";")[0]
            for headers in (answer.headers, recorded["headers"])
        )
        if one != other:
            yield f"{name} {one!r}, recorded {other!r}"


def _content(recorded: dict[str, Any]) -> bytes | None:  # Any: JSON
    body = recorded["body"]
    if body is None or isinstance(body, str):
        return body.encode() if body else None
    if "form" in recorded["headers"].get("content-type", ""):
        return urlencode(body).encode()
    return json.dumps(body).encode()


def _error_differences(got: dict[str, Any], wanted: dict[str, Any]) -> Iterator[str]:  # Any: JSON
    if got["exc_type"] != wanted["exc_type"]:
        yield f"exc_type {got['exc_type']}, recorded {wanted['exc_type']}: {got}"
    for key in ("exception", "_exc_source", "_error_message"):
        one, other = _plain(got.get(key)), _plain(wanted.get(key))
        if one != other and "trimmed" not in other:
            yield f"{key} {one!r}, recorded {other!r}"
    if "trimmed" not in str(wanted.get("_server_messages")) and _messages(got) != _messages(wanted):
        yield f"messages {_messages(got)}, recorded {_messages(wanted)}"


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:  # Any: JSON
    texts = json.loads(body.get("_server_messages", "[]"))
    messages = [json.loads(_plain(text)) for text in texts]
    for message in messages:
        message.pop("__frappe_exc_id", None)
    return messages


def _plain(text: str | None) -> str:
    named = _ENTRY.sub("GL Entry/<entry><", str(text))
    return _TIME.sub("<time>", named).replace("erpnext.local:9010", "erpnext.local")
