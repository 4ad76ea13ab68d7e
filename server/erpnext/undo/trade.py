"""Before anything is removed: has the shop sold anything, and are there ledger entries?

A shop that has sold is somebody's books. Its removal must be ordered explicitly, and so must the
removal of ledger entries, which only ERPNext's own Transaction Deletion Record can do.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import renamed_to
from server.erpnext.requests import get, rows
from server.erpnext.seeing import conflict, document_of, rows_of, seen
from server.erpnext.site import LOOKED_AT, is_fresh, moment, site_of
from server.erpnext.undo.removing import made_by_others
from server.model.ownership import resource_key, settle
from server.model.states import ResourceState
from server.model.step_context import AnswerKind, Found

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.model.ownership import Document
    from server.model.step_context import StepContext

KEY = "undo_1_trade_check"
# A POS Invoice is not booked before the till is closed, so the ledger alone does not tell.
_SALES = ("Sales Invoice", "POS Invoice")
_LEDGER = "GL Entry"


async def has_ledger_entries(context: StepContext, company: str) -> bool:
    """Tell whether anything was ever booked for a Company.

    Args:
        context: The step's context.
        company: The Company's name; one that does not exist has none.

    Raises:
        EngineError: the engine could not be asked.
    """
    return await _any(context, _LEDGER, company)


async def has_sold(context: StepContext, company: str) -> bool:
    """Tell whether any invoice of a Company was ever submitted, even if it was cancelled since.

    Args:
        context: The step's context.
        company: The Company's name; one that does not exist has none.

    Raises:
        EngineError: the engine could not be asked.
    """
    for doctype in _SALES:
        if await _any(context, doctype, company, ("docstatus", "!=", 0)):
            return True
    return False


class TradeCheck:
    """Protects a shop that has sold."""

    key = KEY

    async def probe(self, context: StepContext) -> Found:
        """Look for sales and for ledger entries.

        Returns:
            As outputs, `sold` and `ledger` ("yes" or "no") and when that was looked up. As
            document, somebody else's Company that is there in place of ours.

        Raises:
            EngineError: SHOP_HAS_SOLD or LEDGER_ENTRIES, unless the order allows it;
                COMPANY_RENAMED; or the engine could not be asked.
        """
        company = context.spec.company_name
        answer = await context.read(get("Company", company))
        if answer.kind is AnswerKind.MISSING:
            await refuse_renamed(context)
            return Found(
                done=True,
                outputs={"sold": "no", "ledger": "no", LOOKED_AT: context.now().isoformat()},
            )
        replaced = await _replaced(context, document_of(answer))
        options = context.removal.options
        sold = await has_sold(context, company)
        ledger = await has_ledger_entries(context, company)
        holds = context.removal.company_is_ours(company) and not replaced
        booked = ledger and holds and not options.delete_transactions
        if sold and not options.even_if_sold:
            also = (
                " It has ledger entries as well, and ERPNext deletes those, and with them the "
                "Company, only if --delete-transactions is added."
                if booked
                else ""
            )
            raise conflict(
                Code.SHOP_HAS_SOLD,
                f"The shop {company!r} has sold something: it has invoices. It is not removed like "
                f"one that was never used.{also} To remove it all the same: provisioner "
                f"deprovision TENANT{replace(options, even_if_sold=True).flags}. To keep it: "
                "provisioner cancel TENANT, then provisioner continue TENANT",
            )
        if booked:
            raise conflict(
                Code.LEDGER_ENTRIES,
                f"The Company {company!r} has ledger entries, and ERPNext does not delete a "
                "Company that has any. To have ERPNext delete all its transactions first (a "
                "Transaction Deletion Record): provisioner deprovision "
                f"TENANT{replace(options, delete_transactions=True).flags}",
            )
        return Found(
            done=True,
            # Recorded before the next step, which deletes transactions only in a Company of ours.
            documents=replaced,
            notes=tuple(made_by_others(each) for each in replaced),
            outputs={
                "sold": "yes" if sold else "no",
                "ledger": "yes" if ledger else "no",
                LOOKED_AT: context.now().isoformat(),
            },
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Do nothing: the probe decides."""


async def look_again_if_old(context: StepContext) -> None:
    """Protect a shop that has sold since the first step looked.

    A removal can wait for hours (for a site that is down, for its slot), and the shop is open
    until its till is removed.

    Raises:
        EngineError: as the first step's look.
    """
    if not is_fresh(moment(context.outputs(KEY).get(LOOKED_AT, "")), context.now()):
        await TradeCheck().probe(context)


async def _replaced(context: StepContext, there: JsonObject) -> tuple[Document, ...]:
    """Return the Company if we made one of its name, and it is somebody else's in its place."""
    site = await site_of(context)
    found = seen("Company", there, site.zone)
    for each in context.removal.resources:
        if resource_key(each.doctype, each.name) != resource_key("Company", found.name):
            continue
        document = context.removal.judged(each, found)
        was_ours = each.state is ResourceState.CREATED or document.made_since
        if was_ours and settle(each, document, site.api_user) is not ResourceState.CREATED:
            return (document,)
    return ()


async def refuse_renamed(context: StepContext) -> None:
    """Stop if the Company that we made exists under another name.

    Looked up by its old name it seems gone: a shop that may have sold would lose its tills and its
    POS Profile, and be reported as removed.

    Raises:
        EngineError: COMPANY_RENAMED, with the name it has now; or the engine could not be asked.
    """
    for made in context.removal.ours("Company")[:1]:
        now_called = await renamed_to(context, made)
        if now_called:
            raise conflict(
                Code.COMPANY_RENAMED,
                f"The Company {made.name!r} is called {now_called!r} in ERPNext now, "
                "and is not removed. Rename it back there, then order the removal again.",
            )


async def _any(
    context: StepContext, doctype: str, company: str, *more: tuple[str, str, object]
) -> bool:
    answer = await context.read(
        rows(doctype, ("company", "=", company), *more, fields=("name",), limit=1)
    )
    return bool(rows_of(answer))
