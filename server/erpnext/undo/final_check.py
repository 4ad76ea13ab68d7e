"""The last look: nothing of the tenant is left, and nothing has come back meanwhile.

A request that was out during the removal can have made a document after we looked for it. What
is ours is removed again; what somebody else has made since stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import get
from server.erpnext.seeing import document_of, seen
from server.erpnext.site import site_of
from server.erpnext.undo.removing import NAMED, Looked, found_after, remove
from server.model.ownership import CLOCK_TOLERANCE
from server.model.states import ResourceState
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from server.model.ownership import Resource
    from server.model.step_context import Found, StepContext


class NothingIsLeft:
    """Looks for everything once more."""

    key = "undo_11_final_check"

    async def probe(self, context: StepContext) -> Found:
        """Look for everything that was removed.

        Returns:
            As missing, what our user made since it was asked for, which is to be removed again.

        Raises:
            EngineError: the engine could not be asked.
        """
        site = await site_of(context)
        there: list[Resource] = []
        foreign: list[Resource] = []
        for resource in _removed(context):
            answer = await context.read(get(resource.doctype, resource.name))
            if answer.kind is AnswerKind.MISSING:
                continue
            there_now = seen(resource.doctype, document_of(answer), site.zone)
            document = context.removal.judged(resource, there_now)
            late = (
                not document.made_since
                and document.owner == site.api_user
                and document.created_at is not None
                and document.created_at >= resource.intended_at - CLOCK_TOLERANCE
            )
            (there if late else foreign).append(resource)
        return found_after(Looked(there=tuple(there), gone=(), foreign=tuple(foreign)))

    async def apply(self, context: StepContext, found: Found) -> None:
        """Remove what was made late.

        Raises:
            EngineError: as `remove`.
        """
        for doctype in NAMED:
            for each in found.missing:
                if each.doctype == doctype:
                    await remove(context, doctype, each.name)


def _removed(context: StepContext) -> list[Resource]:
    return [
        resource
        for resource in context.removal.resources
        if resource.state is ResourceState.REMOVED
        and resource.doctype in NAMED
        and not resource.shared
    ]
