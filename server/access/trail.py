"""The audit: a row for each order, with who, what, on whom, from where, and what became of it.

If the order changes something, the row is written in the same transaction. An order that was
refused, or changed nothing, has a row of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.access import DONE, AuditEntry
from server.model.identifiers import new_id

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.actor import Actor

# A refused call may name anything as its target.
_MAX_TEXT = 500


def entry(
    actor: Actor,
    at: datetime,
    *,
    action: str,
    target: str = "",
    outcome: str = DONE,
    request_id: str = "",
    reason: str = "",
) -> AuditEntry:
    """Return a row for the audit; long texts are cut, and what can't be printed is replaced.

    Args:
        actor: Who gave the order, with role and origin.
        at: When.
        action: The method's name, or what was done on the database's machine.
        target: The tenant, user or key it was about.
        outcome: DONE, or the code of the refusal.
        request_id: The order's, if it had one.
        reason: Why, in the words of who ordered it.
    """
    return AuditEntry(
        id=new_id(at),
        at=at,
        actor=_cut(actor.name),
        role=actor.role.value,
        origin=_cut(actor.origin),
        action=action,
        target=_cut(target),
        outcome=outcome,
        request_id=_cut(request_id),
        reason=_cut(reason),
    )


def _cut(text: str) -> str:
    """Return printable text: a row is one line, whoever wrote its words."""
    shown = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return shown if len(shown) <= _MAX_TEXT else shown[: _MAX_TEXT - 1] + "…"
