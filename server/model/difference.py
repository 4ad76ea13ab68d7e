"""What is not as a tenant needs it: a document that is missing, or a field that differs."""

from __future__ import annotations

from dataclasses import dataclass, replace

# Used in place of a field if the document belongs to somebody else: who made it.
MADE_BY = "made by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing at the engine that is not as a tenant needs it.

    Attributes:
        doctype: ERPNext's doctype, or a word of ours if ERPNext has no document for it.
        name: The document's name.
        field: The field that differs; "" if the whole document is missing.
        have: The field's value; "" if there is none.
        want: The value it should have; "" if `field` is "".
        of_others: Whether `have` names something of another tenant.
    """

    doctype: str
    name: str
    field: str = ""
    have: str = ""
    want: str = ""
    of_others: bool = False

    @property
    def told(self) -> Difference:
        """The same difference, without the names of other tenants."""
        return replace(self, have="another's", of_others=False) if self.of_others else self

    def __str__(self) -> str:
        whole = self.name if self.name.startswith(self.doctype) else f"{self.doctype} {self.name}"
        if not self.field:
            return whole
        if self.field == MADE_BY:
            return f"{whole}: {MADE_BY} {self.have}, not by {self.want}"
        return f"{whole}: {self.field} is {self.have!r}, wanted {self.want!r}"
