"""What is not as a tenant needs it: a document that is not there, or a field that differs."""

from __future__ import annotations

from dataclasses import dataclass, replace

# In the place of a field: who made a document that is another's.
MADE_BY = "made by"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing at the engine that a tenant needs otherwise.

    Attributes:
        doctype: The engine's kind; where the engine has no document for it, our own word.
        name: The document's name.
        field: The field that differs; "" where the whole document is not there.
        have: What it has; "" where there is nothing.
        want: What it should have; "" where `field` is "".
        of_others: Whether `have` names what is another tenant's.
    """

    doctype: str
    name: str
    field: str = ""
    have: str = ""
    want: str = ""
    of_others: bool = False

    @property
    def told(self) -> Difference:
        """The same without names of other tenants."""
        return replace(self, have="another's", of_others=False) if self.of_others else self

    def __str__(self) -> str:
        whole = self.name if self.name.startswith(self.doctype) else f"{self.doctype} {self.name}"
        if not self.field:
            return whole
        if self.field == MADE_BY:
            return f"{whole}: {MADE_BY} {self.have}, not by {self.want}"
        return f"{whole}: {self.field} is {self.have!r}, wanted {self.want!r}"
