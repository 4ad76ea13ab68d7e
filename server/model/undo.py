"""What a person ordered besides when a tenant is to be removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_YES = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoOptions:
    """What a Deprovision may do beyond removing an unused tenant.

    Attributes:
        even_if_sold: Remove a shop that has sold something.
        delete_transactions: Have the engine delete the Company's transactions, with all
            ledger entries, by its own Transaction Deletion Record.
    """

    even_if_sold: bool = False
    delete_transactions: bool = False

    def stored(self) -> Mapping[str, str]:
        """Return it as a run keeps it."""
        return {
            name: _YES
            for name, said in (
                ("even_if_sold", self.even_if_sold),
                ("delete_transactions", self.delete_transactions),
            )
            if said
        }

    @classmethod
    def read(cls, stored: Mapping[str, str]) -> UndoOptions:
        """Read what a run kept."""
        return cls(
            even_if_sold=stored.get("even_if_sold") == _YES,
            delete_transactions=stored.get("delete_transactions") == _YES,
        )
