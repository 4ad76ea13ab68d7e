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
    """Return what identifies a site: when its set-up made the unit `Nos`.

    Args:
        send: Sends one request and classifies the answer.

    Returns:
        The time as ERPNext writes it, to be compared and never to be reckoned with; None before the
        site was set up.

    Raises:
        EngineError: the site can't be asked now.
    """
    answer = await send(IDENTITY_REQUEST)
    if answer.kind is not AnswerKind.OK:
        return None
    return text(document_of(answer), "creation") or None


async def find_missing_companies(send: Send, names: Collection[str]) -> frozenset[str]:
    """Return those of the given Companies that the site does not have.

    Args:
        send: Sends one request and classifies the answer.
        names: Names of Companies; each costs one request. The engine compares them without case and
            accents (recording 02-company-create-name-accents).

    Raises:
        EngineError: one of them can't be looked up now.
    """
    return frozenset(
        [name for name in names if (await send(get("Company", name))).kind is AnswerKind.MISSING]
    )
