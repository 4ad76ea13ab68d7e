"""Carries out an order to cancel: stop once nothing is out, look at what is unknown, close.

A run is never closed while the outcome of a request is unknown. Its steps are looked at (reads
only), and if a document is not there, the run waits as long as the request for it may still be
carried out. Until then the status has `waiting_for` CANCELLING.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.executor.quarantine import longest_out, may_be_out
from server.executor.settling import settle_documents
from server.model.left_behind import in_words
from server.model.made_often import replace
from server.model.records import reason_told
from server.model.states import (
    DONE_STEP_STATES,
    AttemptOutcome,
    LogLevel,
    RunState,
    StepState,
    WaitingCode,
)

if TYPE_CHECKING:
    from datetime import datetime

    from server.executor.journal import Journal
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.step_context import Found

_CODE = "CANCELLED"


class CancelOrdered(Exception):  # noqa: N818 - no error: the run is to stop here
    """A person ordered the run to be cancelled, and it is at a point where it can stop."""


def check(driven: DrivenRun) -> None:
    """Make sure that the run may go on.

    Raises:
        CancelOrdered: a person ordered it to be cancelled.
    """
    if driven.run.cancellation is not None:
        raise CancelOrdered


def steps_to_look_at(driven: DrivenRun) -> list[StepType]:
    """Return the steps that may have sent a request whose outcome is unknown.

    Returns:
        Those that were begun and are not done, in the blueprint's order.
    """
    return [
        kind
        for kind in driven.kinds
        if driven.steps[kind.key].state not in DONE_STEP_STATES
        and driven.steps[kind.key].started_at is not None
    ]


def looked(driven: DrivenRun, journal: Journal, kind: StepType, found: Found | None) -> None:
    """Collect what a look at a step saw, with the next write; the attempt under way ends.

    Args:
        driven: The run.
        journal: Its record.
        kind: The step.
        found: What the look saw; None if it got no answer.
    """
    if found is not None and found.done:
        journal.done(kind, found, writes=0)
        return
    if found is not None:
        settle_documents(driven, kind, found)
    cut(driven, journal, kind)


def cut(driven: DrivenRun, journal: Journal, kind: StepType) -> None:
    """End the attempt because of a person's order, with the next write.

    Args:
        driven: The run.
        journal: Its record.
        kind: The step; if it was under way, it is pending again.
    """
    journal.end(AttemptOutcome.LOST, code=_CODE, message="A person cancelled the run.")
    step = driven.steps[kind.key]
    if step.state is StepState.RUNNING:
        driven.put_step(replace(step, state=StepState.PENDING))


async def may_come_until(driven: DrivenRun, limit_seconds: float) -> datetime | None:
    """Return until when a request that was sent may still be carried out; None if none may.

    Args:
        driven: The run.
        limit_seconds: How long the engine waits for the answer to a request that needs no slot.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    now, order = driven.now(), driven.run.cancellation
    may_come = longest_out(limit_seconds)
    # The record has the time of the first request for a document. There may have been later
    # ones, until the order came but not after it.
    times = [
        resource.busy_until
        or max(resource.intended_at, order.at if order else resource.intended_at) + may_come
        for resource in driven.resources.values()
        if resource.outcome_unknown
    ]
    slot = await driven.slot_until()
    if slot is not None:
        times.append(slot)
    return max((time for time in times if may_be_out(time, now)), default=None)


async def wait(driven: DrivenRun, journal: Journal, until: datetime) -> float:
    """Hand the run back until nothing can be carried out any more.

    Args:
        driven: The run.
        journal: Its record.
        until: When that is, in UTC.

    Returns:
        The seconds from now until then.

    Raises:
        Replaced: another worker has the run.
        StoreUnavailable: the database can't be written.
    """
    await journal.hand_back_until(
        WaitingCode.CANCELLING,
        "A request that was sent before the cancellation may still be carried out.",
        until,
    )
    return (until - driven.now()).total_seconds()


async def close(driven: DrivenRun, journal: Journal) -> None:
    """Close the run as cancelled, and log what is left behind at the engine.

    Args:
        driven: The run. No request of it may be out any more: the site's slot is given back.
        journal: Its record; an attempt under way ends.

    Raises:
        Replaced: another worker has the run.
        StoreUnavailable: the database can't be written.
    """
    order = driven.run.cancellation
    by = "A person" if order is None else order.by
    why = "" if order is None else reason_told(order.reason)
    journal.end(AttemptOutcome.LOST, code=_CODE, message="A person cancelled the run.")
    for step in list(driven.steps.values()):
        if step.state is StepState.RUNNING:
            driven.put_step(replace(step, state=StepState.PENDING))
    driven.run = replace(
        driven.run,
        state=RunState.CANCELLED,
        worker_id=None,
        waiting_for=None,
        finished_at=driven.now(),
    )
    driven.deadline_at = None
    driven.free_slot()
    driven.say(
        f"{by} cancelled the run.{why} {in_words(driven.resources.values())}",
        event="run.cancelled",
        level=LogLevel.WARNING,
        actor=by,
    )
    await driven.write()
