"""Removes the demo items and their prices, whose names the engine made up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.erpnext.requests import rows
from server.erpnext.seeing import rows_of, text
from server.erpnext.undo.removing import found_after, look_for, remove
from server.model.naming import fold_name

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.model.ownership import Resource
    from server.model.step_context import Found, StepContext

_PRICE = "Item Price"
# The separator in the names that server.erpnext.steps.step_6_items gives prices in the record.
_SEPARATOR = " / "


class DemoItems:
    """Deletes prices first, then items."""

    key = "undo_5_items"

    async def probe(self, context: StepContext) -> Found:
        """Look which items are left; an item's prices go with it (recording 10-delete-takes-along).

        Raises:
            EngineError: as `look_for`.
        """
        removal = context.removal
        found = found_after(await look_for(context, removal.ours("Item")), removal.kept("Item"))
        if not found.done:
            return found
        prices = tuple((each.doctype, each.name) for each in removal.ours(_PRICE))
        return replace(found, gone=(*found.gone, *prices))

    async def apply(self, context: StepContext, found: Found) -> None:
        """Delete the prices we made, then the items.

        Raises:
            EngineError: as `remove`; or the engine could not be asked.
        """
        left_items = {fold_name(each.name) for each in found.missing}
        for each in context.removal.ours(_PRICE):
            item, _, price_list = each.name.partition(_SEPARATOR)
            if fold_name(item) not in left_items:
                continue  # the item is gone, or somebody else's, and its prices are, too
            for row in await _prices(context, item, price_list):
                await remove(context, _PRICE, text(row, "name"), on_record=each.name)
        for left in found.missing:
            await remove(context, "Item", left.name)


def item_of(price: Resource) -> str:
    """Return the item of a price, by the price's name in the record."""
    return price.name.partition(_SEPARATOR)[0]


async def _prices(context: StepContext, item: str, price_list: str) -> list[JsonObject]:
    answer = await context.read(
        rows(
            _PRICE,
            ("item_code", "=", item),
            ("price_list", "=", price_list),
            fields=("name",),
        )
    )
    return rows_of(answer)
