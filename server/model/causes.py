"""Why tenants stand still, and who must move: the words that judge, diagnosis and reports share."""

from __future__ import annotations

from enum import Enum, unique

from server.model.unreadable import SPEC_UNREADABLE


@unique
class Cause(Enum):
    """Why a tenant stands still; stable codes, shown to people and kept with findings."""

    STEP_RECORD_LOST = "STEP_RECORD_LOST"
    PASSING_ERROR = "PASSING_ERROR"
    PERMANENT_ERROR = "PERMANENT_ERROR"
    STEP_NOT_DONE = "STEP_NOT_DONE"
    STATE_DIFFERS = "STATE_DIFFERS"
    NO_WORKER = "NO_WORKER"
    STALLED = "STALLED"
    ENGINE_NOT_UP = "ENGINE_NOT_UP"
    ENGINE_SHUT = "ENGINE_SHUT"
    ENGINE_NOT_CONFIGURED = "ENGINE_NOT_CONFIGURED"
    HEALING_BUDGET_SPENT = "HEALING_BUDGET_SPENT"
    HELD = "HELD"
    HERD = "HERD"
    DRIFT = "DRIFT"
    SWEEP_ERROR = "SWEEP_ERROR"
    ROW_DAMAGED = "ROW_DAMAGED"


@unique
class Severity(Enum):
    """Whether somebody must act: it moves again, it may clear by itself, a person must."""

    MOVING = "MOVING"
    MAY_CLEAR = "MAY_CLEAR"
    PERSON = "PERSON"


# Errors that are each tenant's own affair and only a person's to mend, whatever class their step
# stored: that another tenant came through says nothing.
PERSON_CODES = frozenset({"COMPANY_NOT_OURS", "COMPANY_VANISHED", SPEC_UNREADABLE})

# Errors of a step (server.erpnext.codes) that no Continue gets over, however much was mended, or
# may not: what comes next depends on what a diagnosis shows.
LOOK_FIRST = frozenset(
    {
        "COMPANY_MISSING",
        "COMPANY_NAME_TOO_LONG",
        "COMPANY_NOT_OURS",
        "COMPANY_VANISHED",
        "FINAL_CHECK_FAILED",
        "NAME_REFUSED",
        "REFERENCE_MISSING",
    }
)
