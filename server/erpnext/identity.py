"""Which site it is, and which Companies it lacks: the reads behind promise 8."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import get
from server.erpnext.seeing import document_of, text
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]

# The site's set-up makes it and nobody deletes it: if it was made at a different time, there is
# a different site at the same address.
IDENTITY_REQUEST = get("UOM", "Nos")


async def read_identity(send: Send) -> str | None:
    """Return what identifies a site: when it was set up; None before that."""
    answer = await send(IDENTITY_REQUEST)
    if answer.kind is not AnswerKind.OK:
        return None
    return text(document_of(answer), "creation") or None


async def find_missing_companies(send: Send, names: Collection[str]) -> frozenset[str]:
    """Return those of the given Companies that the site does not have."""
    return frozenset(
        [name for name in names if (await send(get("Company", name))).kind is AnswerKind.MISSING]
    )
