"""Removes the till's opening entries, cancelling the submitted ones first.

Only the entry that we made is ours. One that a person made for our POS Profile prevents its
removal, and is for that person to close: the order stops and says which it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import cancel, rows
from server.erpnext.seeing import conflict, rows_of, text
from server.erpnext.undo import removing
from server.erpnext.undo.removing import found_after, look_for, remove
from server.erpnext.undo.trade import look_again_if_old
from server.model.naming import fold_name
from server.model.step_context import Found, Intent

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_DOCTYPE = "POS Opening Entry"
_SUBMITTED = "1"
_NAMED = 5


class Tills:
    """Cancels and deletes opening entries."""

    key = "undo_3_tills"

    async def probe(self, context: StepContext) -> Found:
        """Look for our entries, and for those that others made for our profile.

        Raises:
            EngineError: TILLS_OF_OTHERS; as `look_again_if_old` and `look_for`.
        """
        await look_again_if_old(context)
        removal = context.removal
        others = await tills_of_others(context)
        if others:
            more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
            # In a Company that is not ours, --delete-transactions deletes nothing.
            way = (
                ", or have ERPNext delete all transactions: provisioner deprovision "
                f"TENANT{replace(removal.options, delete_transactions=True).flags}"
                if removal.company_is_ours(context.spec.company_name)
                else ", then: provisioner deprovision "
                f"TENANT{replace(removal.options, delete_transactions=False).flags}"
            )
            raise conflict(
                Code.TILLS_OF_OTHERS,
                f"{len(others)} POS Opening Entries at the tenant's POS Profile were made by "
                f"people: {', '.join(others[:_NAMED])}{more}. Cancel and delete them in ERPNext"
                f"{way}",
            )
        return found_after(await look_for(context, removal.ours(_DOCTYPE)), removal.kept(_DOCTYPE))

    async def apply(self, context: StepContext, found: Found) -> None:
        """Cancel the submitted entries, then delete all.

        A submitted one is not deleted, and a draft not cancelled, by ERPNext (recordings
        10-delete-submitted and 10-delete-draft).

        Raises:
            EngineError: as `remove`.
        """
        entries = await _entries(context, [each.name for each in found.missing])
        for row in entries:
            name = text(row, "name")
            if text(row, "docstatus") == _SUBMITTED:
                await context.write(
                    Intent(doctype=_DOCTYPE, name=name, slot=True, update=True, repeatable=False),
                    cancel(_DOCTYPE, name, removing.REMOVE_SECONDS),
                )
            await remove(context, _DOCTYPE, name)


async def tills_of_others(context: StepContext) -> list[str]:
    """Return the opening entries for our POS Profile that are not in the record.

    Returns:
        Their names, in any state; none if the record has no POS Profile of ours.

    Raises:
        EngineError: the engine could not be asked.
    """
    removal = context.removal
    on_record = (*removal.ours(_DOCTYPE), *removal.kept(_DOCTYPE))
    known = {fold_name(each.name) for each in on_record}
    names = [text(row, "name") for row in await _at_our_profiles(context)]
    return [name for name in names if fold_name(name) not in known]


async def _at_our_profiles(context: StepContext) -> list[JsonObject]:
    ours = context.removal.ours("POS Profile")
    if context.removal.restored_to:
        # One of that name that was made since is another shop's, and so are its tills.
        ours = (await look_for(context, ours)).there
    profiles = [each.name for each in ours]
    if not profiles:
        return []
    answer = await context.read(
        rows(_DOCTYPE, ("pos_profile", "in", profiles), fields=("name", "docstatus"))
    )
    return rows_of(answer)


async def _entries(context: StepContext, names: list[str]) -> list[JsonObject]:
    answer = await context.read(rows(_DOCTYPE, ("name", "in", names), fields=("name", "docstatus")))
    return rows_of(answer)
