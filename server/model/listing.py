"""How tenants can be listed, and how a company is found by its name: pure values."""

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
    from server.model.records import Hold, WaitingFor
    from server.model.states import TenantState

# A name can be found by each of its first words; longer names are legal prose.
_MAX_WORDS = 8
# Whatever separates words in a folded text.
_NO_LETTERS = re.compile("[^a-z0-9]+")


@unique
class ListOrder(Word):
    """By what a list of tenants is ordered."""

    NEWEST = "NEWEST"
    OLDEST = "OLDEST"
    UPDATED = "UPDATED"
    NAME = "NAME"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which tenants are asked for, and in which order.

    Attributes:
        states: Only tenants in one of these states; empty for any.
        engine_id: Only tenants on this engine; "" for any.
        text: Only tenants whose id, or company name from one of its words on, begins like this,
            in the form that `words_of` returns; "" for any.
        held: Only tenants that are held, or only those that are not; None for both.
        stuck_longer_than: Only tenants unsettled for longer than this; None for any.
    """

    states: frozenset[TenantState] = frozenset()
    engine_id: str = ""
    text: str = ""
    held: bool | None = None
    stuck_longer_than: timedelta | None = None
    order: ListOrder = ListOrder.NEWEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a list: directly after the tenant with this key and id.

    Attributes:
        key: The tenant's value of what the list is ordered by, as text.
    """

    key: str
    tenant_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantSummary:
    """One tenant of a list, as stored.

    Attributes:
        state: None if the row holds a word that is not one of ours.
        current_step: As `Standing.current_step`, and so the two numbers.
        error_code: The code of its first error, which may be that its open run stands still; ""
            without one.
        hold: None if it is not held.
        run_id: The id of its last run; "" if it had none.
        state_since: Since when it has been in its state.
        unsettled_since: Since when it has been neither COMPLETED nor ended by a person; None if it
            is either, or if not known.
        waiting_for: What its open run waits for; None if it moves, or has none.
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
    waiting_for: WaitingFor | None = None

    @property
    def progress_percent(self) -> float:
        """How much of the last run is done, in percent of its steps."""
        if self.total_steps <= 0:
            return 0.0
        return round(100.0 * min(self.steps_completed, self.total_steps) / self.total_steps, 1)


def words_of(text: str) -> str:
    """Return the words of a text: folded, without punctuation, separated by single blanks.

    `"Café-Bar (Nairobi)"` gives `"cafe bar nairobi"`; a UUID gives its five groups. After the
    eighth word nothing more is returned.
    """
    folded = fold_name(text)
    if folded.isascii():
        plain = _NO_LETTERS.sub(" ", folded)
    else:
        plain = "".join(character if character.isalnum() else " " for character in folded)
    return " ".join(plain.split()[:_MAX_WORDS])


def beginnings(tenant_id: str, company_name: str) -> list[str]:
    """Return the texts a tenant is found by: its id, and its name from each of its words on.

    All are in the form of `words_of`, and none occurs twice.
    """
    words = words_of(company_name).split()
    found = [words_of(tenant_id), *(" ".join(words[at:]) for at in range(len(words)))]
    return list(dict.fromkeys(found))
