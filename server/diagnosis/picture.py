"""All that a diagnosis looks at: what is stored, what moves it, and what the engine holds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.queries import Status
    from server.store.pictures import StoredPicture


class Asked(Enum):
    """How asking the engine went."""

    NOT_ASKED = auto()
    ANSWERED = auto()
    NO_ANSWER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSeen:
    """What a step's read-only probe saw at the engine.

    Attributes:
        done: Whether everything the step wants is there and right; None if the probe
            could not tell.
        missing: What is missing or wrong, in words.
        holds: Documents that exist, such as "Company 'Kijani Stores'".
        skipped: Why the step would be left out, or "".
        error: Why the probe could not tell, or "".
        by_hand: Whether only a person can fix what is wrong: a run would stop at it.
        code: The error that a run would stop at; "" if none.
    """

    key: str
    done: bool | None
    missing: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    skipped: str = ""
    error: str = ""
    by_hand: bool = False
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLook:
    """What the engine said when it was asked for this tenant.

    Attributes:
        says: The answer in plain words.
        steps: In order; empty unless it answered.
    """

    asked: Asked
    says: str
    steps: tuple[StepSeen, ...] = ()

    def step(self, key: str) -> StepSeen | None:
        """Return what was seen of a step, or None."""
        return next((step for step in self.steps if step.key == key), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One tenant at one moment, from all sides.

    Attributes:
        engine_configured: Whether this server knows the tenant's engine.
        other_site: Why no worker drives the tenant although the engine is known; otherwise "".
        names_others: Whether the caller may know about other tenants.
    """

    stored: StoredPicture
    status: Status
    step_types: Sequence[StepType]
    engine_configured: bool
    engine: EngineLook
    lease_seconds: float
    now: datetime
    names_others: bool = True
    other_site: str = ""
