"""The words for the states of tenants, runs, steps and attempts: one list, used everywhere.

The contract, the tables, the log and the docs use the same words. A word in the database that is
not in the list was put there from outside; `parse` reads it without failing.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Self


class Word(StrEnum):
    """An enum stored as its own text."""

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Read a stored word.

        Args:
            text: What the row holds.

        Returns:
            The member, or None if the text is not one of the words (damage from outside).
        """
        return cls.__members__.get(str(text))


@unique
class TenantState(Word):
    """The state of a tenant."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    DEPROVISIONING = "DEPROVISIONING"
    DEPROVISIONED = "DEPROVISIONED"


# A sweep need not look at tenants in these states.
SETTLED_TENANT_STATES = frozenset(
    {
        TenantState.COMPLETED,
        TenantState.CANCELLED,
        TenantState.DEPROVISIONING,
        TenantState.DEPROVISIONED,
    }
)

# What a tenant is in while a run moves it; a removal that stopped half-way stays DEPROVISIONING.
MOVING_TENANT_STATES = frozenset({TenantState.IN_PROGRESS, TenantState.DEPROVISIONING})


@unique
class RunState(Word):
    """The state of a run."""

    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    WAITING = "WAITING"
    COMPLETED = "COMPLETED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    REPLACED = "REPLACED"


OPEN_RUN_STATES = frozenset({RunState.QUEUED, RunState.RUNNING, RunState.WAITING})


@unique
class StepState(Word):
    """The state of a step."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


DONE_STEP_STATES = frozenset({StepState.COMPLETED, StepState.SKIPPED})


@unique
class AttemptOutcome(Word):
    """How an attempt ended."""

    APPLIED = "APPLIED"
    ADOPTED = "ADOPTED"
    RETRY = "RETRY"
    WAIT_ENGINE = "WAIT_ENGINE"
    FAILED = "FAILED"
    LOST = "LOST"


@unique
class Order(Word):
    """The order that a run carries out."""

    START = "START"
    CONTINUE = "CONTINUE"
    RETRY = "RETRY"
    REBUILD = "REBUILD"
    IMPORT = "IMPORT"
    DEPROVISION = "DEPROVISION"


@unique
class ResourceState(Word):
    """What we know about a document at the engine, and who made it."""

    INTENDED = "INTENDED"
    CREATED = "CREATED"
    ADOPTED = "ADOPTED"
    REMOVED = "REMOVED"


@unique
class GateState(Word):
    """Whether a site takes work."""

    UP = "UP"
    DOWN = "DOWN"
    MISCONFIGURED = "MISCONFIGURED"


@unique
class ErrorClass(Word):
    """What kind of error it was; `budget` says what follows."""

    TRANSIENT = "TRANSIENT"
    RACE = "RACE"
    ENGINE_DOWN = "ENGINE_DOWN"
    ENGINE_MISCONFIGURED = "ENGINE_MISCONFIGURED"
    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    PERMANENT = "PERMANENT"
    LOST = "LOST"


@unique
class WaitingCode(Word):
    """What an open run is waiting for."""

    WORKER = "WORKER"
    RETRY = "RETRY"
    ENGINE_DOWN = "ENGINE_DOWN"
    ENGINE_MISCONFIGURED = "ENGINE_MISCONFIGURED"
    SITE_SLOT = "SITE_SLOT"
    CANCELLING = "CANCELLING"
    SITE_PAUSED = "SITE_PAUSED"
    QUARANTINE = "QUARANTINE"


@unique
class LogLevel(Word):
    """The level of a log entry."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
