"""Removes the Company, and with it its accounts, warehouses and payment rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.undo.removing import RemoveDocuments, found_after, look_for, remove
from server.erpnext.undo.trade import refuse_renamed
from server.model.step_context import Found
from server.model.undo import GOES_WITH_COMPANY

if TYPE_CHECKING:
    from server.model.step_context import StepContext

_ROW = "Mode of Payment Account"


class CompanyParts(RemoveDocuments):
    """Removes what we made in a Company that stays; what is in our own Company goes with it."""

    def __init__(self) -> None:
        super().__init__("undo_9_company_parts", "Warehouse", "Account")

    async def probe(self, context: StepContext) -> Found:
        """Look which of these are left, if the Company is not ours.

        Raises:
            EngineError: as `look_for`.
        """
        removal = context.removal
        if removal.company_is_ours(context.spec.company_name):
            return Found(done=True, notes=("Accounts and warehouses go with the Company.",))
        found = await super().probe(context)
        rows = removal.ours(_ROW)
        if not rows:
            return found
        # A payment row can only be removed by writing all rows of all Companies, which drops
        # what others add meanwhile (recording 08-mode-of-payment-put-drops-rows); and its
        # account can't be removed before it.
        names = ", ".join(each.name for each in rows)
        kept = tuple(each for each in found.missing if each.doctype != "Account")
        return Found(
            done=not kept,
            missing=kept,
            gone=found.gone,
            notes=(*found.notes, f"Payment rows and their accounts stay: {names}."),
        )


class Company:
    """Deletes the Company."""

    key = "undo_10_company"

    async def probe(self, context: StepContext) -> Found:
        """Look whether it still exists; if it is gone, so is everything in it.

        Raises:
            EngineError: COMPANY_RENAMED if it has another name now; or as `look_for`.
        """
        removal = context.removal
        looked = await look_for(context, removal.ours("Company"))
        if looked.gone:
            # Perhaps by another name: then all that the record lists as in it is still there.
            await refuse_renamed(context)
        found = found_after(looked, removal.kept("Company"))
        if (
            not found.done
            or looked.foreign
            or not removal.company_is_ours(context.spec.company_name)
        ):
            return found
        # Including those that the engine made with the Company.
        inside = (*removal.ours(*GOES_WITH_COMPANY), *removal.kept(*GOES_WITH_COMPANY))
        along = tuple((each.doctype, each.name) for each in inside)
        return Found(done=True, gone=(*found.gone, *along), notes=found.notes)

    async def apply(self, context: StepContext, found: Found) -> None:
        """Delete it.

        Raises:
            EngineError: as `remove`.
        """
        for each in found.missing:
            await remove(context, "Company", each.name)
