"""Puts into the record what an attempt asks the engine to make, change or remove.

The intent is stored before the request is sent, and what became of it after the answer. A
request whose answer is lost leaves its intent as it was stored, and a probe settles it later
(`settling`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.executor import quarantine
from server.model.made_often import replace
from server.model.ownership import WAS_THERE, Resource, resource_key
from server.model.states import LogLevel, ResourceState
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from datetime import timedelta

    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.step_context import Answer, Intent


class Intents:
    """What one attempt of one step asks for; every change is recorded with the next write."""

    def __init__(self, driven: DrivenRun, kind: StepType, number: int) -> None:
        """Take the run, the step and the number of the attempt."""
        self._driven = driven
        self._kind = kind
        self._number = number

    def say_if_made_again(self, intent: Intent) -> None:
        """Say that a document is made which was there before and is gone.

        The engine does not tell a deleted document from a renamed one.

        Args:
            intent: The write that is about to be sent; of a change nothing is said.
        """
        known = self._known(intent)
        if intent.update or known is None or known.state not in WAS_THERE:
            return
        self._driven.say(
            f"{intent.doctype} {intent.name!r} was there before and is not any more, so it is "
            "made again. If somebody renamed it, that one is still there, under its new name.",
            event="document.made_again",
            level=LogLevel.WARNING,
            step_key=self._kind.key,
            doctype=intent.doctype,
            name=intent.name,
        )

    def store(self, intent: Intent, longest_out: timedelta) -> None:
        """Store the intent of a request that is about to be sent.

        Args:
            intent: What the request does, and to which document.
            longest_out: From now, for how long it may be out at most.
        """
        if intent.update:
            quarantine.mark(self._driven, self._kind, intent, longest_out)
            return
        known = self._known(intent)
        if known is not None:
            # Keep the time of the first intent: whatever was made since then is ours.
            if known.state is not ResourceState.INTENDED:
                known = replace(known, state=ResourceState.INTENDED, intended_at=self._driven.now())
            known = replace(known, settled_at=None)
        else:
            known = Resource(
                doctype=intent.doctype,
                name=intent.name,
                state=ResourceState.INTENDED,
                intended_at=self._driven.now(),
            )
        self._put(known, intent)

    def may_be_made_twice(self, intent: Intent) -> bool:
        """Tell whether an earlier request for the document may be out, and would make another."""
        return not intent.update and not intent.repeatable and self._known(intent) is not None

    def never_sent(self, intent: Intent) -> None:
        """Take back what was stored of a request that was not sent after all."""
        quarantine.lift(self._driven, self._kind, intent)

    def answered(self, intent: Intent, *, unknown_before: bool) -> None:
        """Record that the request was answered, whatever it made.

        Args:
            intent: What was asked for.
            unknown_before: Whether the outcome of an earlier request was unknown already.
        """
        self._driven.unknown = unknown_before
        quarantine.lift(self._driven, self._kind, intent)
        if intent.update or unknown_before:
            return  # an earlier request may still be out
        known = self._driven.resources[resource_key(intent.doctype, intent.name)]
        self._put(replace(known, settled_at=self._driven.now()), intent)

    def carried_out(self, intent: Intent, answer: Answer) -> None:
        """Record what the request did, as the answer to it says."""
        named = f"{intent.doctype} {intent.name!r}"
        if answer.kind is AnswerKind.OK and not intent.update:
            self._settle(intent, ResourceState.CREATED)
            self._say(intent, f"Made {named}.", event="document.made")
        elif intent.removes:
            self._settle(intent, ResourceState.REMOVED)
            self._say(intent, f"Removed {named}.", event="document.removed")
        elif answer.kind is AnswerKind.EXISTS:
            self._say(intent, f"{named} was there already.", event="document.exists")

    def _settle(self, intent: Intent, state: ResourceState) -> None:
        known = self._known(intent)
        if known is not None:
            self._put(replace(known, state=state, settled_at=self._driven.now()), intent)

    def _known(self, intent: Intent) -> Resource | None:
        return self._driven.resources.get(resource_key(intent.doctype, intent.name))

    def _put(self, resource: Resource, intent: Intent) -> None:
        self._driven.put_resource(resource, step_key=self._kind.key, shared=intent.shared)

    def _say(self, intent: Intent, message: str, *, event: str) -> None:
        self._driven.say(
            message,
            event=event,
            step_key=self._kind.key,
            attempt=self._number,
            doctype=intent.doctype,
            name=intent.name,
        )
