"""Who a site is, and which Companies it lacks: the reads behind promise 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import get
from server.erpnext.seeing import document_of, text
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]

# Made by the site's own set-up, and nobody deletes it: another time of its making means
# another site under the same address.
IDENTITY_REQUEST = get("UOM", "Nos")


async def read_identity(send: Send) -> str | None:
    """Return who a site is; None before it was set up."""
    answer = await send(IDENTITY_REQUEST)
    if answer.kind is not AnswerKind.OK:
        return None
    return text(document_of(answer), "creation") or None


async def find_missing_companies(send: Send, names: Collection[str]) -> frozenset[str]:
    """Return those of some Companies that the site does not hold."""
    return frozenset(
        [name for name in names if (await send(get("Company", name))).kind is AnswerKind.MISSING]
    )
