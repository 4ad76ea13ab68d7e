"""Keeps a tenant's names out of use while a change of unknown outcome may still be carried out.

Before a document of a tenant is changed or removed, the record is marked with the time until
which that request may be out: its time limit plus a grace. An answer removes the mark. While the
mark stands (the answer was lost, or the worker died), nothing of the tenant is made or removed,
and that document is not changed: a late removal would hit a new document of the same name
(promise 4).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.model.ownership import Resource, resource_key
from server.model.states import ResourceState

if TYPE_CHECKING:
    from datetime import datetime

    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.step_context import Intent

# For how long after its time limit an unanswered request keeps the slot, or the tenant's names
# in quarantine: the engine may still be working on it (recording 11-client-timeout).
GRACE_SECONDS = 30.0
# No request is out for longer than the longest time limit plus its grace; a mark further ahead
# was made by a clock that has been set back since.
_LONGEST = timedelta(minutes=15)


class InQuarantine(Exception):  # noqa: N818 - no error: the run waits
    """An earlier change may still be out; the run goes on when its time is over.

    Attributes:
        until: When that is, in UTC.
    """

    def __init__(self, resource: Resource, until: datetime) -> None:
        super().__init__(
            f"An earlier change of {resource.doctype} {resource.name!r} got no answer and may "
            "still be carried out. The service looks again once its time is over."
        )
        self.until = until


def longest_out(limit_seconds: float) -> timedelta:
    """Return for how long a request with that time limit may be out at most."""
    return timedelta(seconds=limit_seconds + GRACE_SECONDS)


def may_be_out(until: datetime, now: datetime) -> bool:
    """Tell whether a request whose time ends at `until` may still be out at `now` (both UTC)."""
    return now < until <= now + _LONGEST


def check(driven: DrivenRun, intent: Intent) -> None:
    """Make sure that a write may be sent now.

    Args:
        driven: The run whose tenant owns the document.
        intent: What the write would do. One of a document that tenants share always may.

    Raises:
        InQuarantine: an earlier change may still be out; the write has to wait.
    """
    if intent.shared:
        return
    now = driven.now()
    for resource in driven.resources.values():
        until = resource.busy_until
        if until is None or not may_be_out(until, now):
            continue
        makes_or_removes = not intent.update or intent.removes
        if makes_or_removes or _is_of(resource, intent):
            raise InQuarantine(resource, until)


def mark(driven: DrivenRun, kind: StepType, intent: Intent, longest: timedelta) -> None:
    """Mark, with the next write, for how long a change or removal may be out.

    What is shared by tenants, and what makes a document, is not marked: the one is nobody's to
    remove, and for the other a look is enough.

    Args:
        driven: The run whose tenant owns the document.
        kind: The step that sends the request.
        intent: What the request does, and to which document.
        longest: From now, for how long it may be out at most.
    """
    if intent.shared or not intent.update:
        return
    known = driven.resources.get(resource_key(intent.doctype, intent.name))
    if known is None:
        # What is changed was there already and never asked for by us: it is not ours to remove.
        known = Resource(
            doctype=intent.doctype,
            name=intent.name,
            state=ResourceState.ADOPTED,
            intended_at=driven.now(),
            settled_at=driven.now(),
        )
    _put(driven, kind, known, until=driven.now() + longest)


def lift(driven: DrivenRun, kind: StepType, intent: Intent) -> None:
    """Remove the mark, with the next write: the request was answered, or never sent.

    Args:
        driven: The run whose tenant owns the document.
        kind: The step that sent the request.
        intent: What the request did; one that made a document has no mark.
    """
    known = driven.resources.get(resource_key(intent.doctype, intent.name))
    if intent.update and known is not None and known.busy_until is not None:
        _put(driven, kind, known, until=None)


def _is_of(resource: Resource, intent: Intent) -> bool:
    key = resource_key(resource.doctype, resource.name)
    return key == resource_key(intent.doctype, intent.name)


def _put(driven: DrivenRun, kind: StepType, resource: Resource, *, until: datetime | None) -> None:
    driven.put_resource(replace(resource, busy_until=until), step_key=kind.key, shared=False)
