"""step_4: the tenant's warehouses, below the Company's own root.

ERPNext accepts a warehouse below another Company's group (recording 04-warehouse-create-bad), so
Company and parent are compared here. We never append a number to a name: a warehouse with the name
is either ours and right, or a conflict. `server.erpnext.warehouses` says which stores are the
tenant's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import (
    MAIN_STORE,
    POS_STORE,
    company_of,
    demand_company,
    selling_warehouse,
    waits_for_company,
)
from server.erpnext.making import check_not_elsewhere, make_named
from server.erpnext.requests import make
from server.erpnext.seeing import compared, conflict, differing, flag, seen, text
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.erpnext.warehouses import STEP_KEY, store_in, warehouses_of
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.spec import TenantSpec
    from server.model.step_context import StepContext

_ROOT = "All Warehouses"


class Warehouses:
    """Main Store, and POS Store if the tenant wants one."""

    key = STEP_KEY

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look at all of the Company's warehouses at once.

        Returns:
            As outputs, the full names of `main_store`, `selling_warehouse` and `root_warehouse`;
            the last is "" if no warehouse is missing.

        Raises:
            EngineError: DOCUMENT_DIFFERS, DOCUMENT_NOT_OURS, or REFERENCE_MISSING if the Company
                has no root warehouse; or the engine could not be asked.
        """
        company = await company_of(context)
        wanted = _wanted(context.spec)
        if company is None:
            return waits_for_company("Warehouse", *wanted)
        if company.planned:
            return Found(
                done=False,
                missing=tuple(_absent(company.names.with_suffix(each)) for each in wanted),
                outputs={"selling_warehouse": selling_warehouse(context.spec, company)},
            )
        site = await site_of(context)
        there = await warehouses_of(context, company)
        documents, missing, names = [], [], {}
        for each in wanted:
            row = store_in(there, company, each)
            names[each] = company.names.with_suffix(each) if row is None else text(row, "name")
            if row is None:
                missing.append(_absent(names[each]))
                continue
            _check(row, there)
            documents.append(seen("Warehouse", row, site.zone))
        await check_not_elsewhere(context, company, "Warehouse", [each.name for each in missing])
        return Found(
            done=not missing,
            missing=tuple(missing),
            documents=tuple(documents),
            outputs={
                "main_store": names[MAIN_STORE],
                "selling_warehouse": names.get(POS_STORE, names[MAIN_STORE]),
                "root_warehouse": _root(company, there) if missing else "",
            },
        )

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Make the missing warehouses below the root.

        Raises:
            EngineError: COMPANY_MISSING, NAMED_OTHERWISE or DOCUMENT_NOT_OURS; or as `write`.
        """
        company = await demand_company(context)
        root = found.outputs["root_warehouse"]
        missing = {fold_name(each.name) for each in found.missing}
        for each in _wanted(context.spec):
            if fold_name(company.names.with_suffix(each)) in missing:
                await _make(context, company, each, root)


def _absent(name: str) -> Difference:
    return Difference(doctype="Warehouse", name=name)


def _wanted(spec: TenantSpec) -> tuple[str, ...]:
    return (MAIN_STORE, POS_STORE) if spec.pos_store_enabled else (MAIN_STORE,)


def _check(row: JsonObject, there: Mapping[str, JsonObject]) -> None:
    name, parent = text(row, "name"), text(row, "parent_warehouse")
    # Without a parent it would be a second root of its Company's tree.
    elsewhere = fold_name(parent) not in there
    differences = compared(
        "Warehouse",
        name,
        (
            ("is_group", str(int(flag(row, "is_group"))), "0"),
            ("disabled", str(int(flag(row, "disabled"))), "0"),
            ("parent_warehouse", parent, "one of its own Company" if elsewhere else parent),
        ),
    )
    if differences:
        raise differing(Code.DOCUMENT_DIFFERS, differences, "Correct it in ERPNext, or rename it.")


def _root(company: Company, there: Mapping[str, JsonObject]) -> str:
    usual = company.names.with_suffix(_ROOT)
    groups = [row for row in there.values() if flag(row, "is_group")]
    for row in groups:
        if fold_name(text(row, "name")) == fold_name(usual):
            return text(row, "name")
    # On a site in another language the root has another name.
    roots = sorted(text(row, "name") for row in groups if not text(row, "parent_warehouse"))
    if not roots:
        raise conflict(
            Code.REFERENCE_MISSING,
            f"The Company {company.name!r} has no root warehouse. Make the group {usual!r}.",
        )
    return roots[0]


async def _make(context: StepContext, company: Company, warehouse: str, root: str) -> None:
    name = company.names.with_suffix(warehouse)
    body: JsonObject = {
        "warehouse_name": warehouse,
        "company": company.name,
        "is_group": 0,
        "parent_warehouse": root,
    }
    answer = await make_named(
        context, Intent(doctype="Warehouse", name=name, slot=True), make("Warehouse", name, body)
    )
    if answer.kind is AnswerKind.EXISTS:
        # It was not there a moment ago.
        await check_not_elsewhere(context, company, "Warehouse", [name])
