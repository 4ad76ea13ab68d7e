"""What a tenant has at the engine, as the record knows it: read before something is taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.model.states import ResourceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.ownership import Resource

# How many names a log line holds; the whole list is in the answer to the order.
_NAMED = 12

_WHY = {
    ResourceState.CREATED: "made by us",
    ResourceState.INTENDED: "asked for by us; whether it is there is looked up first",
    ResourceState.ADOPTED: "was there before, or nothing proves that we made it; stays",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantDocument:
    """One document of a tenant, and what a Deprovision would do with it.

    Attributes:
        removed: Whether a Deprovision deletes it.
        why: In words.
    """

    doctype: str
    name: str
    state: ResourceState
    removed: bool
    why: str


def documents_of(resources: Iterable[Resource]) -> tuple[TenantDocument, ...]:
    """Return what is left of a tenant at the engine, by kind and name."""
    return tuple(
        TenantDocument(
            doctype=resource.doctype,
            name=resource.name,
            state=resource.state,
            removed=resource.state is not ResourceState.ADOPTED,
            why=_WHY[resource.state],
        )
        for resource in sorted(resources, key=lambda each: (each.doctype, each.name))
        if resource.state in _WHY and not resource.shared
    )


def in_words(resources: Iterable[Resource]) -> str:
    """Say in a line what is left at the engine."""
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
