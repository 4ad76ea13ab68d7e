"""What a tenant has at the engine according to its record: read before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.model.ownership import resource_key
from server.model.states import ResourceState
from server.model.undo import GOES_WITH_COMPANY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.ownership import Resource
    from server.model.records import Run, Step

# An output of steps that remove: documents that were gone although we had not deleted them. Also
# the option of a removal that lists those which the removal before it missed.
UNACCOUNTED = "unaccounted_for"

# How many names fit a log line; the whole list is in the answer to the order.
_NAMED = 12

_WHY = {
    ResourceState.CREATED: "made by us",
    ResourceState.INTENDED: "requested by us; whether it exists is looked up first",
    ResourceState.ADOPTED: "existed before, or nothing proves that we made it; stays",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDocument:
    """One document of a tenant, and what a Deprovision would do with it.

    Attributes:
        removed: Whether a Deprovision would delete it.
        why: The reason for that, in plain words.
    """

    doctype: str
    name: str
    state: ResourceState
    removed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What was looked up at the engine before a removal, by `resource_key`.

    Attributes:
        replaced: What somebody else made in place of a document that we had made.
        gone: What we made and is not there under its name.
    """

    replaced: frozenset[tuple[str, str]] = frozenset()
    gone: frozenset[tuple[str, str]] = frozenset()


def documents_of(
    resources: Iterable[Resource], foreseen: Foreseen = Foreseen()
) -> tuple[TenantDocument, ...]:
    """Return what is left of a tenant at the engine, ordered by doctype and name.

    Args:
        resources: What the record says.
        foreseen: What was looked up at the engine; nothing if it was not asked.
    """
    left = [each for each in resources if each.state in _WHY and not each.shared]
    company_goes = any(
        each.doctype == "Company"
        and each.state is not ResourceState.ADOPTED
        and resource_key(each.doctype, each.name) not in foreseen.replaced
        for each in left
    )
    return tuple(
        _otherwise(resource, foreseen) or _document(resource, company_goes=company_goes)
        for resource in sorted(left, key=lambda each: (each.doctype, each.name))
    )


def _otherwise(resource: Resource, foreseen: Foreseen) -> TenantDocument | None:
    """Return a document of which the engine says otherwise than the record; None for others."""
    key = resource_key(resource.doctype, resource.name)
    if key not in foreseen.replaced | foreseen.gone:
        return None
    theirs = key in foreseen.replaced
    return TenantDocument(
        doctype=resource.doctype,
        name=resource.name,
        state=ResourceState.ADOPTED if theirs else resource.state,
        removed=False,
        why=(
            "made by somebody else in place of ours; stays"
            if theirs
            else "not there any more: somebody deleted it, or renamed it, and then it stays"
        ),
    )


def _document(resource: Resource, *, company_goes: bool) -> TenantDocument:
    stays = resource.state is ResourceState.ADOPTED
    along = stays and company_goes and resource.doctype in GOES_WITH_COMPANY
    return TenantDocument(
        doctype=resource.doctype,
        name=resource.name,
        state=resource.state,
        removed=along or not stays,
        why="goes with the Company" if along else _WHY[resource.state],
    )


def missed(run: Run, steps: Iterable[Step]) -> str:
    """Name the documents that a removal missed, and those missed by the removals it resumed.

    The record has listed them as gone since then, so no later removal comes across them.

    Args:
        run: The run that removes.
        steps: Its step rows.

    Returns:
        The names, separated by commas, as `unaccounted` takes them; "" if there are none.
    """
    told = [run.options.get(UNACCOUNTED), *(step.outputs.get(UNACCOUNTED) for step in steps)]
    return ", ".join(names for names in told if names)


def unaccounted(names: str) -> str:
    """Say in a sentence that nobody knows what became of these documents; "" if there are none."""
    if not names:
        return ""
    return (
        f"Not there, although we did not delete it: {names}. Somebody deleted or renamed them in "
        "ERPNext; what was renamed is still there."
    )


def in_words(resources: Iterable[Resource]) -> str:
    """Say in one line what is left at the engine: at most twelve documents by their names."""
    left = documents_of(resources)
    if not left:
        return "Nothing of it is left at the engine."
    named = ", ".join(
        f"{each.doctype} {each.name!r}"
        + (" (perhaps)" if each.state is ResourceState.INTENDED else "")
        for each in left[:_NAMED]
    )
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    return f"Left at the engine: {named}{more}."
