"""What the removing steps have in common: look, delete what is ours, look again.

Only what the record says we made is deleted. A 404 means done. After a DELETE without a usable
answer we look whether the document is gone, and send another only when the first can't be
carried out any more: every removal holds the site's slot, and takes it only when no request is
out (promise 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import delete, get
from server.erpnext.seeing import document_of, seen
from server.erpnext.site import site_of
from server.errors import EngineError
from server.model.difference import Difference
from server.model.left_behind import UNACCOUNTED
from server.model.ownership import settle
from server.model.states import ErrorClass, ResourceState
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.ownership import Document, Resource
    from server.model.step_context import StepContext

# A DELETE of a Company took 3.6 s on a site with few Companies (recording 00-undo-path).
REMOVE_SECONDS = 60.0

# Documents with a name of their own; the rest goes with one of these.
NAMED = (
    "POS Opening Entry",
    "POS Profile",
    "Item",
    "Customer",
    "Price List",
    "Item Group",
    "Company",
)
# Other documents belong to a Company: they are found through it, or go with it.
_OF_NO_COMPANY = frozenset({"Customer", "Price List", "Item", "Item Group"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What became of documents in the record.

    Attributes:
        there: Ours, and still there.
        gone: Ours, and no longer there.
        foreign: There, but made by somebody else after all.
        replaced: Those documents of `foreign` that somebody made in place of ones of ours.
        lost: Those of `gone` that can't be accounted for: we did not delete them, and they did
            not go with anything else. Somebody deleted or renamed them.
    """

    there: tuple[Resource, ...]
    gone: tuple[Resource, ...]
    foreign: tuple[Resource, ...]
    lost: tuple[Resource, ...] = ()
    replaced: tuple[Document, ...] = ()


async def look_for(context: StepContext, resources: Iterable[Resource]) -> Looked:
    """Look for documents in the record, one by one.

    Args:
        context: The step's context.
        resources: Documents that the record says we made, or asked for.

    Raises:
        EngineError: MAY_STILL_COME, of the class RACE, if one that is not there may still be made;
            or the engine could not be asked.
    """
    there: list[Resource] = []
    gone: list[Resource] = []
    foreign: list[Resource] = []
    replaced: list[Document] = []
    site = await site_of(context)
    for resource in resources:
        answer = await context.read(get(resource.doctype, resource.name))
        if answer.kind is AnswerKind.MISSING:
            _wait_for_late_one(context, resource)
            gone.append(resource)
            continue
        there_now = seen(resource.doctype, document_of(answer), site.zone)
        document = context.removal.judged(resource, there_now)
        ours = settle(resource, document, site.api_user) is ResourceState.CREATED
        (there if ours else foreign).append(resource)
        if not ours and resource.state is ResourceState.CREATED:
            replaced.append(document)
    return Looked(
        there=tuple(there),
        gone=tuple(gone),
        foreign=tuple(foreign),
        lost=tuple(each for each in gone if _is_lost(each)),
        replaced=tuple(replaced),
    )


async def remove(context: StepContext, doctype: str, name: str, *, on_record: str = "") -> None:
    """Delete one document; that there is none is no error.

    Args:
        context: The step's context.
        doctype: Its doctype.
        name: Its name at the engine.
        on_record: Its key in the record, if the engine made the name up; "" if it did not.

    Raises:
        EngineError: STILL_LINKED if another document points to it (recording
            10-delete-wrong-order); or as `write`.
    """
    await context.write(
        Intent(
            doctype=doctype,
            name=on_record or name,
            slot=True,
            update=True,
            removes=True,
            repeatable=False,
        ),
        delete(doctype, name, timeout_seconds=REMOVE_SECONDS),
    )


def found_after(looked: Looked, kept: Iterable[Resource] = ()) -> Found:
    """Return what a probe finds out about documents that should be gone.

    Args:
        looked: What became of those that we made.
        kept: Those that were there before us, which stay; they are only noted.

    Returns:
        Done if none of ours is there any more. What can't be accounted for is named in the output
        `UNACCOUNTED`.
    """
    notes = [f"{each.doctype} {each.name!r} was there before; it stays." for each in kept]
    notes += [made_by_others(each) for each in looked.foreign]
    lost = ", ".join(f"{each.doctype} {each.name!r}" for each in looked.lost)
    return Found(
        done=not looked.there,
        outputs={UNACCOUNTED: lost} if lost else {},
        missing=tuple(
            Difference(doctype=each.doctype, name=each.name, field="it", have="there", want="gone")
            for each in looked.there
        ),
        documents=looked.replaced,
        gone=tuple((each.doctype, each.name) for each in looked.gone),
        notes=tuple(notes),
    )


def made_by_others(document: Resource | Document) -> str:
    """Say why a document that has the name of one of ours is not removed."""
    return f"{document.doctype} {document.name!r} was made by somebody else; it stays."


class RemoveDocuments:
    """Removes the documents of some doctypes."""

    def __init__(self, key: str, *doctypes: str) -> None:
        """Take the step's key and the doctypes, in the order of their removal."""
        self.key = key
        self._doctypes = doctypes

    async def probe(self, context: StepContext) -> Found:
        """Look which documents are left.

        Raises:
            EngineError: as `look_for`.
        """
        removal = context.removal
        looked = await look_for(context, removal.ours(*self._doctypes))
        return found_after(looked, removal.kept(*self._doctypes))

    async def apply(self, context: StepContext, found: Found) -> None:
        """Delete the documents that are left.

        Raises:
            EngineError: as `remove`.
        """
        for doctype in self._doctypes:
            for each in found.missing:
                if each.doctype == doctype:
                    await remove(context, doctype, each.name)


def _is_lost(gone: Resource) -> bool:
    """Tell whether a document that is gone was neither deleted by us nor went with another.

    We made it, and that is all the record says: had we sent a deletion, the record would say that
    it was answered, or have a mark that it was not. If the document was renamed, nothing tells
    which one it is now: the same user made those of all tenants, and all else may have changed.
    """
    return (
        gone.doctype in _OF_NO_COMPANY
        and gone.state is ResourceState.CREATED
        and gone.busy_until is None
    )


def _wait_for_late_one(context: StepContext, resource: Resource) -> None:
    until = context.removal.may_come_until(resource)
    if until is None or context.now() >= until:
        return
    raise EngineError(
        ErrorClass.RACE,
        Code.MAY_STILL_COME,
        f"The request for {resource.doctype} {resource.name!r} got no answer. It does not exist "
        "yet, but may still be made: the service looks for it again once the request's time is "
        "over.",
        retry_after_seconds=(until - context.now()).total_seconds(),
    )
