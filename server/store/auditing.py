"""Joins an order's audit row to the operation that carries the order out.

Whoever takes an order opens a trail; the operation that is submitted meanwhile takes the
row along in its own transaction. What was refused, or needed no operation, gets a row of
its own when the trail ends. An order whose caller went away carries its row all the same.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server.errors import InvalidInput, ProvisionerError, StoreUnavailable
from server.model.made_often import replace
from server.store.operations import AuditOperation, RequestOperation, TenantOperation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from server.model.access import AuditEntry
    from server.store.operations import Operation, Outcome

    Submit = Callable[[Operation], Awaitable[Outcome]]

_log = structlog.get_logger(__name__)


_OF_A_TENANT = (TenantOperation, RequestOperation)
# Rows that nobody waits for; the loop itself keeps no task.
_NOTES: set[asyncio.Task[None]] = set()


@dataclass(slots=True)
class _Trail:
    entry: AuditEntry
    of_all: bool = False
    written: bool = False


_TRAIL: ContextVar[_Trail | None] = ContextVar("audit_trail", default=None)


@asynccontextmanager
async def trail(submit: Submit, entry: AuditEntry, *, of_all: bool = False) -> AsyncIterator[None]:
    """Take an order: what becomes of it is written with it, or after it.

    Args:
        submit: Writes an operation.
        entry: Who orders what; its outcome and target are filled in here.
        of_all: Whether no one operation carries the order out: its row is written at its end.
    """
    if _TRAIL.get() is not None:
        # One order may be carried out by another: it was given once, and has one row.
        yield
        return
    mine = _Trail(entry, of_all)
    token = _TRAIL.set(mine)
    outcome = entry.outcome
    try:
        yield
    except InvalidInput:
        # No order: nobody could have carried it out.
        raise
    except ProvisionerError as error:
        outcome = error.code
        raise
    except Exception:
        outcome = ProvisionerError.default_code
        raise
    else:
        if not mine.written:
            await _note(submit, mine.entry)
    finally:
        _TRAIL.reset(token)
        if outcome != entry.outcome and not mine.written:
            await _end(submit, replace(mine.entry, outcome=outcome))


async def submit_with_trail(submit: Submit, operation: Operation) -> Outcome:
    """Write an operation, and the audit row of the order it carries out."""
    mine = _TRAIL.get()
    # Once: an order that was written and goes on has its row.
    if mine is None or mine.of_all or mine.written or not isinstance(operation, _OF_A_TENANT):
        return await submit(operation)
    # A new tenant has its id only now.
    row = replace(mine.entry, target=operation.tenant_id)
    outcome = await submit(replace(operation, audit=row))
    mine.written = outcome.applied
    return outcome


async def _end(submit: Submit, entry: AuditEntry) -> None:
    """Write what became of an order that was not carried out."""
    if entry.outcome != StoreUnavailable.default_code:
        await _note(submit, entry)
        return
    # Its caller has waited, and hears of it now: this row may take as long again, or never come.
    task = asyncio.create_task(_note(submit, entry))
    _NOTES.add(task)
    task.add_done_callback(_NOTES.discard)


async def _note(submit: Submit, entry: AuditEntry) -> None:
    try:
        await submit(AuditOperation(entry=entry))
    except StoreUnavailable:
        # The order's own answer is what its caller must hear.
        _log.warning("audit.not_written", action=entry.action, actor=entry.actor)
