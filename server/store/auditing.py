"""Writes an order's audit row together with the operation that carries the order out.

Code that takes an order opens a trail, and the operation submitted within it writes the row in
its own transaction. An order that was refused, or needed no operation, gets a row of its own when
the trail ends. The row is written even if the order's caller has gone away.
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
# Tasks that write rows for which nobody waits; the event loop itself does not keep tasks alive.
_NOTES: set[asyncio.Task[None]] = set()


@dataclass(slots=True)
class _Trail:
    entry: AuditEntry
    of_all: bool = False
    written: bool = False


_TRAIL: ContextVar[_Trail | None] = ContextVar("audit_trail", default=None)


@asynccontextmanager
async def trail(submit: Submit, entry: AuditEntry, *, of_all: bool = False) -> AsyncIterator[None]:
    """Take an order, so that its audit row is written with its operation or at its end.

    Args:
        submit: Writes an operation.
        entry: Who orders what; its outcome and target are filled in here.
        of_all: Whether no single operation carries the order out; its row is then written at
            the end.
    """
    if _TRAIL.get() is not None:
        # One order may be carried out through another: it was given once, and has one row.
        yield
        return
    mine = _Trail(entry, of_all)
    token = _TRAIL.set(mine)
    outcome = entry.outcome
    try:
        yield
    except InvalidInput:
        # Not an order: nobody could have carried it out.
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
    """Write an operation, and the audit row of the order that it carries out.

    Args:
        submit: Writes an operation.
        operation: If it is about a tenant, and no operation of this order has written the row yet,
            the row becomes part of it.

    Returns:
        The operation's outcome.

    Raises:
        StoreUnavailable: as `server.store.writer` says.
    """
    mine = _TRAIL.get()
    # Only once: an order that goes on after its first operation already has its row.
    if mine is None or mine.of_all or mine.written or not isinstance(operation, _OF_A_TENANT):
        return await submit(operation)
    # A new tenant gets its id only now.
    row = replace(mine.entry, target=operation.tenant_id)
    outcome = await submit(replace(operation, audit=row))
    mine.written = outcome.applied
    return outcome


async def _end(submit: Submit, entry: AuditEntry) -> None:
    """Write what became of an order whose row no operation has written."""
    if entry.outcome != StoreUnavailable.default_code:
        await _note(submit, entry)
        return
    # Its caller has waited and must hear now: writing this row may take as long again, or fail.
    task = asyncio.create_task(_note(submit, entry))
    _NOTES.add(task)
    task.add_done_callback(_NOTES.discard)


async def _note(submit: Submit, entry: AuditEntry) -> None:
    try:
        await submit(AuditOperation(entry=entry))
    except StoreUnavailable:
        # The caller must hear the answer to the order itself.
        _log.warning("audit.not_written", action=entry.action, actor=entry.actor)
