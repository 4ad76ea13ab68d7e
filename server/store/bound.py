"""Which abbreviations of a site are bound to tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.naming import fold_name

if TYPE_CHECKING:
    from server.store.database import Database


async def bound_abbreviations(
    database: Database, site: str, *, but_of: str = ""
) -> frozenset[str]:
    """Return the folded abbreviations of a site that tenants are bound to.

    Args:
        database: Where bindings are.
        site: The site.
        but_of: A tenant whose own does not count, or "".
    """
    bindings = await database.reads.bindings(site)
    return frozenset(
        fold_name(each.abbreviation)
        for each in bindings
        if each.abbreviation and each.tenant_id != but_of
    )
