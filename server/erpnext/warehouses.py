"""Which warehouses of a Company are the tenant's stores: those with our names, or legacy ones.

If a name was taken, the old system appended a number (Main Store-1 … -9), and it put its stores
below a group of its own (Main Branch). Such a store is taken over if it is usable and the one
with our name is not; we never append numbers ourselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.company import MAIN_STORE, POS_STORE, selling_warehouse
from server.erpnext.requests import rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, flag, rows_of, text
from server.model.naming import fold_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

STEP_KEY = "step_4_warehouses"
_LEGACY_NUMBERS = range(1, 10)


async def warehouses_of(context: StepContext, company: Company) -> dict[str, JsonObject]:
    """Return all warehouses of a Company, keyed by folded name.

    Raises:
        EngineError: the engine could not be asked.
    """
    answer = await context.read(
        rows(
            "Warehouse",
            ("company", "=", company.name),
            fields=(*OWNERSHIP_FIELDS, "is_group", "disabled", "parent_warehouse"),
        )
    )
    return {fold_name(text(row, "name")): row for row in rows_of(answer)}


def is_usable(row: JsonObject, there: Mapping[str, JsonObject]) -> bool:
    """Tell whether a warehouse can be sold from and is in its Company's own tree.

    Args:
        row: The warehouse, as `warehouses_of` reads it.
        there: All warehouses of its Company, keyed by folded name. ERPNext takes a parent of
            another Company, too (recording 04-warehouse-create-bad).
    """
    in_the_tree = fold_name(text(row, "parent_warehouse")) in there
    return in_the_tree and not flag(row, "is_group") and not flag(row, "disabled")


def store_in(there: Mapping[str, JsonObject], company: Company, store: str) -> JsonObject | None:
    """Return the row of a store.

    Args:
        there: All warehouses of the Company, keyed by folded name.
        company: The tenant's Company.
        store: "Main Store" or "POS Store".

    Returns:
        The first usable one that has our name or a legacy one; else the one with our name, whatever
        is wrong with it; None if there is none of that name.
    """
    names = (store, *(f"{store}-{number}" for number in _LEGACY_NUMBERS))
    found = [
        row for name in names if (row := there.get(fold_name(company.names.with_suffix(name))))
    ]
    usable = (row for row in found if is_usable(row, there))
    ours = there.get(fold_name(company.names.with_suffix(store)))
    return next(usable, ours)


async def selling_warehouse_of(context: StepContext, company: Company) -> str:
    """Return the warehouse that the till sells from, from step_4's outputs or else looked up.

    Returns:
        Its full name; the one that it would get, if there is no such warehouse yet.

    Raises:
        EngineError: the engine could not be asked.
    """
    known = context.outputs(STEP_KEY).get("selling_warehouse")
    if known:
        return known
    usual = selling_warehouse(context.spec, company)
    if company.planned:
        return usual
    store = POS_STORE if context.spec.pos_store_enabled else MAIN_STORE
    row = store_in(await warehouses_of(context, company), company, store)
    return usual if row is None else text(row, "name")
