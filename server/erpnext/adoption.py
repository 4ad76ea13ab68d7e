"""Compares a Company that a person says is a tenant's with what the tenant should have.

It only reads. The engine can't prove whose Company it is, so a person decides that; everything
that can be compared is compared here, so that the person sees both sides first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.requests import get, rows
from server.erpnext.seeing import document_of, rows_of, text
from server.model.naming import fold_name
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.spec import TenantSpec
    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One thing in which a Company must agree with the tenant.

    Attributes:
        field: What is compared.
        want: What the tenant should have; "" if anything will do.
        have: What the engine has.
        agrees: Whether the Company may be adopted with that.
    """

    field: str
    want: str
    have: str
    agrees: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyLook:
    """An existing Company, compared with what the tenant should have.

    Attributes:
        name: Its name as the engine spells it.
        abbreviation: Its abbreviation.
        owner: The ERPNext user who made it.
        made_at: When it was made, as ERPNext writes it: in the site's time zone, without naming it.
        compared: Name, country, currency and kind, in this order, whether they agree or not.
    """

    name: str
    abbreviation: str
    owner: str
    made_at: str
    compared: tuple[Compared, ...]


async def look_at_company(send: Send, spec: TenantSpec) -> CompanyLook | None:
    """Read the Company with a tenant's name, and compare it.

    Args:
        send: Sends one request and classifies the answer; only reads are sent.
        spec: What the tenant should have.

    Returns:
        What was found; None if there is no Company of that name.

    Raises:
        EngineError: the engine could not be asked, or what answers gave no document.
    """
    answer = await send(get("Company", spec.company_name))
    if answer.kind is AnswerKind.MISSING:
        return None
    document = document_of(answer)
    country = await _country(send, spec.country_code)
    pairs = (
        ("company name", spec.company_name, text(document, "name")),
        ("country", country or spec.country_code, text(document, "country")),
        ("currency", spec.currency, text(document, "default_currency")),
    )
    compared = [
        Compared(field=field, want=want, have=have, agrees=fold_name(want) == fold_name(have))
        for field, want, have in pairs
    ]
    group = text(document, "is_group") not in {"", "0"}
    compared.append(
        Compared(
            field="kind",
            want="one company",
            have="a group of companies" if group else "one company",
            agrees=not group,
        )
    )
    return CompanyLook(
        name=text(document, "name"),
        abbreviation=text(document, "abbr"),
        owner=text(document, "owner"),
        made_at=text(document, "creation"),
        compared=tuple(compared),
    )


async def _country(send: Send, code: str) -> str:
    """Return the country as this engine spells it; "" if it has none with that code."""
    answer = await send(
        rows("Country", ("code", "=", code.lower()), fields=("name", "code"), limit=2)
    )
    found = rows_of(answer) if answer.kind is AnswerKind.OK else []
    return text(found[0], "name") if found else ""
