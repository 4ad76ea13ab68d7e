"""Identifiers: text exactly as on the wire, UUIDv7 unless a caller chose one.

A UUIDv7 (RFC 9562, section 5.7) begins with the time, so rows made one after the other are next
to each other in an index.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

if TYPE_CHECKING:
    from datetime import datetime

TenantId = NewType("TenantId", str)
RunId = NewType("RunId", str)
AttemptId = NewType("AttemptId", str)
WorkerId = NewType("WorkerId", str)
SiteKey = NewType("SiteKey", str)

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """Names an order, so that a repeated one is recognised.

    Attributes:
        caller: Who gave it: ids are each caller's own.
        method: The name of the method that was called.
        request_id: What the caller sent as the order's id; never "".
        body_hash: A digest of what was ordered, so that another order under the same id is noticed.
    """

    caller: str
    method: str
    request_id: str
    body_hash: str


def new_id(now: datetime) -> str:
    """Make a UUIDv7 (RFC 9562, section 5.7).

    Args:
        now: The time it contains, timezone-aware.

    Returns:
        The canonical 36-character lower-case text.
    """
    milliseconds = int(now.timestamp() * 1000) & ((1 << 48) - 1)
    # Not for security: no id grants access. Seeded by the system, separately in each process.
    chance = random.getrandbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (chance >> 62) << 64
    value |= 0b10 << 62 | chance & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def canonical_uuid(text: str) -> str | None:
    """Convert a UUID into its canonical form.

    Args:
        text: What a caller sent; upper case is accepted, other spellings are not.

    Returns:
        The lower-case text, or None if it is not a UUID.
    """
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None
