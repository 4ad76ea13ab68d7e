"""How names are compared, cleaned and made.

Facts: 02-company-create-name-accents, -name-other-case, -name-spaces, -odd-names,
02-company-create-abbr-odd. Names are equal if they differ only in case, accents, outer blanks,
or in which emoji they contain: the database compares with `utf8mb4_unicode_ci`, to which every code
point above U+FFFF is the same.
"""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata

_BEYOND_BMP = re.compile("[\U00010000-\U0010ffff]")
# Not recorded, but in the collation's own table: marks that follow many emoji have no weight.
_NO_WEIGHT = re.compile("[\u034f\u180b-\u180d\ufe00-\ufe0f]")
# Not recorded: what the collation does to letters without a decomposition.
_PLAIN = str.maketrans({"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe"})
_TAG = re.compile(r"<[^>]*>")


# Every look-up and comparison folds, mostly the same few thousand names.
@functools.lru_cache(maxsize=65536)
def fold(text: object) -> str:
    """Return the form in which two equal names are the same text."""
    # Before decomposing: some letters above U+FFFF would turn into plain ones.
    weighed = _NO_WEIGHT.sub("", _BEYOND_BMP.sub("\ufffd", str(text)))
    plain = unicodedata.normalize("NFKD", weighed)
    marked = "".join(c for c in plain if not unicodedata.combining(c))
    return marked.casefold().translate(_PLAIN).strip()


def without_tags(text: str) -> str:
    """Remove what looks like HTML, as ERPNext does in the text fields that it stores."""
    return _TAG.sub("", text).strip()


def initials(company_name: str) -> str:
    """Return the abbreviation that ERPNext makes if none is sent."""
    return "".join(word[0] for word in company_name.split()).upper()


def row_name(seed: str, number: int) -> str:
    """Return the name of the n-th row of a site: ten characters, growing, never repeated.

    Args:
        seed: The site's name, so that rows of two sites have different names.
        number: How many there were, with this one.
    """
    mark = hashlib.sha256(seed.encode()).hexdigest()[:3]
    return f"{number:07d}{mark}"
