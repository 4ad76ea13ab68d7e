"""What the failures of many tenants have in common: step, error code, and a generalised message.

Two tenants that fail for the same reason get different messages, because these contain their
names, numbers and ids. What is left without those tells whether the reason is the same.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# This much of a message tells one error from another; what follows is detail.
_MOST = 200

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\u201c[^\u201d]*\u201d")
# A document of a Company ends in its abbreviation: "Main Store - KS".
_ABBREVIATION = re.compile(r" - [A-Z0-9]{1,10}\b")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure, reduced to what another tenant's may have in common with it.

    Attributes:
        step_key: The step that failed; "" for the record as a whole.
        code: The error's code.
        message: The message as `normalised` returns it.
    """

    step_key: str
    code: str
    message: str

    @property
    def fingerprint(self) -> str:
        """A digest that is the same for the same failure of any tenant."""
        text = "\n".join((self.step_key, self.code, self.message))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def normalised(message: str, *, names: tuple[str, ...] = ()) -> str:
    """Remove from a message whatever belongs to one tenant.

    Args:
        message: The message as it was recorded.
        names: The tenant's own names, such as its company's.

    Returns:
        At most 200 characters, in lower case.
    """
    text = message
    for name in sorted(filter(None, names), key=len, reverse=True):
        # Whole words only: a company called Go does not occur in "category".
        whole = rf"(?<!\w){re.escape(name)}(?!\w)"
        text = re.sub(whole, "<name>", text, flags=re.IGNORECASE)
    for pattern, mark in (
        (_ID, "<id>"),
        (_QUOTED, "<name>"),
        (_ABBREVIATION, " - <abbr>"),
        (_NUMBER, "<n>"),
        (_BLANKS, " "),
    ):
        text = pattern.sub(mark, text)
    return text.strip().lower()[:_MOST]
