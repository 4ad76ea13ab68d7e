"""Lists the Companies of a site; reads nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.requests import rows
from server.erpnext.seeing import rows_of, text, utc
from server.erpnext.site import TIME_ZONE_REQUEST, load_zone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

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
        made_utc: The same in UTC; None if it is no time.
    """

    name: str
    owner: str
    made_at: str
    made_utc: datetime | None


async def companies_of(send: Send) -> tuple[CompanyThere, ...]:
    """Return the Companies of a site, sorted by name.

    Raises:
        EngineError: the site can't be asked now, or this machine does not know its time zone.
    """
    told = (await send(TIME_ZONE_REQUEST)).data
    zone = load_zone(str(told.get("time_zone") or "") if isinstance(told, dict) else "")
    answer = await send(rows("Company", fields=("name", "owner", "creation"), limit=_MOST))
    found = (
        CompanyThere(
            name=text(row, "name"),
            owner=text(row, "owner"),
            made_at=text(row, "creation"),
            made_utc=utc(text(row, "creation"), zone),
        )
        for row in rows_of(answer)
    )
    return tuple(sorted(found, key=lambda company: company.name))
