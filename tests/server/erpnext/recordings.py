"""The recorded exchanges with a real ERPNext, as requests and replies of the adapter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from server.erpnext.reply import Reply
from server.model.step_context import Request

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "data" / "erpnext-recordings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One recorded call; `reply` is None where no answer came."""

    case: str
    index: int
    request: Request
    reply: Reply | None
    note: str


def exchanges() -> Iterator[Exchange]:
    """Give every recorded call of every file."""
    for file in sorted(FOLDER.glob("*.json")):
        yield from exchanges_of(file.stem)


def exchanges_of(case: str) -> list[Exchange]:
    """Give the calls of one file, in order."""
    recorded = json.loads((FOLDER / f"{case}.json").read_text(encoding="utf-8"))
    return [_exchange(case, index, each) for index, each in enumerate(recorded["exchanges"])]


def _exchange(case: str, index: int, recorded: dict[str, Any]) -> Exchange:  # Any: JSON
    asked, answered = recorded["request"], recorded["response"]
    body = asked.get("body")
    request = Request(
        method=asked["method"],
        path=asked["path"],
        params=asked.get("query") or {},
        body=body if isinstance(body, dict) else None,
        doctype=_doctype(asked["path"], body),
    )
    reply = None
    if answered["status"] is not None:
        text = answered.get("body")
        reply = Reply(
            status=answered["status"],
            headers={name: str(value) for name, value in answered["headers"].items()},
            body=(text if isinstance(text, str) else json.dumps(text)).encode(),
        )
    return Exchange(
        case=case, index=index, request=request, reply=reply, note=recorded.get("note", "")
    )


def _doctype(path: str, body: object) -> str:
    if path.startswith("/api/resource/"):
        return unquote(path.split("/")[3])
    if isinstance(body, dict):
        document = body.get("doc", body)
        return str(document.get("doctype", "")) if isinstance(document, dict) else ""
    return ""
