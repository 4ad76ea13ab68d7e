"""Names at the engine: how ERPNext compares them, and which ones a tenant's documents get."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_ABBREVIATION = 10
# ERPNext names the cost center "<company> - <abbr>" in a column of 140 characters
# (recording 02-company-create-name-length), so name + 3 + abbreviation must fit.
COST_CENTER_LENGTH = 140
MAX_COMPANY_NAME = COST_CENTER_LENGTH - 3 - MAX_ABBREVIATION

_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")
# Marks that only select how the preceding character is drawn, such as the one after many emoji:
# they have no weight in the collation, and no combining class in Unicode.
_NO_WEIGHT = re.compile("[\u034f\u180b-\u180d\ufe00-\ufe0f]")
# Letters that utf8mb4_unicode_ci treats as plain ones although Unicode does not decompose them
# (according to UCA 4.0.0, which the collation is built on).
_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe"})


def fold_name(name: str) -> str:
    """Convert a name into the form in which ERPNext compares names.

    MariaDB's utf8mb4_unicode_ci ignores case, accents and trailing blanks, and treats all
    characters beyond U+FFFF (emoji) as equal (recording 02-company-create-name-accents).

    Args:
        name: A name as a person wrote it.

    Returns:
        A text that is equal for names that the engine treats as equal.
    """
    if name.isascii():
        return name.strip().lower()  # what is below, where there is nothing to decompose
    # Must come before decomposing, which turns some letters beyond the BMP into plain ones.
    plain = _NO_WEIGHT.sub("", _BEYOND_BMP.sub("\ufffd", name.strip()))
    decomposed = unicodedata.normalize("NFKD", plain).casefold()
    decomposed = unicodedata.normalize("NFKD", decomposed).translate(_PLAIN)
    kept = (
        character
        for character in _BEYOND_BMP.sub("\ufffd", decomposed)
        if not unicodedata.combining(character) and unicodedata.category(character) != "Cf"
    )
    return "".join(kept).strip()


def abbreviation_of(company_name: str) -> str:
    """Propose an abbreviation: the initials of up to three words, only A-Z and 0-9.

    `Café "Ñandú" & Söhne/2` gives CNS. A single word gives its first five characters, and a
    name without usable characters gives CO.
    """
    plain = unicodedata.normalize("NFKD", company_name).upper()
    words = [re.sub(r"[^A-Z0-9]", "", word) for word in plain.split()]
    words = [word for word in words if word]
    initials = "".join(word[0] for word in words[:3])
    if len(initials) > 1:
        return initials
    return "".join(words)[:5] or "CO"


def numbered_abbreviation(base: str, number: int) -> str:
    """Return the candidate with that number: the base itself, then base2, base3.

    Args:
        base: What `abbreviation_of` proposes, cut so that the number fits.
        number: Counted from 1.

    Returns:
        At most `MAX_ABBREVIATION` characters.
    """
    if number < 2:  # noqa: PLR2004 - the first candidate carries no number
        return base[:MAX_ABBREVIATION]
    suffix = str(number)
    return base[: MAX_ABBREVIATION - len(suffix)] + suffix


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """The names of the documents made for one tenant, computed before they are requested."""

    company: str
    abbreviation: str

    def with_suffix(self, name: str) -> str:
        """Return "name - ABBR", as ERPNext names warehouses, accounts, cost centers.

        ERPNext adds the suffix itself (recording 02-company-creates-by-itself).
        """
        return f"{name} - {self.abbreviation}"

    @property
    def price_list(self) -> str:
        """The tenant's selling price list."""
        return f"Retail {self.abbreviation}"

    @property
    def customer(self) -> str:
        """The tenant's walk-in customer."""
        return f"Walk-In Customer - {self.abbreviation}"

    @property
    def pos_profile(self) -> str:
        """The tenant's POS Profile; unique on the site."""
        return f"POS {self.abbreviation}"

    @property
    def item_group(self) -> str:
        """The group of the demo items."""
        return f"Demo {self.abbreviation}"

    def opening_entry(self, number: int) -> str:
        """The POS Opening Entry with that number, counted from 1."""
        return f"POS-OPE-{self.abbreviation}-{number}"

    def demo_item(self, number: int) -> str:
        """The demo item with that number, counted from 1."""
        return f"DEMO-{self.abbreviation}-{number:03d}"
