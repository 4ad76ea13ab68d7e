"""Lists the Companies of a site; reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.requests import rows
from server.erpnext.seeing import rows_of, text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]

# More than any site has: making a Company takes 0.2 s longer for each that exists.
_MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyThere:
    """A Company of a site.

    Attributes:
        name: Its name as the engine spells it.
        owner: The ERPNext user who made it.
        made_at: When it was made, as ERPNext writes it: in the site's time zone, without naming it.
    """

    name: str
    owner: str
    made_at: str


async def companies_of(send: Send) -> tuple[CompanyThere, ...]:
    """Return the Companies of a site, sorted by name.

    Raises:
        EngineError: the site can't be asked now.
    """
    answer = await send(rows("Company", fields=("name", "owner", "creation"), limit=_MOST))
    found = (
        CompanyThere(
            name=text(row, "name"), owner=text(row, "owner"), made_at=text(row, "creation")
        )
        for row in rows_of(answer)
    )
    return tuple(sorted(found, key=lambda company: company.name))
