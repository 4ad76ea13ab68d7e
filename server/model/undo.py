"""The options of an order to remove a tenant, and what there is to remove."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from server.model.ownership import CLOCK_TOLERANCE, resource_key
from server.model.states import ResourceState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from server.model.ownership import Document, Resource

_YES = "yes"
# Errors of a removal that only a different order gets past.
_NEEDS_EVEN_IF_SOLD = frozenset({"SHOP_HAS_SOLD"})
_NEEDS_DELETION = frozenset({"LEDGER_ENTRIES"})
# The option of a removal that says since when nothing was sent for the tenant, if the run before
# left a request without an answer.
UNSETTLED_AT = "unsettled_at"
# The option of a removal that says to which moments our database was restored, if it ever was.
RESTORED_TO = "restored_to"
# The longest time limit of a request that makes a Company, plus the grace after it.
_COMPANY_MAY_COME = timedelta(seconds=450)
# What ERPNext deletes together with a Company (recording 00-undo-path).
GOES_WITH_COMPANY = ("Account", "Warehouse", "Mode of Payment Account")


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOptions:
    """What a Deprovision may do beyond removing an unused tenant.

    Attributes:
        even_if_sold: Remove even a shop that has sold something.
        delete_transactions: Have the engine delete the Company's transactions, with all
            ledger entries, by its own Transaction Deletion Record.
    """

    even_if_sold: bool = False
    delete_transactions: bool = False

    def stored(self) -> Mapping[str, str]:
        """Return the options in the form in which a run stores them."""
        return {
            name: _YES
            for name, said in (
                ("even_if_sold", self.even_if_sold),
                ("delete_transactions", self.delete_transactions),
            )
            if said
        }

    def after(self, codes: Collection[str]) -> UndoOptions:
        """Return the options to use after these errors, which the same order would meet again.

        Args:
            codes: The codes of the errors at which a removal stopped; others change nothing.
        """
        return UndoOptions(
            even_if_sold=self.even_if_sold or not _NEEDS_EVEN_IF_SOLD.isdisjoint(codes),
            delete_transactions=self.delete_transactions or not _NEEDS_DELETION.isdisjoint(codes),
        )

    @property
    def flags(self) -> str:
        """The options for the command line, each preceded by a blank."""
        return "".join(f" --{name.replace('_', '-')}" for name in self.stored())

    @classmethod
    def read(cls, stored: Mapping[str, str]) -> UndoOptions:
        """Read the options from what a run stored; anything but `stored`'s word counts as no."""
        return cls(
            even_if_sold=stored.get("even_if_sold") == _YES,
            delete_transactions=stored.get("delete_transactions") == _YES,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What the record says about a tenant that is being removed.

    Attributes:
        options: The options of the order.
        resources: All documents of the tenant, including shared ones.
        unsettled_at: When a request of unknown outcome may last have been sent, or None.
        may_come: For how long after that a document other than a Company may still be made.
        restored_to: The moments to which our database was restored (`made_since`).
    """

    options: UndoOptions = UndoOptions()
    resources: Sequence[Resource] = field(default=())
    unsettled_at: datetime | None = None
    may_come: timedelta = timedelta(seconds=60)
    restored_to: Sequence[datetime] = ()

    def ours(self, *doctypes: str) -> tuple[Resource, ...]:
        """Return what we made, or requested without knowing the outcome."""
        wanted = {ResourceState.CREATED, ResourceState.INTENDED}
        return tuple(
            resource
            for resource in self.resources
            if resource.doctype in doctypes and resource.state in wanted and not resource.shared
        )

    def kept(self, *doctypes: str) -> tuple[Resource, ...]:
        """Return what existed before, and stays."""
        return tuple(
            resource
            for resource in self.resources
            if resource.doctype in doctypes
            and resource.state is ResourceState.ADOPTED
            and not resource.shared
        )

    def company_is_ours(self, name: str) -> bool:
        """Tell whether the Company is one that we made or asked for, or have removed."""
        key = resource_key("Company", name)
        return any(
            resource_key(resource.doctype, resource.name) == key
            and resource.state is not ResourceState.ADOPTED
            for resource in self.resources
        )

    def judged(self, resource: Resource, seen: Document) -> Document:
        """Mark a document that was made after a moment to which our database was restored.

        Args:
            resource: What the record says about the document.
            seen: What the engine has by its name.
        """
        if resource.state is ResourceState.INTENDED:
            return seen
        known_at = max(resource.intended_at, resource.settled_at or resource.intended_at)
        later = made_since(known_at, seen.created_at, self.restored_to)
        return replace(seen, made_since=True) if later else seen

    def may_come_until(self, resource: Resource) -> datetime | None:
        """Return until when a document that was requested may still be made.

        Returns:
            None if its outcome is known, or nothing was sent that is not answered.
        """
        if resource.state is not ResourceState.INTENDED or self.unsettled_at is None:
            return None
        company = resource.doctype == "Company"
        return self.unsettled_at + (_COMPANY_MAY_COME if company else self.may_come)


def made_since(
    known_at: datetime, made_at: datetime | None, restored_to: Iterable[datetime]
) -> bool:
    """Tell whether a document took the place of one that our record lost sight of in a restore.

    The record had one of that name at the moment of the backup, so that one was removed since, and
    the name was free: what has it now is of another tenant, or of the same one's next life. The
    record lacks either, and our user made both (docs/decisions/0066).

    Args:
        known_at: Since when the record knows the document.
        made_at: When the one that is there was made, in UTC; None if that is not known.
        restored_to: The moments to which our database was restored.
    """
    return made_at is not None and any(
        known_at <= moment < made_at - CLOCK_TOLERANCE for moment in restored_to
    )


def moments_stored(restored_to: Iterable[datetime]) -> dict[str, str]:
    """Return moments as an option of a run, to be read by `moments_read`; nothing for none."""
    moments = " ".join(moment.isoformat() for moment in restored_to)
    return {RESTORED_TO: moments} if moments else {}


def moments_read(options: Mapping[str, str]) -> tuple[datetime, ...]:
    """Return the moments that a run's options name."""
    return tuple(map(datetime.fromisoformat, options.get(RESTORED_TO, "").split()))
