"""Adds the tenant's rows to Modes of Payment, which all Companies of a site share.

Rows are added one at a time, never by a PUT of the table, which would replace the rows of all
other Companies (recording 08-mode-of-payment-put-drops-rows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.payments import account_name, row_key
from server.erpnext.requests import insert_row, make
from server.errors import EngineError
from server.model.states import ErrorClass
from server.model.step_context import Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

ROW = "Mode of Payment Account"


async def add_row(context: StepContext, company: Company, method: str) -> None:
    """Add the Company's row to a Mode of Payment.

    The answer holds the rows of every Company of the site, so it is not kept. A row that exists
    already may name another account; the second look compares it.

    Args:
        context: The step's context.
        company: The tenant's Company.
        method: The name of a Mode of Payment that exists.

    Raises:
        EngineError: as `write`; the first refusal, if the row can't be added by itself either.
    """
    key = row_key(company, method)
    row: JsonObject = {
        "parent": method,
        "parenttype": "Mode of Payment",
        "parentfield": "accounts",
        "company": company.name,
        "default_account": account_name(company, method),
    }
    try:
        await context.write(Intent(doctype=ROW, name=key, slot=True), insert_row(ROW, key, row))
    except EngineError as error:
        if error.code != Code.ENGINE_LINK_RACE:
            raise
        await _add_alone(context, method, key, row, error)


async def _add_alone(
    context: StepContext, method: str, key: str, row: JsonObject, refusal: EngineError
) -> None:
    """Add a row without storing the ones beside it.

    The usual way stores the whole Mode of Payment, so another tenant's row whose Company or
    account is gone stops every tenant. A row that is stored by itself is checked by itself, but
    then ERPNext does not notice that there is one already. That is safe here: we have looked
    before, we hold the slot, and after an unknown outcome we look again before another request
    is sent.
    """
    await context.note(
        f"Mode of Payment {method} has rows that lead nowhere, not this tenant's. They stay; this "
        "tenant's row is added by itself."
    )
    intent = Intent(doctype=ROW, name=key, slot=True, repeatable=False)
    try:
        await context.write(intent, make(ROW, key, row))
    except EngineError as error:
        if error.error_class is ErrorClass.PERMANENT:
            raise refusal from error
        raise
