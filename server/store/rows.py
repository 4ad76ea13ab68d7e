"""Model values to rows: what an operation writes, table by table."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from server.model.listing import beginnings, words_of
from server.model.naming import fold_name
from server.model.states import SETTLED_TENANT_STATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from dataclasses import Field

    from server.model.access import AuditEntry
    from server.model.records import Cancellation
    from server.model.spec import TenantSpec
    from server.store.operations import (
        OutboxRow,
        Outcome,
        RequestOperation,
        SweepOperation,
        TenantOperation,
    )

# Words go in as they are: an enum that is text is written as its text.
Row = dict[str, Any]

# A log entry is at most 8 KiB on the wire (design: so that a page of a hundred stays
# below a message's limit); its message gets half, its fields share the rest.
MAX_MESSAGE_BYTES = 4096
MAX_FIELD_BYTES = 400
MAX_FIELDS = 8
_NOT_AT_ALL = timedelta()


def clip(text: str, limit: int) -> str:
    """Cut a text to so many bytes of UTF-8, at a character, with a mark where it was cut."""
    if len(text) * 4 <= limit:
        return text  # no character takes more than four bytes
    encoded = text.encode("utf-8", errors="replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    return encoded[: limit - 3].decode("utf-8", errors="ignore") + "…"


def dump(value: Mapping[str, Any]) -> str:
    """Write a mapping as compact JSON with sorted keys."""
    return _JSON.encode(value) if value else "{}"


# Made once: `json.dumps` with options makes an encoder a call.
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def spec_text(spec: TenantSpec) -> str:
    """Write a spec as it is stored and compared."""
    fields: dict[str, Field[Any]] = spec.__dataclass_fields__
    values = {name: getattr(spec, name) for name in fields}
    values["payment_methods"] = list(spec.payment_methods)
    return dump(values)


def change_row(op: TenantOperation) -> Row:
    """Return the change of a tenant's own row."""
    standing = op.standing
    row: Row = {
        "id": op.tenant_id,
        "token": op.token,
        "revision": op.revision,
        "raise_token": int(op.raise_token),
        "log_count": len(op.log),
        "run_id": op.run_id,
        "hold_change": 1 if op.hold or op.lift_hold else 0,
        "look_at": op.look_at,
        "heal_change": op.healing is not None,
        "first_completed_at": op.completed_at,
        "new_life": op.new_life,
        "updated_at": op.at,
    }
    if standing is not None:
        row |= _standing_row(op)
    row |= _hold_row(op)
    if op.healing is not None:
        row |= {"heal_count": op.healing.count, "healed_at": op.healing.at}
    return row


def _hold_row(op: TenantOperation) -> Row:
    hold = op.hold
    if hold is None:
        return {}
    return {"hold_reason": hold.reason, "hold_by": hold.by, "hold_since": hold.since}


def new_tenant_row(op: TenantOperation) -> Row:
    """Return the row of a tenant that is not there yet."""
    if op.create is None or op.standing is None:
        raise ValueError("a new tenant needs a spec and a standing")
    return {
        "id": op.tenant_id,
        "company_name": op.create.spec.company_name,
        "company_fold": fold_name(op.create.spec.company_name),
        "spec": spec_text(op.create.spec),
        "engine_id": op.create.spec.engine_id,
        "site": op.create.site,
        **_standing_row(op),
        "run_id": op.run_id,
        "fencing_token": 1,
        "log_seq": len(op.log),
        "revision": 1,
        "look_at": op.look_at,
        "heal_count": 0,
        "first_completed_at": op.completed_at,
        **_hold_row(op),
        "created_at": op.at,
        "updated_at": op.at,
        "state_since": op.at,
        "unsettled_since": None if op.standing.state in SETTLED_TENANT_STATES else op.at,
        "words": words_of(op.create.spec.company_name),
    }


def import_row(op: TenantOperation) -> Row:
    """Return where an imported tenant came from."""
    if op.imported is None:
        raise ValueError("not imported")
    return {
        "tenant_id": op.tenant_id,
        "imported_at": op.at,
        "recorded": op.imported.recorded,
        "decision": op.imported.decision,
        "legacy": op.imported.legacy,
    }


def word_rows(op: TenantOperation) -> Iterator[Row]:
    """Return what a new tenant is found by."""
    if op.create is None:
        return
    for beginning in beginnings(op.tenant_id, op.create.spec.company_name):
        yield {"words": beginning, "tenant_id": op.tenant_id}


def _standing_row(op: TenantOperation) -> Row:
    standing = op.standing
    if standing is None:
        return {}
    return {
        "state": standing.state,
        "current_step": standing.current_step,
        "steps_completed": standing.steps_completed,
        "total_steps": standing.total_steps,
        "error_code": standing.errors[0].code if standing.errors else None,
    }


def binding_row(op: TenantOperation) -> Row:
    """Return the binding an operation writes."""
    binding = op.binding
    if binding is None:
        raise ValueError("no binding")
    abbreviation = binding.abbreviation
    return {
        "tenant_id": op.tenant_id,
        "site": binding.site,
        "company_name": binding.company_name,
        "company_fold": fold_name(binding.company_name),
        "abbreviation": abbreviation,
        "abbreviation_fold": None if abbreviation is None else fold_name(abbreviation),
        "created_at": op.at,
    }


def run_rows(op: TenantOperation, outcome: Outcome) -> Iterator[Row]:
    """Return the runs an operation writes, with the token they are driven under."""
    for item in op.runs:
        run, waiting = item.run, item.run.waiting_for
        yield {
            "id": run.id,
            "tenant_id": run.tenant_id,
            "site": item.site,
            "run_order": run.order,
            "blueprint": run.blueprint,
            "blueprint_version": run.blueprint_version,
            "state": run.state,
            "total_steps": run.total_steps,
            "due_at": run.due_at,
            "worker_id": run.worker_id,
            "token": outcome.token,
            "deadline_at": item.deadline_at,
            "actor": run.actor,
            "reason": run.reason,
            "previous_state": run.previous_state,
            "options": dump(run.options),
            **_cancellation(run.cancellation),
            "waiting_code": None if waiting is None else waiting.code.value,
            "waiting_message": None if waiting is None else waiting.message,
            "waiting_until": None if waiting is None else waiting.until,
            "created_at": run.created_at,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
        }


def _cancellation(cancellation: Cancellation | None) -> Row:
    if cancellation is None:
        return {}
    return {
        "cancelled_by": cancellation.by,
        "cancel_reason": cancellation.reason,
        "cancelled_at": cancellation.at,
    }


def step_rows(op: TenantOperation) -> Iterator[Row]:
    """Return the steps an operation writes."""
    for step in op.steps:
        yield {
            "run_id": step.run_id,
            "key": step.key,
            "tenant_id": op.tenant_id,
            "position": step.position,
            "required": step.required,
            "state": step.state,
            "adopted": step.adopted,
            "tries": step.tries,
            "races": step.races,
            "losses": step.losses,
            "carried_from": step.carried_from,
            "error_code": step.error_code,
            "error_class": step.error_class,
            "error_message": step.error_message,
            "error_at": step.error_at,
            "started_at": step.started_at,
            "completed_at": step.completed_at,
            "outputs": dump(step.outputs),
            "note": step.note,
        }


def attempt_rows(op: TenantOperation) -> Iterator[Row]:
    """Return the attempts an operation writes."""
    for attempt in op.attempts:
        error_class, outcome = attempt.error_class, attempt.outcome
        yield {
            "id": attempt.id,
            "tenant_id": attempt.tenant_id,
            "run_id": attempt.run_id,
            "step_key": attempt.step_key,
            "number": attempt.number,
            "worker_id": attempt.worker_id,
            "started_at": attempt.started_at,
            "deadline_at": attempt.deadline_at,
            "ended_at": attempt.ended_at,
            "outcome": outcome,
            "error_class": error_class,
            "error_code": attempt.error_code,
            "message": attempt.message,
            "evidence": dump(attempt.evidence),
        }


def resource_rows(op: TenantOperation, *, behind: timedelta = _NOT_AT_ALL) -> Iterator[Row]:
    """Return the resources an operation writes.

    Args:
        op: The operation.
        behind: By how much its clock is behind that of the database, where hosts share one:
            what is to be kept out of use for a time is kept by the clock they share.
    """
    for item in op.resources:
        until = item.resource.busy_until
        yield {
            "tenant_id": op.tenant_id,
            "doctype": item.resource.doctype,
            "name": item.resource.name,
            "state": item.resource.state,
            "shared": item.shared,
            "run_id": item.run_id,
            "step_key": item.step_key,
            "intended_at": item.resource.intended_at,
            "settled_at": item.settled_at,
            "busy_until": None if until is None else until + behind,
        }


def log_rows(op: TenantOperation, log_seq: int) -> Iterator[Row]:
    """Return the log entries an operation writes; the last one gets cursor `log_seq`."""
    first = log_seq - len(op.log) + 1
    for cursor, draft in enumerate(op.log, start=first):
        fields = {"event": draft.event, "tenant": op.tenant_id, **draft.fields}
        kept = list(fields.items())[:MAX_FIELDS]
        yield {
            "tenant_id": op.tenant_id,
            "cursor": cursor,
            "time": op.at,
            "level": draft.level,
            "run_id": draft.run_id,
            "step_key": draft.step_key,
            "attempt": draft.attempt,
            "message": clip(draft.message, MAX_MESSAGE_BYTES),
            "fields": dump({key: clip(value, MAX_FIELD_BYTES) for key, value in kept}),
        }


def request_row(op: TenantOperation | RequestOperation) -> Row:
    """Return the request an operation answers."""
    request = op.request
    if request is None:
        raise ValueError("no request")
    return {
        "caller": request.caller,
        "method": request.method,
        "request_id": request.request_id,
        "body_hash": request.body_hash,
        "tenant_id": op.tenant_id,
        "created_at": op.at,
    }


def sweep_row(op: SweepOperation) -> Row:
    """Return the row of a sweep."""
    return {
        "id": op.id,
        "started_at": op.started_at,
        "finished_at": op.finished_at,
        "observed": op.observed,
        "acted": op.acted,
        "skipped_passes": op.skipped_passes,
    }


def finding_rows(op: SweepOperation) -> list[Row]:
    """Return the rows of a sweep's findings."""
    return [
        {
            "id": finding.id,
            "sweep_id": op.id,
            "tenant_id": finding.tenant_id,
            "revision": finding.revision,
            "cause": finding.cause,
            "severity": finding.severity,
            "message": finding.message,
            "evidence": dump(finding.evidence),
            "verdict": finding.verdict,
            "outcome": finding.outcome,
            "stuck_since": finding.stuck_since,
            "found_at": finding.found_at,
            "fingerprint": finding.fingerprint,
            "herd_id": finding.herd_id,
            "tenants": finding.tenants,
            "ended_at": finding.ended_at,
            "ended_as": finding.ended_as,
        }
        for finding in op.findings
    ]


def outbox_row(message: OutboxRow) -> Row:
    """Return the row of a message, due at once."""
    return {
        "id": message.id,
        "kind": message.kind,
        "body": dump(message.body),
        "created_at": message.created_at,
        "due_at": message.created_at,
        "tries": 0,
        "last_error": "",
    }


def audit_row(entry: AuditEntry) -> Row:
    """Return the columns of an audit entry."""
    return {
        "id": entry.id,
        "at": entry.at,
        "actor": entry.actor,
        "role": entry.role,
        "origin": entry.origin,
        "action": entry.action,
        "target": entry.target,
        "outcome": entry.outcome,
        "request_id": entry.request_id,
        "reason": entry.reason,
    }
