"""Turns model values into rows: what an operation writes, table by table."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from server.model.access import fold_email
from server.model.listing import beginnings, words_of
from server.model.naming import fold_name
from server.model.states import SETTLED_TENANT_STATES
from server.store.columns import time_text
from server.store.rowset import storable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from dataclasses import Field
    from datetime import datetime

    from server.model.access import AuditEntry, Membership, NewUser
    from server.model.derive import Standing
    from server.model.spec import TenantSpec
    from server.store.operations import (
        OutboxRow,
        Outcome,
        RequestOperation,
        SweepOperation,
        TenantOperation,
    )
    from server.store.rowset import Cells

# Values by column. Text enums need no conversion: they are written as their text.
Row = dict[str, Any]

# A log entry is at most 8 KiB on the wire, so that a page of a hundred stays below the limit of a
# gRPC message; its message gets half of that, and its fields share the rest.
MAX_MESSAGE_BYTES = 4096
MAX_FIELD_BYTES = 400
MAX_FIELDS = 8
_NOT_AT_ALL = timedelta()


def clip(text: str, limit: int) -> str:
    """Cut a text to `limit` bytes of UTF-8, between characters, and mark where it was cut.

    The mark takes three of the bytes, so `limit` is at least that.
    """
    if len(text) * 4 <= limit or (text.isascii() and len(text) <= limit):
        return text  # no character takes more than four bytes
    encoded = text.encode("utf-8", errors="replace")
    if len(encoded) <= limit:
        return encoded.decode("utf-8")
    return encoded[: limit - 3].decode("utf-8", errors="ignore") + "…"


def dump(value: Mapping[str, Any]) -> str:
    """Return a mapping as compact JSON with sorted keys, fit to be stored (`storable`)."""
    return storable(_JSON.encode(value)) if value else "{}"


def dump_texts(value: Mapping[str, str]) -> str:
    """Return a mapping of texts as `dump` does, without making an encoder, which takes longer."""
    if not value:
        return "{}"
    cells = [f"{_quoted(name)}:{_quoted(text)}" for name, text in sorted(value.items())]
    return storable(f"{{{','.join(cells)}}}")


# Made once: `json.dumps` with options makes an encoder for each call.
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
_quoted = json.encoder.encode_basestring


def spec_text(spec: TenantSpec) -> str:
    """Return a spec as the text that is stored and compared."""
    fields: dict[str, Field[Any]] = spec.__dataclass_fields__
    values = {name: getattr(spec, name) for name in fields}
    values["payment_methods"] = list(spec.payment_methods)
    return dump(values)


def change_cells(op: TenantOperation) -> Cells:
    """Return the change of a tenant's own row, in the column order of `fencing.CHANGE`."""
    standing, hold, healing = op.standing, op.hold, op.healing
    return (
        op.tenant_id,
        op.token,
        op.revision,
        int(op.raise_token),
        len(op.log),
        *(_NO_STANDING if standing is None else _standing_cells(standing)),
        op.run_id,
        1 if hold or op.lift_hold else 0,
        *(
            _NONE
            if hold is None
            else (storable(hold.reason), storable(hold.by), time_text(hold.since))
        ),
        _time(op.look_at),
        0 if healing is None else 1,
        None if healing is None else healing.count,
        None if healing is None else _time(healing.at),
        _time(op.completed_at),
        int(op.new_life),
        time_text(op.at),
    )


_NO_STANDING: Cells = (None,) * 5
_NONE: Cells = (None,) * 3


def _standing_cells(standing: Standing) -> Cells:
    return (
        str(standing.state),
        standing.current_step,
        standing.steps_completed,
        standing.total_steps,
        standing.errors[0].code if standing.errors else None,
    )


def _time(value: datetime | None) -> str | None:
    return None if value is None else time_text(value)


def _word(value: str | None) -> str | None:
    """Return an enum's value as a plain text, which every driver takes."""
    return None if value is None else str(value)


def _text(value: str | None) -> str | None:
    return None if value is None else storable(value)


def _hold_row(op: TenantOperation) -> Row:
    hold = op.hold
    if hold is None:
        return {}
    return {"hold_reason": hold.reason, "hold_by": hold.by, "hold_since": hold.since}


def new_tenant_row(op: TenantOperation) -> Row:
    """Return the row of a new tenant.

    Raises:
        ValueError: the operation lacks a spec or a standing.
    """
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
    """Return the row that says where an imported tenant came from.

    Raises:
        ValueError: the operation imports none.
    """
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
    """Return the rows by which a new tenant is found."""
    if op.create is None:
        return
    for beginning in beginnings(op.tenant_id, op.create.spec.company_name):
        yield {"words": beginning, "tenant_id": op.tenant_id}


def _standing_row(op: TenantOperation) -> Row:
    standing = op.standing
    return {} if standing is None else dict(zip(_STANDING, _standing_cells(standing), strict=True))


_STANDING = ("state", "current_step", "steps_completed", "total_steps", "error_code")


def binding_row(op: TenantOperation) -> Row:
    """Return the binding an operation writes.

    Raises:
        ValueError: it writes none.
    """
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


def run_cells(op: TenantOperation, outcome: Outcome) -> Iterator[Cells]:
    """Return the runs an operation writes, with the token under which they are driven.

    Args:
        op: The operation.
        outcome: Its outcome: only the fencing told the token.
    """
    for item in op.runs:
        run, waiting, cancelled = item.run, item.run.waiting_for, item.run.cancellation
        yield (
            run.id,
            run.tenant_id,
            item.site,
            str(run.order),
            run.blueprint,
            run.blueprint_version,
            _word(run.state),
            run.total_steps,
            time_text(run.due_at),
            run.worker_id,
            outcome.token,
            _time(item.deadline_at),
            storable(run.actor),
            storable(run.reason),
            storable(run.previous_state),
            dump_texts(run.options),
            *(
                _NONE
                if cancelled is None
                else (
                    storable(cancelled.by),
                    storable(cancelled.reason),
                    time_text(cancelled.at),
                )
            ),
            *(
                _NONE
                if waiting is None
                else (str(waiting.code), storable(waiting.message), _time(waiting.until))
            ),
            time_text(run.created_at),
            None if run.started_at is None else time_text(run.started_at),
            None if run.finished_at is None else time_text(run.finished_at),
        )


def step_cells(op: TenantOperation) -> Iterator[Cells]:
    """Return the steps an operation writes."""
    for step in op.steps:
        yield (
            step.run_id,
            step.key,
            op.tenant_id,
            step.position,
            int(step.required),
            str(step.state),
            int(step.adopted),
            step.tries,
            step.races,
            step.losses,
            step.carried_from,
            _text(step.error_code),
            _word(step.error_class),
            _text(step.error_message),
            _time(step.error_at),
            None if step.started_at is None else time_text(step.started_at),
            None if step.completed_at is None else time_text(step.completed_at),
            dump_texts(step.outputs) if step.outputs else "{}",
            storable(step.note) if step.note else "",
        )


def attempt_cells(op: TenantOperation) -> Iterator[Cells]:
    """Return the attempts an operation writes."""
    for attempt in op.attempts:
        yield (
            attempt.id,
            attempt.tenant_id,
            attempt.run_id,
            attempt.step_key,
            attempt.number,
            attempt.worker_id,
            time_text(attempt.started_at),
            time_text(attempt.deadline_at),
            _time(attempt.ended_at),
            _word(attempt.outcome),
            _word(attempt.error_class),
            _text(attempt.error_code),
            _text(attempt.message),
            dump_texts(attempt.evidence) if attempt.evidence else "{}",
        )


def resource_cells(op: TenantOperation, *, behind: timedelta = _NOT_AT_ALL) -> Iterator[Cells]:
    """Return the resources an operation writes.

    Args:
        op: The operation.
        behind: By how much its clock is behind the database's, if hosts share the database: the
            times until which documents are kept out of use are by the clock they share.
    """
    for item in op.resources:
        resource, until = item.resource, item.resource.busy_until
        yield (
            op.tenant_id,
            storable(resource.doctype),
            storable(resource.name),
            str(resource.state),
            int(item.shared),
            item.run_id,
            item.step_key,
            time_text(resource.intended_at),
            _time(resource.settled_at),
            None if until is None else time_text(until + behind),
        )


def log_cells(op: TenantOperation, log_seq: int) -> Iterator[Cells]:
    """Return the log entries an operation writes; the last one gets cursor `log_seq`."""
    first = log_seq - len(op.log) + 1
    at = time_text(op.at)
    for cursor, draft in enumerate(op.log, start=first):
        fields = {"event": draft.event, "tenant": op.tenant_id, **draft.fields}
        yield (
            op.tenant_id,
            cursor,
            at,
            str(draft.level),
            draft.run_id,
            draft.step_key,
            draft.attempt,
            storable(clip(draft.message, MAX_MESSAGE_BYTES)),
            dump_texts(_clipped(fields)),
        )


def _clipped(fields: dict[str, str]) -> dict[str, str]:
    kept = list(fields.items())[:MAX_FIELDS] if len(fields) > MAX_FIELDS else fields.items()
    return {key: clip(value, MAX_FIELD_BYTES) for key, value in kept}


def request_row(op: TenantOperation | RequestOperation) -> Row:
    """Return the row that remembers the request of an operation.

    Raises:
        ValueError: it has none.
    """
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


def user_row(new: NewUser) -> dict[str, object]:
    """Return a new user's row."""
    user = new.user
    return {
        "id": user.id,
        "code": user.code,
        "email": user.email,
        "email_fold": fold_email(user.email),
        "full_name": user.full_name,
        "password_hash": new.password_hash,
        "role": user.role,
        "all_tenants": user.all_tenants,
        "kyc_tier": user.kyc_tier,
        "token_epoch": user.token_epoch,
        "disabled_at": user.disabled_at,
        "created_at": user.created_at,
        "updated_at": user.created_at,
    }


def membership_row(membership: Membership) -> dict[str, object]:
    """Return a membership's row."""
    return {
        "user_id": membership.user_id,
        "tenant_id": membership.tenant_id,
        "role": membership.role,
        "status": membership.status,
        "invitation_code": membership.invitation_code,
        "created_at": membership.created_at,
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
