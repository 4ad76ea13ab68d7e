"""Whether a site is still the one that it was: pure decisions (promise 8).

A site that was set up anew, restored from another backup or replaced under the same address
holds other books. Nothing may be written to it before a person said so.
"""

from __future__ import annotations

from enum import Enum, auto

# Codes of a shut gate that opens by itself when the old site is back, or by a person's word
# that the site is right as it is.
OPENED_BY_ACCEPTING = frozenset({"SITE_CHANGED", "COMPANIES_VANISHED"})

# So many tenants of one site that lost their Company are no tenant's affair any more.
VANISHED_SHUT_A_SITE = 3


class SiteVerdict(Enum):
    """What a site's identity says."""

    FIRST_SIGHT = auto()
    SAME = auto()
    CHANGED = auto()
    UNKNOWN = auto()


def judge_site(stored: str | None, seen: str | None) -> SiteVerdict:
    """Compare who a site was with who it is.

    Args:
        stored: The identity at first sight, or None.
        seen: The identity now, or None where the site has none (yet).

    Returns:
        FIRST_SIGHT: store it. UNKNOWN: nothing to compare, go on. CHANGED: write nothing. A
        site that had an identity and has none now is another one, too.
    """
    if stored is None:
        return SiteVerdict.UNKNOWN if seen is None else SiteVerdict.FIRST_SIGHT
    return SiteVerdict.SAME if stored == seen else SiteVerdict.CHANGED


def is_shut_by_vanished(missing: int) -> bool:
    """Tell whether so many vanished Companies of one site close its gate."""
    return missing >= VANISHED_SHUT_A_SITE
