"""What a storm left behind, and everything in it that breaks a promise."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.scenarios.fleet import made_twice

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    Sql = Callable[[str], Awaitable[list[tuple[Any, ...]]]]

# Events that end the attempt they name.
_ENDS = {"step.done", "step.adopted", "step.skipped", "step.retry", "step.failed", "attempt.lost"}
# Events that end whatever attempt is under way.
_STOPS = {"run.waits_for_engine", "run.waits", "run.handed_back", "run.closed", "run.opened"}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What was acknowledged, what is there, and what must not be.

    Attributes:
        acknowledged: The tenants of all orders that were answered, one for each.
        there: The tenants that the database has.
        findings: What breaks a promise, by the promise; empty if none is broken.
        counts: What was done to the processes, and how much of it there was.
    """

    acknowledged: list[str]
    there: list[str]
    findings: dict[str, list[Any]] = field(default_factory=dict)
    counts: Mapping[str, object] = field(default_factory=dict)


# What no row may say long after a storm, by the promise it would break.
FORBIDDEN = {
    "a tenant does not come to COMPLETED": (
        "SELECT id, state, current_step, error_code, heal_count, healed_at, look_at, hold_reason"
        " FROM tenants WHERE state <> 'COMPLETED'"
    ),
    "a cursor is missing or there twice": (
        "SELECT t.id, t.log_seq, count(*), min(cursor), max(cursor) FROM tenants t"
        " JOIN log_entries l ON l.tenant_id = t.id GROUP BY t.id, t.log_seq"
        " HAVING count(*) <> t.log_seq OR min(cursor) <> 1 OR max(cursor) <> t.log_seq"
    ),
    "an attempt has no end": "SELECT id FROM attempts WHERE outcome IS NULL OR ended_at IS NULL",
    "an attempt is there twice": (
        "SELECT run_id, step_key, number, count(*) FROM attempts"
        " GROUP BY run_id, step_key, number HAVING count(*) > 1"
    ),
    "a run is open": ("SELECT id, state FROM runs WHERE state IN ('QUEUED', 'RUNNING', 'WAITING')"),
    "a step of a last run is not done": (
        "SELECT s.tenant_id, s.key, s.state FROM tenants t JOIN steps s ON s.run_id = t.run_id"
        " WHERE s.state NOT IN ('COMPLETED', 'SKIPPED')"
    ),
    "a tenant has no step rows": (
        "SELECT id FROM tenants t"
        " WHERE NOT EXISTS (SELECT 1 FROM steps s WHERE s.run_id = t.run_id)"
    ),
    "a document was asked for and never looked at": (
        "SELECT tenant_id, doctype, name FROM resources WHERE state = 'INTENDED'"
    ),
    "a slot outlived its request": (
        "SELECT site, slot_tenant_id FROM engines WHERE slot_tenant_id IS NOT NULL"
    ),
}


async def findings(sql: Sql, site: dict[str, Any], companies: list[str]) -> dict[str, list[Any]]:
    """Return everything that breaks a promise, by the promise."""
    found: dict[str, list[Any]] = {
        promise: await sql(statement) for promise, statement in FORBIDDEN.items()
    }
    found["an effect is there twice, or not at all"] = made_twice(site, companies)
    found["a write of a replaced worker was accepted"] = out_of_turn(
        await sql(
            "SELECT tenant_id, run_id, step_key, attempt, fields FROM log_entries"
            " ORDER BY tenant_id, cursor"
        )
    )
    return {promise: broken for promise, broken in found.items() if broken}


def out_of_turn(entries: Iterable[tuple[Any, ...]]) -> list[str]:
    """Find entries of an attempt that is not the one under way in its tenant.

    At each moment one worker drives a tenant, in one attempt. Who takes over ends the attempt
    of the one it replaces, in the operation of its claim. An entry of an attempt that was ended,
    or one that begins beside another, was written by somebody who was replaced.

    Args:
        entries: Tenant, run, step, attempt and fields of log entries, in their order.
    """
    found = []
    under_way: dict[str, tuple[str, str, int]] = {}
    for tenant, run, step, number, fields in entries:
        event, attempt = json.loads(fields).get("event"), (run, step, number)
        if event == "step.began":
            if tenant in under_way:
                found.append(f"{tenant}: {attempt} began beside {under_way[tenant]}")
            under_way[tenant] = attempt
        elif event in _ENDS and number:
            if under_way.pop(tenant, None) != attempt:
                found.append(f"{tenant}: {event} of {attempt}, which was not under way")
        elif event in _STOPS:
            under_way.pop(tenant, None)
    return found
