"""Masters that ERPNext's setup wizard makes: their usual names, and how to find roots of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import call, get, rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, document_of, rows_of, text
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.erpnext.requests import JsonObject
    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]

UNIT = "Nos"
ROOT_ITEM_GROUP = "All Item Groups"
ROOT_CUSTOMER_GROUP = "All Customer Groups"
ROOT_TERRITORY = "All Territories"
CUSTOMER_GROUP = "Individual"

_CHARTS_METHOD = (
    "erpnext.accounts.doctype.account.chart_of_accounts.chart_of_accounts.get_charts_for_country"
)


def charts_request(country: str) -> Request:
    """Return the request for the charts of accounts that a country may choose from.

    Args:
        country: The country as the engine spells it, not its code. For one that the engine does not
            know, the answer is the same as for one without a chart of its own.

    Source: recording 03-charts-for-country.
    """
    return call(_CHARTS_METHOD, country=country)


def charts_in(answer: Answer) -> list[str]:
    """Return the charts in the engine's answer; none if that is not a list."""
    return [str(each) for each in answer.data] if isinstance(answer.data, list) else []


async def find_root(send: Send, doctype: str, usual: str) -> JsonObject | None:
    """Return the root of a tree, or None.

    A site that was set up in another language has a different name for it, so if there is none with
    the usual name, it is found by its place: it has no parent.

    Args:
        send: Sends one request and classifies the answer.
        doctype: A doctype whose documents form one tree for the whole site.
        usual: The root's name on a site that was set up in English.

    Returns:
        The document with `OWNERSHIP_FIELDS`, and more if it has the usual name.

    Raises:
        EngineError: the engine could not be asked.
    """
    answer = await send(get(doctype, usual))
    if answer.kind is AnswerKind.OK:
        return document_of(answer)
    parent = f"parent_{doctype.lower().replace(' ', '_')}"
    answer = await send(rows(doctype, ("is_group", "=", 1), fields=(*OWNERSHIP_FIELDS, parent)))
    roots = [row for row in rows_of(answer) if not text(row, parent)]
    # The oldest, because the old system could make a second root.
    return min(roots, key=lambda row: text(row, "creation"), default=None)
