"""Looks what a removal would find of the documents on record, before it is ordered; reads only.

The record says CREATED of what we made, and people may have deleted or renamed it since, or made
something else under its name. A removal notices that as it goes; who asks beforehand should hear
the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.undo.items import item_of
from server.erpnext.undo.removing import NAMED, look_for
from server.model.left_behind import Foreseen
from server.model.naming import fold_name
from server.model.ownership import resource_key
from server.model.states import ResourceState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.ownership import Resource
    from server.model.step_context import StepContext

# What belongs to a Company and is removed one by one if that Company stays.
_PARTS = ("Warehouse", "Account")
# It has no name by which to look for it; it stays with a Company that is not ours.
_ROW = "Mode of Payment Account"


async def foresee_removal(context: StepContext, resources: Iterable[Resource]) -> Foreseen:
    """Look up the documents that a removal would delete.

    Args:
        context: A context that only needs to read.
        resources: The tenant's documents on record, in any state; those that a removal leaves alone
            are not looked up.

    Returns:
        The keys of those that somebody made in place of ours, and of those that are gone.

    Raises:
        EngineError: the engine could not be asked; MAY_STILL_COME as `look_for`.
    """
    ours = [
        each
        for each in resources
        if each.state in {ResourceState.CREATED, ResourceState.INTENDED} and not each.shared
    ]
    looked = await look_for(context, [each for each in ours if each.doctype in NAMED])
    foreign, gone = list(looked.foreign), [each for each in looked.gone if _was_made(each)]
    if any(each.doctype == "Company" for each in (*foreign, *gone)):
        parts = await look_for(context, [each for each in ours if each.doctype in _PARTS])
        foreign += parts.foreign
        gone += [each for each in parts.gone if _was_made(each)]
        rows = [each for each in ours if each.doctype == _ROW]
        theirs = any(each.doctype == "Company" for each in foreign)
        foreign += rows if theirs else []
        gone += [] if theirs else [each for each in rows if _was_made(each)]
    items = {fold_name(each.name) for each in foreign if each.doctype == "Item"}
    # The prices of somebody else's item stay with it.
    prices = [each for each in ours if each.doctype == "Item Price"]
    foreign += [each for each in prices if fold_name(item_of(each)) in items]
    return Foreseen(replaced=_keys(foreign), gone=_keys(gone))


def _was_made(resource: Resource) -> bool:
    """Whether the record says that it was made, so that somebody deleted or renamed it."""
    return resource.state is ResourceState.CREATED


def _keys(resources: Iterable[Resource]) -> frozenset[tuple[str, str]]:
    return frozenset(resource_key(each.doctype, each.name) for each in resources)
