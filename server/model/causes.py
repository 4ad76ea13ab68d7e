"""Why tenants are stuck and who has to act: the words that judge, diagnosis and reports share."""

from __future__ import annotations

from enum import Enum, unique

from server.model.unreadable import SPEC_UNREADABLE


@unique
class Cause(Enum):
    """Why a tenant is stuck: stable codes, shown to people and stored with findings."""

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
    """Whether somebody has to act.

    MOVING: no, it is being driven on. MAY_CLEAR: perhaps not, it may clear by itself. PERSON: yes.
    """

    MOVING = "MOVING"
    MAY_CLEAR = "MAY_CLEAR"
    PERSON = "PERSON"


# Errors that concern one tenant alone and only a person can fix, whatever class was stored with
# them: that another tenant got past the same error says nothing.
PERSON_CODES = frozenset({"COMPANY_NOT_OURS", "COMPANY_VANISHED", SPEC_UNREADABLE})

# Errors of a step (server.erpnext.codes) that Continue does not get past, or may not, whatever
# was fixed before: what to do next depends on what a diagnosis shows.
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
