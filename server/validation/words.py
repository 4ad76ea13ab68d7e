"""How messages describe a wrong value: shortened, escaped, and with the nearest right word."""

from __future__ import annotations

import difflib
import unicodedata
from typing import TYPE_CHECKING

from server.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable

# ERPNext keeps names in columns of 140 characters.
MAX_NAME = 140

_MAX_SHOWN = 60
# Embeddings, overrides and isolates: what follows one may be displayed in a false order.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, surrogates, line and paragraph separators.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})


def invalid(field: str, description: str) -> InvalidInput:
    """Return the error for one wrong field.

    Args:
        field: Its path in the message that was sent, such as "spec.currency".
        description: What is wrong and how to correct it, as the sentence that the field's name
            begins.
    """
    return InvalidInput((Violation(field=field, description=description),))


def unfit_character(text: str) -> str:
    """Name the first character that is not text, or return "".

    Control characters, line breaks and lone surrogates are none, nor is what reverses the display
    of text (UAX #9).
    """
    for character in text:
        if unicodedata.category(character) in _UNFIT:
            return f"a control character or line break (U+{ord(character):04X})"
        if character in _BIDI_CONTROLS:
            return f"a character that reverses text (U+{ord(character):04X})"
    return ""


def nearest(text: str, known: Iterable[str]) -> str:
    """Return a question that suggests the known word most like it; "" if none is like it.

    Args:
        text: What was sent, of any length.
        known: The words that there are.
    """
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(text[:_MAX_SHOWN].lower(), by_lower, n=1, cutoff=0.6)
    return f"Did you mean {by_lower[near[0]]}?" if near else ""


def shown(text: str) -> str:
    """Return what was sent, fit to be repeated: quoted, and no longer than a line."""
    # repr escapes whatever a terminal or a log would act on.
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")
