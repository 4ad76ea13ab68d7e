"""What can be listed of tenants, and how a company is found by its name: pure values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import unique
from typing import TYPE_CHECKING

from server.model.naming import fold_name
from server.model.states import Word

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from server.model.identifiers import TenantId
    from server.model.records import Hold
    from server.model.states import TenantState

# A name is found by each of its first words; longer ones are legal prose.
_MAX_WORDS = 8
# In a folded text of plain letters.
_NO_LETTERS = re.compile("[^a-z0-9]+")


@unique
class ListOrder(Word):
    """Which tenants come first in a list."""

    NEWEST = "NEWEST"
    OLDEST = "OLDEST"
    UPDATED = "UPDATED"
    NAME = "NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which tenants are asked for, and in which order.

    Attributes:
        states: In one of these; empty: in any.
        engine_id: On this engine; "": on any.
        text: How a word of the company's name or the id begins, as `words_of` writes it;
            "": any.
        held: Held ones, those that are not, or (None) both.
        stuck_longer_than: Unsettled for longer than this; None: any.
    """

    states: frozenset[TenantState] = frozenset()
    engine_id: str = ""
    text: str = ""
    held: bool | None = None
    stuck_longer_than: timedelta | None = None
    order: ListOrder = ListOrder.NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a list: right after the tenant of this rank and id.

    Attributes:
        key: What the list is ordered by, as text.
    """

    key: str
    tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSummary:
    """One tenant of a list, as stored.

    Attributes:
        state: None where the row holds a word that is none of ours.
        unsettled_since: Since when it is neither COMPLETED nor ended by a person; None where
            it is, or where nobody knows.
    """

    id: TenantId
    company_name: str
    engine_id: str
    state: TenantState | None
    current_step: str
    steps_completed: int
    total_steps: int
    error_code: str
    hold: Hold | None
    revision: int
    run_id: str
    created_at: datetime
    state_since: datetime
    unsettled_since: datetime | None
    updated_at: datetime

    @property
    def progress_percent(self) -> float:
        """Done steps of the last run in percent."""
        if self.total_steps <= 0:
            return 0.0
        return round(100.0 * min(self.steps_completed, self.total_steps) / self.total_steps, 1)


def words_of(text: str) -> str:
    """Return a text as its words: folded, without punctuation, one blank between two.

    `"Café-Bar (Nairobi)"` gives `"cafe bar nairobi"`; a UUID gives its five groups.
    """
    folded = fold_name(text)
    if folded.isascii():
        plain = _NO_LETTERS.sub(" ", folded)
    else:
        plain = "".join(character if character.isalnum() else " " for character in folded)
    return " ".join(plain.split()[:_MAX_WORDS])


def beginnings(tenant_id: str, company_name: str) -> list[str]:
    """Return the texts a tenant is found by: its id, and its name from each word on."""
    words = words_of(company_name).split()
    found = [words_of(tenant_id), *(" ".join(words[at:]) for at in range(len(words)))]
    return list(dict.fromkeys(found))
