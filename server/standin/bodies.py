"""Reading a request's body, whatever its Content-Type says.

Facts: 11-content-type, 11-bad-json, 11-odd-bytes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from server.standin import errors

if TYPE_CHECKING:
    from server.standin.schema import Document

_FORM = "application/x-www-form-urlencoded"


def parse_body(raw: bytes, content_type: str) -> Document:
    """Return the body as an object, or refuse it as ERPNext does.

    Args:
        raw: The body as it came; an empty one is an empty object.
        content_type: The header; only that of a form makes a difference.

    Raises:
        EngineError: it is no object, no JSON or not UTF-8 (11-bad-json, 11-odd-bytes).
    """
    if not raw:
        return {}
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise errors.crashed(
            "AttributeError", "AttributeError: 'bytes' object has no attribute 'pop'"
        ) from error
    if content_type.startswith(_FORM):
        form: Document = dict(parse_qsl(text, keep_blank_values=True))
        return _object(form["data"]) if set(form) == {"data"} else form
    return _object(text)


def _object(text: str) -> Document:
    try:
        sent = json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.crashed("JSONDecodeError", f"json.decoder.JSONDecodeError: {error}") from error
    if isinstance(sent, list):
        raise errors.crashed("TypeError", "TypeError: pop expected at most 1 argument, got 2")
    if not isinstance(sent, dict):
        raise errors.refused("Invalid request arguments")
    return sent
