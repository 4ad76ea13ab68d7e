"""Decides who made each document that a probe saw, and puts that into the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.made_often import replace
from server.model.ownership import Resource, resource_key, settle
from server.model.states import ResourceState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.ownership import Document
    from server.model.step_context import Found


def settle_documents(driven: DrivenRun, kind: StepType, found: Found) -> bool:
    """Settle the documents that were seen, with the next write.

    Args:
        driven: The run.
        kind: The step that looked.
        found: What it saw: documents, those that are gone, and what is not as wanted, whose changes
            may still be out.

    Returns:
        Whether one of them shows that an earlier request of ours, whose answer was lost, was
        carried out.
    """
    now = driven.now()
    check = driven.steps.get("step_0_engine_check")
    api_user = "" if check is None else check.outputs.get("api_user", "")
    ours = False
    differs = {resource_key(each.doctype, each.name) for each in found.missing}
    for document in found.documents:
        key = resource_key(document.doctype, document.name)
        known = driven.resources.get(key)
        if known is None and document.shared:
            continue
        if known is not None and known.busy_until is not None and key in differs:
            continue  # it is there, but without the change that may still be out
        state = settle(known, document, api_user)
        if known is not None and known.state is state and known.busy_until is None:
            continue
        if known is not None and known.state is ResourceState.INTENDED:
            # The outcome of the request whose answer was lost is known: others may go on. Another
            # request of this tenant may hold the slot: that one's outcome may still be unknown.
            driven.free_slot(((known.doctype, known.name),))
        for told in _done_by_us(document, known, state):
            ours = True
            driven.say(
                told,
                event="document.settled",
                step_key=kind.key,
                doctype=document.doctype,
                name=document.name,
            )
        driven.put_resource(
            _resource(document, state, known, now), step_key=kind.key, shared=document.shared
        )
    _settle_gone(driven, kind, found)
    return ours


def _done_by_us(document: Document, known: Resource | None, state: ResourceState) -> Iterator[str]:
    """Say which earlier requests of ours, whose answers were lost, this document shows as done."""
    named = f"{document.doctype} {document.name!r}"
    if known is not None and known.busy_until is not None:
        yield (
            f"{named} is as it was wanted: an earlier change of ours, whose answer was lost, was "
            "carried out."
        )
    if state is ResourceState.CREATED and (known is None or known.state is not state):
        yield f"{named} was made by an earlier request of ours whose answer was lost."


def free_slot_of_seen(driven: DrivenRun, found: Found) -> None:
    """Give the slot back, with the next write, if the document it was taken for was seen.

    For a step that is not done yet: the rest of it may take long, or fail for good, and the site
    need not wait for that.

    Args:
        driven: The run; if its tenant does not hold the slot, nothing happens.
        found: What the step's probe saw.
    """
    keys = [resource_key(document.doctype, document.name) for document in found.documents]
    settled = tuple(
        (known.doctype, known.name)
        for key in keys
        if (known := driven.resources.get(key)) and known.state is ResourceState.INTENDED
    )
    if settled:
        driven.free_slot(settled)


def _settle_gone(driven: DrivenRun, kind: StepType, found: Found) -> None:
    """Record, with the next write, that known documents are no longer there."""
    if found.gone:
        # A removal that got no answer was carried out: others may have the slot.
        driven.free_slot(found.gone)
    for doctype, name in found.gone:
        known = driven.resources.get(resource_key(doctype, name))
        if known is None or known.state is ResourceState.REMOVED:
            continue
        gone = replace(known, state=ResourceState.REMOVED, settled_at=driven.now())
        driven.put_resource(gone, step_key=kind.key, shared=False)


def _resource(
    document: Document, state: ResourceState, known: Resource | None, now: datetime
) -> Resource:
    if known is not None:
        # The document is as it was wanted, so that no request for it is out any more.
        return replace(known, state=state, busy_until=None, settled_at=now)
    return Resource(
        doctype=document.doctype,
        name=document.name,
        state=state,
        intended_at=now,
        settled_at=now,
    )
