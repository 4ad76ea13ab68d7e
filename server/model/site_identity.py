"""Whether a site is still the same one: pure decisions (promise 8).

A site that was set up anew, restored from another backup or replaced under the same address
holds other books. Nothing may be written to it until a person says so.
"""

from __future__ import annotations

from enum import Enum, auto

# Codes of a shut gate that opens by itself when the old site is back, or when a person accepts
# the site as it is.
OPENED_BY_ACCEPTING = frozenset({"SITE_CHANGED", "COMPANIES_VANISHED"})

# If this many tenants of one site have lost their Company, it is the site that has a problem.
VANISHED_SHUT_A_SITE = 3


class SiteVerdict(Enum):
    """What a site's identity says."""

    FIRST_SIGHT = auto()
    SAME = auto()
    CHANGED = auto()
    UNKNOWN = auto()


def judge_site(stored: str | None, seen: str | None) -> SiteVerdict:
    """Compare the identity that a site had with the one it has now.

    Args:
        stored: Its identity at first sight, or None.
        seen: Its identity now, or None if it has none (yet).

    Returns:
        FIRST_SIGHT: store it. UNKNOWN: there is nothing to compare, go on. CHANGED: write
        nothing. A site that had an identity and no longer has one has changed, too.
    """
    if stored is None:
        return SiteVerdict.UNKNOWN if seen is None else SiteVerdict.FIRST_SIGHT
    return SiteVerdict.SAME if stored == seen else SiteVerdict.CHANGED


def is_shut_by_vanished(missing: int) -> bool:
    """Tell whether this many vanished Companies of one site shut its gate."""
    return missing >= VANISHED_SHUT_A_SITE
