"""Has ERPNext delete a Company's transactions: only where it was ordered.

Recording 10-transaction-deletion-record: make the record, submit it, start its tasks; a worker
of ERPNext does them in the background. ERPNext takes one such record a Company at a time, so a
lost answer is settled by looking for the one that is there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import change, make, resource_path, rows
from server.erpnext.seeing import conflict, rows_of, text
from server.erpnext.undo.tills import tills_of_others
from server.erpnext.undo.trade import has_ledger_entries, has_sold
from server.model.difference import Difference
from server.model.step_context import Found, Intent, Request

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_RECORD = "Transaction Deletion Record"
_FAILED = frozenset({"Failed", "Cancelled"})
# The first looks soon, for a small shop; then rarely, a big one takes minutes.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Transactions:
    """Deletes the Company's transactions by ERPNext's own means."""

    key = "undo_2_transactions"

    async def probe(self, context: StepContext) -> Found:
        """Look whether there are any left."""
        company = context.spec.company_name
        removal = context.removal
        if not removal.options.delete_transactions or not removal.company_is_ours(company):
            return Found(done=True)
        left = (
            await has_ledger_entries(context, company)
            or await has_sold(context, company)
            # Of a till that was opened and sold nothing there is neither.
            or bool(await tills_of_others(context))
        )
        open_one = await _open_record(context, company)
        if not left and open_one is None:
            return Found(done=True)
        return Found(done=False, missing=(Difference(doctype=_RECORD, name=company),))

    async def apply(self, context: StepContext, found: Found) -> None:  # noqa: ARG002 - the protocol's
        """Make a record, or go on with the one that is there, and wait for the end of it."""
        company = context.spec.company_name
        record = await _open_record(context, company)
        if record is None:
            await context.write(_intent(company), make(_RECORD, company, {"company": company}))
            record = await _open_record(context, company)
        if record is not None and text(record, "docstatus") == "0":
            name = text(record, "name")
            await context.write(_intent(company), change(_RECORD, name, {"docstatus": 1}))
            record = await _open_record(context, company)
        if record is not None and text(record, "status") == "Queued":
            await context.write(_intent(company), _start(text(record, "name")))
        await _until_done(context, company)


async def _until_done(context: StepContext, company: str) -> None:
    pause = _FIRST_PAUSE_SECONDS
    # Bounded by the step's deadline.
    while (record := await _open_record(context, company)) is not None:
        if text(record, "status") in _FAILED:
            raise conflict(
                Code.TRANSACTION_DELETION_FAILED,
                f"ERPNext's {_RECORD} {text(record, 'name')!r} ended {text(record, 'status')}. "
                "Read its error log in ERPNext, mend it or cancel the record, then give the order "
                "again.",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _open_record(context: StepContext, company: str) -> JsonObject | None:
    """Return the Company's record that is not done with, or None."""
    answer = await context.read(
        rows(
            _RECORD,
            ("company", "=", company),
            ("docstatus", "<", 2),
            fields=("name", "docstatus", "status"),
            order_by="creation desc",
        )
    )
    return next((row for row in rows_of(answer) if text(row, "status") != "Completed"), None)


def _start(name: str) -> Request:
    return Request(
        method="POST",
        path=resource_path(_RECORD, name),
        params={"run_method": "start_deletion_tasks"},
        doctype=_RECORD,
        name=name,
    )


def _intent(company: str) -> Intent:
    # The site's own document: it is history, and stays.
    return Intent(
        doctype=_RECORD, name=company, shared=True, slot=True, update=True, repeatable=False
    )
