"""Makes text, words and times that came over the wire safe and short to print.

Text of tenants, engines and logs is never trusted: an escape sequence in it could
recolour, hide or rewrite what an operator reads, so control characters are shown, not sent.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from provisioner.v1 import provisioning_pb2, tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from google.protobuf.timestamp_pb2 import Timestamp

# They change the direction of the text that follows, so that a line reads as something else.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def plain(text: str) -> str:
    r"""Return `text` on one line, with control characters shown as `\n`, `\x1b`, `\u202e`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def tenant_word(state: tenant_pb2.TenantState.ValueType) -> str:
    """Return the state as a word, such as "PARTIAL"; "UNKNOWN_99" for one of a newer service."""
    return _word(tenant_pb2.TenantState.items(), state, "TENANT_STATE_")


def step_word(state: tenant_pb2.StepState.ValueType) -> str:
    """Return the state as a word, such as "RUNNING"."""
    return _word(tenant_pb2.StepState.items(), state, "STEP_STATE_")


def level_word(level: provisioning_pb2.LogLevel.ValueType) -> str:
    """Return the level as a word, such as "WARNING"."""
    return _word(provisioning_pb2.LogLevel.items(), level, "LOG_LEVEL_")


def clock_time(moment: Timestamp) -> str:
    """Return a time of the day, UTC."""
    return _datetime(moment).strftime("%H:%M:%S")


def full_time(moment: Timestamp) -> str:
    """Return date and time, UTC."""
    return _datetime(moment).strftime("%Y-%m-%d %H:%M:%S UTC")


def _shown(character: str) -> str:
    if unicodedata.category(character) in _UNPRINTABLE or character in _TURNING:
        return character.encode("unicode_escape").decode("ascii")
    return character


def _word(names: Sequence[tuple[str, int]], number: int, prefix: str) -> str:
    for name, value in names:
        if value == number:
            return name.removeprefix(prefix)
    return f"UNKNOWN_{number}"  # sent by a newer service


def _datetime(moment: Timestamp) -> datetime:
    return moment.ToDatetime()
