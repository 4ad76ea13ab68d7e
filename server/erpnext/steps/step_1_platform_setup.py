"""step_1: the site-wide masters that later steps depend on.

All tenants share them: they are made if missing, and never changed or deleted. The roots of trees
come from ERPNext's setup wizard and are never made here: a second root harms every tenant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.fiscal_years import FiscalYear, plan_years
from server.erpnext.making import make_named
from server.erpnext.masters import (
    CUSTOMER_GROUP,
    ROOT_CUSTOMER_GROUP,
    ROOT_ITEM_GROUP,
    ROOT_TERRITORY,
    UNIT,
    find_root,
)
from server.erpnext.requests import get, make, rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, conflict, document_of, flag, rows_of, seen, text
from server.erpnext.site import site_of
from server.errors import EngineError
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.spec import PAYMENT_METHOD_TYPES
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.erpnext.requests import JsonObject
    from server.erpnext.site import Site
    from server.model.ownership import Document
    from server.model.step_context import StepContext

STEP_KEY = "step_1_platform_setup"
TRANSIT = "Transit"

# Looked up by name, and made if they are missing.
_MASTERS: tuple[tuple[str, str, JsonObject], ...] = (
    # The Company's own warehouse "Goods In Transit" needs it; `name` must be sent.
    ("Warehouse Type", TRANSIT, {"name": TRANSIT, "description": "Goods on their way"}),
    ("UOM", UNIT, {"uom_name": UNIT, "must_be_whole_number": 1}),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Missing(Difference):
    """A missing master, with the body of the request that makes it."""

    body: JsonObject


@dataclass(slots=True, kw_only=True)
class _Look:
    """What the probe gathers while it looks at the masters."""

    documents: list[Document]
    missing: list[_Missing]
    outputs: dict[str, str]
    notes: list[str]


class PlatformSetup:
    """The site's masters: warehouse type, unit, groups, territory, years, means of payment."""

    key = STEP_KEY

    async def probe(self, context: StepContext) -> Found:
        """Look for every master.

        Returns:
            As outputs, the names of masters that later steps refer to (`customer_group`,
            `root_item_group`, `territory`), and `site_identity`: when the site was set up.

        Raises:
            EngineError: SITE_NOT_SET_UP if a tree has no root; FISCAL_YEAR_OVERLAPS if none covers
                today and none can be made; or the engine could not be asked.
        """
        look = await _look(context)
        return Found(
            done=not look.missing,
            missing=tuple(look.missing),
            documents=tuple(look.documents),
            outputs=look.outputs,
            notes=tuple(look.notes),
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Make what is missing; a 409 means that another tenant has made it since the look.

        Raises:
            EngineError: NAMED_OTHERWISE, or as `write`. That a Fiscal Year overlaps one made since
                the look is only noted.
        """
        for each in found.missing:
            if not isinstance(each, _Missing):
                continue
            try:
                await make_named(
                    context,
                    Intent(doctype=each.doctype, name=each.name, shared=True),
                    make(each.doctype, each.name, each.body),
                )
            except EngineError as error:
                if error.code != Code.FISCAL_YEAR_OVERLAPS:
                    raise
                # Somebody else has made one since the look, under another name.
                await context.note(f"{each} was not made: {error.message}")


async def _look(context: StepContext) -> _Look:
    site = await site_of(context)
    look = _Look(documents=[], missing=[], outputs={"customer_group": CUSTOMER_GROUP}, notes=[])
    for doctype, name, body in _MASTERS:
        answer = await context.read(get(doctype, name))
        if answer.kind is not AnswerKind.OK:
            look.missing.append(_Missing(doctype=doctype, name=name, body=body))
            continue
        document = document_of(answer)
        look.documents.append(seen(doctype, document, site.zone, shared=True))
        if doctype == "UOM":
            # The site's set-up makes it, so a different time means a different site.
            look.outputs["site_identity"] = text(document, "creation")
    await _look_for_item_groups(context, site, look)
    await _look_for_customer_group(context, site, look)
    await _look_for_territory(context, site, look)
    await _look_for_years(context, site, look)
    await _look_for_payments(context, site, look)
    return look


async def _look_for_item_groups(context: StepContext, site: Site, look: _Look) -> None:
    row = await _root(context, "Item Group", ROOT_ITEM_GROUP)
    look.documents.append(seen("Item Group", row, site.zone, shared=True))
    look.outputs["root_item_group"] = text(row, "name")


async def _look_for_customer_group(context: StepContext, site: Site, look: _Look) -> None:
    answer = await context.read(get("Customer Group", CUSTOMER_GROUP))
    if answer.kind is AnswerKind.OK:
        look.documents.append(seen("Customer Group", document_of(answer), site.zone, shared=True))
        return
    root = await _root(context, "Customer Group", ROOT_CUSTOMER_GROUP)
    body = {
        "customer_group_name": CUSTOMER_GROUP,
        "parent_customer_group": text(root, "name"),
        "is_group": 0,
    }
    look.missing.append(_Missing(doctype="Customer Group", name=CUSTOMER_GROUP, body=body))


async def _root(context: StepContext, doctype: str, usual: str) -> JsonObject:
    row = await find_root(context.read, doctype, usual)
    if row is None:
        raise _not_set_up(doctype, usual)
    return row


async def _look_for_territory(context: StepContext, site: Site, look: _Look) -> None:
    # A site only has the Territory of its own country; tenants in other countries use the root
    # (recording 01-fresh-site-masters).
    names = (site.country, ROOT_TERRITORY)
    answer = await context.read(
        rows("Territory", ("name", "in", list(names)), fields=OWNERSHIP_FIELDS)
    )
    there = {fold_name(text(row, "name")): row for row in rows_of(answer)}
    for name in names:
        row = there.get(fold_name(name))
        if row is not None:
            look.documents.append(seen("Territory", row, site.zone, shared=True))
            break
    else:
        row = await _root(context, "Territory", ROOT_TERRITORY)
        look.documents.append(seen("Territory", row, site.zone, shared=True))
    look.outputs["territory"] = text(row, "name")


async def _look_for_years(context: StepContext, site: Site, look: _Look) -> None:
    answer = await context.read(
        rows(
            "Fiscal Year",
            fields=(*OWNERSHIP_FIELDS, "year_start_date", "year_end_date", "disabled"),
        )
    )
    found = rows_of(answer)
    today = site.today(context.now())
    years = await _years_of(context, found, today)
    plan = plan_years(years, today)
    if plan.blocked_today is not None:
        raise _no_year_today(plan.blocked_today, today)
    for year in plan.blocked_later:
        look.notes.append(f"A later Fiscal Year was not made: {year.name!r} is in its way.")
    usable = {year.name for year in years if year.usable and year.end >= today}
    look.documents.extend(
        seen("Fiscal Year", row, site.zone, shared=True)
        for row in found
        if text(row, "name") in usable
    )
    look.missing.extend(
        _Missing(
            doctype="Fiscal Year",
            name=year.name,
            body={
                "year": year.name,
                "year_start_date": str(year.start),
                "year_end_date": str(year.end),
                "disabled": 0,
            },
        )
        for year in plan.missing
    )


async def _years_of(
    context: StepContext, found: Sequence[JsonObject], today: date
) -> list[FiscalYear]:
    # Rows name the Companies that a year is for; none means all (recording
    # 05-fiscal-year-colliding).
    ahead = [text(row, "name") for row in found if text(row, "year_end_date") >= str(today)]
    bound: dict[str, set[str]] = {}
    if ahead:
        answer = await context.read(
            rows(
                "Fiscal Year Company",
                ("parent", "in", ahead),
                fields=("parent", "company"),
                parent="Fiscal Year",
            )
        )
        for row in rows_of(answer):
            bound.setdefault(text(row, "parent"), set()).add(fold_name(text(row, "company")))
    ours = fold_name(context.spec.company_name)
    return [
        FiscalYear(
            name=text(row, "name"),
            start=date.fromisoformat(text(row, "year_start_date")),
            end=date.fromisoformat(text(row, "year_end_date")),
            usable=not flag(row, "disabled") and ours in bound.get(text(row, "name"), {ours}),
        )
        for row in found
    ]


async def _look_for_payments(context: StepContext, site: Site, look: _Look) -> None:
    wanted = context.spec.payment_methods
    answer = await context.read(
        rows(
            "Mode of Payment",
            ("name", "in", list(wanted)),
            fields=(*OWNERSHIP_FIELDS, "enabled"),
        )
    )
    there = {fold_name(text(row, "name")): row for row in rows_of(answer)}
    for method in wanted:
        row = there.get(fold_name(method))
        if row is None:
            kind = PAYMENT_METHOD_TYPES.get(method, "General")
            body = {"mode_of_payment": method, "type": kind, "enabled": 1}
            look.missing.append(_Missing(doctype="Mode of Payment", name=method, body=body))
            continue
        look.documents.append(seen("Mode of Payment", row, site.zone, shared=True))
        if not flag(row, "enabled"):
            look.notes.append(f"Mode of Payment {method} is disabled; it is shared, so it stays.")


def _not_set_up(doctype: str, name: str) -> EngineError:
    return conflict(
        Code.SITE_NOT_SET_UP,
        f"The site has no {doctype} {name!r}, which ERPNext's setup wizard makes. Finish the "
        "setup wizard, then continue the tenant.",
        differences=(Difference(doctype=doctype, name=name),),
    )


def _no_year_today(blocking: FiscalYear, today: date) -> EngineError:
    return conflict(
        Code.FISCAL_YEAR_OVERLAPS,
        f"No Fiscal Year holds for {today} and all Companies, and {blocking.name!r}, which is "
        "disabled or only for some Companies, is in the way. Enable it, or remove its list of "
        "Companies.",
        differences=(
            Difference(
                doctype="Fiscal Year",
                name=blocking.name,
                field="holds for",
                have="nobody, or some Companies",
                want="all Companies",
            ),
        ),
    )
