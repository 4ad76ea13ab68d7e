"""What many tenants' failures have in common: step, error code and the message's bare bones.

Two tenants that fail for one reason get different messages: their names, numbers and ids
are in them. What is left without those tells whether it is one reason.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# So much of a message tells one error from another; what follows is detail.
_MOST = 200

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.IGNORECASE)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|\u201c[^\u201d]*\u201d")
# A document of a Company ends in its abbreviation: "Main Store - KS".
_ABBREVIATION = re.compile(r" - [A-Z0-9]{1,10}\b")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure, as far as it can be another tenant's too.

    Attributes:
        step_key: Where; "" for the record as a whole.
        code: The error's code.
        message: Normalised.
    """

    step_key: str
    code: str
    message: str

    @property
    def fingerprint(self) -> str:
        """The same for the same failure of any tenant."""
        text = "\n".join((self.step_key, self.code, self.message))
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def normalised(message: str, *, names: tuple[str, ...] = ()) -> str:
    """Take out of a message what is one tenant's own.

    Args:
        message: As it was recorded.
        names: The tenant's own names, such as its company's.
    """
    text = message
    for name in sorted(filter(None, names), key=len, reverse=True):
        # Whole words: a company called Go is not in "category".
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
