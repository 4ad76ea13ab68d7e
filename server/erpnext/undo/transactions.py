"""Has ERPNext delete a Company's transactions, if that was ordered.

The way is to make a record, submit it and start its tasks, which an ERPNext worker carries out in
the background (recording 10-transaction-deletion-record). ERPNext allows one such record per
Company at a time, so after a lost answer we look for the one that exists.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import change, make, resource_path, rows
from server.erpnext.seeing import conflict, rows_of, text
from server.erpnext.undo.tills import tills_of_others
from server.erpnext.undo.trade import has_ledger_entries, has_sold, look_again_if_old
from server.model.difference import Difference
from server.model.step_context import Found, Intent, Request

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_RECORD = "Transaction Deletion Record"
_FAILED = frozenset({"Failed", "Cancelled"})
# Soon at first, because a small shop is quickly done; then rarely, because a big one takes
# minutes.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0


class Transactions:
    """Deletes the Company's transactions with ERPNext's own tool."""

    key = "undo_2_transactions"

    async def probe(self, context: StepContext) -> Found:
        """Look whether any transactions are left; without the order to delete them, it is done.

        Raises:
            EngineError: as `look_again_if_old`; or the engine could not be asked.
        """
        company = context.spec.company_name
        removal = context.removal
        if not removal.options.delete_transactions or not removal.company_is_ours(company):
            return Found(done=True)
        await look_again_if_old(context)
        left = (
            await has_ledger_entries(context, company)
            or await has_sold(context, company)
            # A till that was opened and has sold nothing leaves neither of the two.
            or bool(await tills_of_others(context))
        )
        open_one = await _open_record(context, company)
        if not left and open_one is None:
            return Found(done=True)
        return Found(done=False, missing=(Difference(doctype=_RECORD, name=company),))

    async def apply(self, context: StepContext, found: Found) -> None:  # noqa: ARG002 - the protocol's
        """Make a record, or continue with an existing one, and wait until it is completed.

        It waits as long as ERPNext's worker takes, up to the step's deadline.

        Raises:
            EngineError: TRANSACTION_DELETION_FAILED if the record ends without success; or as
                `write`.
        """
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
                f"ERPNext's {_RECORD} {text(record, 'name')!r} ended {text(record, 'status')}. See "
                "its error log in ERPNext, fix the cause or cancel the record, then give the "
                "order again.",
            )
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _open_record(context: StepContext, company: str) -> JsonObject | None:
    """Return the Company's record that is not completed, or None."""
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
    # The record belongs to the site: it documents what was done, and stays.
    return Intent(
        doctype=_RECORD, name=company, shared=True, slot=True, update=True, repeatable=False
    )
