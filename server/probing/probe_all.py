"""The reading half of all steps as one thing: `probe_all`.

A step whose needs are not met is UNKNOWN, not wrong; one that meets a conflict says whose
the document is and what differs. The engine's own trouble (down, misconfigured, no answer)
ends the look: half a survey could be mistaken for a whole one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from server.errors import EngineError, EngineNotReady
from server.model.ownership import settle
from server.model.states import ErrorClass, ResourceState
from server.model.step_context import Foreseeing
from server.probing.looking import LookingContext
from server.probing.survey import DocumentSeen, Stand, StepLook, Survey, Whose

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.model.blueprint import Blueprint, StepType
    from server.model.ownership import Document
    from server.model.step_context import Engine, Found
    from server.probing.subject import Subject

# Conflicts about somebody else's document; all others are about one of ours.
_FOREIGN = frozenset({"COMPANY_NOT_OURS", "COMPANY_NAME_TAKEN", "DOCUMENT_NOT_OURS", "NAME_TAKEN"})
_GONE = frozenset({"COMPANY_VANISHED"})
_CHECK = "step_0_engine_check"
_GROUND = frozenset({_CHECK, "step_2_company"})


async def probe_all(
    engine: Engine, blueprint: Blueprint, subject: Subject, *, now: Callable[[], datetime]
) -> Survey:
    """Examine everything a tenant should have; writes nothing.

    Args:
        engine: The engine to ask.
        blueprint: That engine's blueprint.
        subject: The tenant or spec to look for.
        now: The time, in UTC.

    Returns:
        What was found, step by step.

    Raises:
        EngineNotReady: the engine can't be asked now, so nothing is known.
        StoreUnavailable: the database can't be read.
    """
    began, looked_at = time.monotonic(), now()
    context = LookingContext(engine, subject, now=now)
    looks: list[StepLook] = []
    for kind in blueprint.steps_for(subject.spec):
        if kind.last:
            continue  # the final check repeats these looks
        if kind.key in subject.left_out:
            looks.append(_left_out(kind, subject.left_out[kind.key]))
        else:
            looks.append(await _look(engine, kind, context, looks))
    return Survey(
        spec=subject.spec,
        engine_id=subject.spec.engine_id,
        looked_at=looked_at,
        seconds=time.monotonic() - began,
        steps=tuple(looks),
        write_seconds=blueprint.write_seconds,
        seconds_for_each_company=blueprint.seconds_for_each_company,
    )


async def _look(
    engine: Engine, kind: StepType, context: LookingContext, before: list[StepLook]
) -> StepLook:
    # Without its own Company, nothing that depends on it can be told apart from somebody else's.
    blocked = [
        look.key
        for look in before
        if look.key in kind.needs
        and (look.stand is Stand.UNKNOWN or (look.code and look.key in _GROUND))
    ]
    if blocked:
        return StepLook(
            key=kind.key,
            title=kind.title,
            required=kind.required,
            stand=Stand.UNKNOWN,
            message=f"Not looked at: it needs {', '.join(blocked)}.",
        )
    step = engine.step(kind.key)
    sent, noted = context.requests, len(context.notes)
    try:
        found = await step.probe(context)
        if not found.done and not found.skip and isinstance(step, Foreseeing):
            found = await step.foresee(context, found)
    except EngineError as error:
        if error.error_class is not ErrorClass.PERMANENT:
            raise _not_ready(error) from error
        return _conflict(kind, context.named(error), context.requests - sent)
    context.take(kind.key, found.outputs)
    return StepLook(
        key=kind.key,
        title=kind.title,
        required=kind.required,
        stand=_stand(found),
        documents=tuple(_seen(each, context) for each in found.documents),
        missing=found.missing,
        message=found.skip or _words(found),
        notes=(*found.notes, *context.notes[noted:]),
        outputs=found.outputs,
        requests=context.requests - sent,
    )


def _left_out(kind: StepType, note: str) -> StepLook:
    return StepLook(
        key=kind.key,
        title=kind.title,
        required=kind.required,
        stand=Stand.SKIPPED,
        message=note,
    )


def _stand(found: Found) -> Stand:
    if found.skip:
        return Stand.SKIPPED
    return Stand.OK if found.done else Stand.MISSING


def _words(found: Found) -> str:
    if found.done:
        return ""
    if not found.missing:
        return " ".join(("It is not done.", *found.notes))
    return f"Missing: {'; '.join(str(each) for each in found.missing)}."


def _conflict(kind: StepType, error: EngineError, requests: int) -> StepLook:
    stand = Stand.DIFFERENT
    if error.code in _FOREIGN:
        stand = Stand.FOREIGN
    elif error.code in _GONE:
        stand = Stand.MISSING
    return StepLook(
        key=kind.key,
        title=kind.title,
        required=kind.required,
        stand=stand,
        differences=error.differences,
        code=error.code,
        message=error.message,
        public=error.public,
        requests=requests,
    )


def _seen(document: Document, context: LookingContext) -> DocumentSeen:
    known = context.resource(document.doctype, document.name)
    whose = Whose.UNRECORDED
    if document.shared:
        whose = Whose.SHARED
    elif known is not None:
        state = settle(known, document, context.outputs(_CHECK).get("api_user", ""))
        whose = Whose.CREATED if state is ResourceState.CREATED else Whose.ADOPTED
    return DocumentSeen(
        doctype=document.doctype,
        name=document.name,
        whose=whose,
        owner=document.owner,
        created_at=document.created_at,
    )


def _not_ready(error: EngineError) -> EngineNotReady:
    return EngineNotReady(
        f"The engine can't be looked at now, and nothing was written. {error.message}",
        code=error.code,
        retry_after_seconds=error.retry_after_seconds,
    )
