"""Turns rows into model values, and copes with damaged rows.

Whatever a column holds is read: a time that can't be read as None, or as 1970 where a value must
have one; a word that is not one of ours as None, or as the word that does least harm.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.model.identifiers import WorkerId
from server.model.ownership import Resource
from server.model.records import (
    Attempt,
    Cancellation,
    Hold,
    LogEntry,
    Run,
    Step,
    Tenant,
    WaitingFor,
    Worker,
)
from server.model.states import (
    AttemptOutcome,
    ErrorClass,
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)
from server.store.spec_row import read_spec

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

# A day, in seconds: no lease is longer, and arithmetic with times must not overflow.
_LONGEST_LEASE = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def json_object(text: object) -> dict[str, Any]:
    """Read a stored JSON object; anything else reads as empty."""
    stored = str(text)
    try:
        read = json.loads(stored)
        if isinstance(read, dict):
            return _storable(read) if _ODD.search(stored) else read
    except (ValueError, RecursionError):
        # It is not JSON, or is nested more deeply than anybody can have meant.
        pass
    return {}


# JSON escapes of what no database and no message takes: NUL and surrogates.
_ODD = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")


def _storable(value: Any) -> Any:  # Any: what JSON may hold
    """Return a value that was read, with marks for characters that could not be written again."""
    if isinstance(value, str):
        whole_characters = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole_characters.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_storable(each) for each in value]
    return value


def whole(value: object) -> int:
    """Read a whole number; SQLite takes text in its column too, which reads as 0."""
    return value if isinstance(value, int) else 0


def words(value: Any) -> str:  # Any: what a column of SQLite may hold
    """Read a text; SQLite takes bytes or a number in its column too."""
    if isinstance(value, str):
        return value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _words_or_none(value: Any) -> str | None:  # Any: see `words`
    return None if value is None else words(value)


def _id_or_none(value: Any) -> Any:  # Any: each kind of id is a type of its own
    return _words_or_none(value)


def tenant(row: RowMapping) -> Tenant:
    """Read a tenant."""
    hold = None
    if row["hold_reason"] is not None:
        hold = Hold(
            reason=words(row["hold_reason"]),
            by=words(row["hold_by"]) or "unknown",
            since=row["hold_since"] or row["updated_at"] or _EPOCH,
        )
    spec, damage = read_spec(
        json_object(row["spec"]),
        company_name=words(row["company_name"]),
        engine_id=words(row["engine_id"]),
    )
    return Tenant(
        id=row["id"],
        spec=spec,
        site=words(row["site"]),
        state=TenantState.parse(row["state"]),
        run_id=_id_or_none(row["run_id"]),
        fencing_token=whole(row["fencing_token"]),
        log_seq=whole(row["log_seq"]),
        revision=whole(row["revision"]),
        hold=hold,
        look_at=row["look_at"],
        heal_count=whole(row["heal_count"]),
        healed_at=row["healed_at"],
        first_completed_at=row["first_completed_at"],
        created_at=row["created_at"] or _EPOCH,
        updated_at=row["updated_at"] or _EPOCH,
        spec_damage=damage,
    )


def run(row: RowMapping) -> Run:
    """Read a run; an unknown order reads as CONTINUE."""
    waiting_code = WaitingCode.parse(row["waiting_code"])
    waiting = None
    if waiting_code is not None:
        waiting = WaitingFor(
            code=waiting_code,
            message=words(row["waiting_message"]),
            until=row["waiting_until"],
        )
    return Run(
        id=_id_or_none(row["id"]),
        tenant_id=_id_or_none(row["tenant_id"]),
        order=Order.parse(row["run_order"]) or Order.CONTINUE,
        blueprint=words(row["blueprint"]),
        blueprint_version=whole(row["blueprint_version"]),
        state=RunState.parse(row["state"]),
        total_steps=whole(row["total_steps"]),
        due_at=row["due_at"] or _EPOCH,
        worker_id=_id_or_none(row["worker_id"]),
        token=whole(row["token"]),
        actor=words(row["actor"]),
        reason=words(row["reason"]),
        previous_state=words(row["previous_state"]),
        waiting_for=waiting,
        created_at=row["created_at"] or _EPOCH,
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        options={key: str(value) for key, value in json_object(row["options"]).items()},
        cancellation=_cancellation(row),
    )


def _cancellation(row: RowMapping) -> Cancellation | None:
    if row["cancelled_at"] is None:
        return None
    return Cancellation(
        by=words(row["cancelled_by"]) or "unknown",
        reason=words(row["cancel_reason"]),
        at=row["cancelled_at"],
    )


def step(row: RowMapping) -> Step:
    """Read a step; an unknown state reads as PENDING, so that it is looked up again."""
    return Step(
        run_id=_id_or_none(row["run_id"]),
        key=words(row["key"]),
        position=whole(row["position"]),
        required=bool(row["required"]),
        state=StepState.parse(row["state"]) or StepState.PENDING,
        adopted=bool(row["adopted"]),
        tries=whole(row["tries"]),
        races=whole(row["races"]),
        losses=whole(row["losses"]),
        carried_from=_id_or_none(row["carried_from"]),
        error_code=_words_or_none(row["error_code"]),
        error_class=ErrorClass.parse(row["error_class"]),
        error_message=_words_or_none(row["error_message"]),
        error_at=row["error_at"],
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        outputs={key: str(value) for key, value in json_object(row["outputs"]).items()},
        note=words(row["note"]),
    )


def attempt(row: RowMapping) -> Attempt:
    """Read an attempt."""
    return Attempt(
        id=_id_or_none(row["id"]),
        tenant_id=_id_or_none(row["tenant_id"]),
        run_id=_id_or_none(row["run_id"]),
        step_key=words(row["step_key"]),
        number=whole(row["number"]),
        worker_id=WorkerId(words(row["worker_id"])),
        started_at=row["started_at"] or _EPOCH,
        deadline_at=row["deadline_at"] or _EPOCH,
        ended_at=row["ended_at"],
        outcome=AttemptOutcome.parse(row["outcome"]),
        error_class=ErrorClass.parse(row["error_class"]),
        error_code=_words_or_none(row["error_code"]),
        message=_words_or_none(row["message"]),
        evidence={key: str(value) for key, value in json_object(row["evidence"]).items()},
    )


def resource(row: RowMapping) -> Resource:
    """Read a resource; an unknown state reads as ADOPTED, which is never deleted."""
    return Resource(
        doctype=words(row["doctype"]),
        name=words(row["name"]),
        state=ResourceState.parse(row["state"]) or ResourceState.ADOPTED,
        intended_at=row["intended_at"] or _EPOCH,
        shared=bool(row["shared"]),
        busy_until=row["busy_until"],
        settled_at=row["settled_at"],
    )


def log_entry(row: RowMapping) -> LogEntry:
    """Read a log entry."""
    return LogEntry(
        tenant_id=row["tenant_id"],
        cursor=whole(row["cursor"]),
        time=row["time"] or _EPOCH,
        level=LogLevel.parse(row["level"]) or LogLevel.INFO,
        run_id=words(row["run_id"]),
        step_key=words(row["step_key"]),
        attempt=whole(row["attempt"]),
        message=words(row["message"]),
        fields={key: str(value) for key, value in json_object(row["fields"]).items()},
    )


def _lease(value: object) -> float:
    """Read the length of a lease in seconds; an impossible one is over at once."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= _LONGEST_LEASE else 0.0


def worker(row: RowMapping) -> Worker:
    """Read a worker; a lease that can't be is over at once."""
    return Worker(
        id=row["id"],
        started_at=row["started_at"] or _EPOCH,
        heartbeat_at=row["heartbeat_at"] or _EPOCH,
        lease_seconds=_lease(row["lease_seconds"]),
        stopped_at=row["stopped_at"],
        read_at=row.get("read_at"),
    )
