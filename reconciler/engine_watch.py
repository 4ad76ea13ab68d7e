"""Tells a person about an engine whose gate stays shut: its tenants wait, and none of them fails.

Nothing is driven. There is one finding per engine and outage: at once if somebody has to fix
something, after a while if the engine is only down. It ends when the gate opens.

An outage of days is not the same all along: no connection, then a gateway's 502, a maintenance
page, no connection again. Nobody is told of that, and above all not that the engine was healed.
Only if somebody has to fix something that nobody was told of does another finding take its place.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog

from reconciler.found import NEEDS_PERSON, Found, healed_message, message, recording
from reconciler.judge import Finding, Verdict
from reconciler.remedies import Carried, RemedyOutcome
from server.errors import StoreUnavailable
from server.model.causes import Cause, Severity
from server.model.identifiers import TenantId
from server.model.states import GateState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.store.database import Database
    from server.store.found import Gate

_log = structlog.get_logger(__name__)

_FINDINGS = uuid.UUID("a3b0c2d4-5f61-5e72-8a93-b4c5d6e7f809")

# A restart or an upgrade takes this long: until then nobody need know that an engine is down.
_PATIENCE = timedelta(minutes=5)


class _Open(NamedTuple):
    """A finding about an engine that has not ended."""

    id: str
    subject: str
    found_at: datetime
    evidence: Mapping[str, Any]


class EngineWatch:
    """Looks at the gates of the configured engines, as they are in the database."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        notify: bool = False,
    ) -> None:
        """Take the parts that a look needs.

        Args:
            database: The store of gates and findings.
            engines: The configured engines, by id.
            now: The clock.
            notify: Whether to write messages for the webhook.
        """
        self._database = database
        self._engines = engines
        self._now = now
        self._notify = notify

    async def check(self) -> tuple[Found, ...]:
        """Record which engines stay shut, and end the findings that are over.

        Returns:
            The findings that are new.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        gates = await self._database.reads.gates()
        known: dict[str, list[_Open]] = {}
        for row in await self._database.healing.open_of_cause(Cause.ENGINE_SHUT.value):
            known.setdefault(row[1], []).append(_Open(*row))
        new = []
        for engine_id, entry in sorted(self._engines.items()):
            gate, mine = gates.get(entry.site), known.get(subject_of(engine_id), [])
            if gate is None or gate.state is GateState.UP:
                await self._end(mine, ended_as="CLEARED", healed=True)
                continue
            last = mine[-1] if mine else None
            found = self._found(engine_id, gate, instead_of=last)
            over = mine[:-1]
            if found is not None and (last is None or _has_to_be_told(gate, last)):
                new += [found] if await self._record(found) else []
                over = mine
            await self._end(over, ended_as="ENDED", healed=False)
        return tuple(new)

    def _found(self, engine_id: str, gate: Gate, *, instead_of: _Open | None) -> Found | None:
        now = self._now()
        if gate.state is GateState.DOWN and (gate.read_at or now) - gate.since < _PATIENCE:
            return None
        what = "is away" if gate.state is GateState.DOWN else "takes no work"
        return Found(
            # It is not about a tenant, and its id shows that.
            tenant_id=TenantId(subject_of(engine_id)),
            revision=0,
            finding=Finding(
                cause=Cause.ENGINE_SHUT,
                severity=Severity.PERSON,
                message=(
                    f"Engine {engine_id} {what} since {gate.since:%Y-%m-%d %H:%M:%S} UTC; its "
                    f"tenants wait, and no try is counted. {gate.message}"
                ),
                evidence={
                    "engine": engine_id,
                    "site": gate.site,
                    "gate": gate.state.value,
                    "code": gate.code,
                },
            ),
            verdict=Verdict.CALL_OPERATOR,
            carried=Carried(outcome=RemedyOutcome.OPERATOR_CALLED),
            stuck_since=gate.since,
            not_before=None,
            found_at=now,
            own_id=_id_of(gate, instead_of),
        )

    async def _record(self, found: Found) -> bool:
        told = message(
            NEEDS_PERSON,
            found.id,
            found.found_at,
            cause=found.finding.cause.value,
            message=found.message,
            engine=found.finding.evidence["engine"],
            command="provisioner engines list",
        )
        try:
            call = told if self._notify else None
            await self._database.submit(recording(found, call, observed=0, finished_at=self._now()))
        except StoreUnavailable:
            # Another reconciler may have recorded it a moment ago.
            if await self._database.healing.has_finding(found.id):
                return False
            raise
        _log.warning(
            "finding.recorded",
            tenant=found.tenant_id,
            cause=found.finding.cause.value,
            severity=found.severity.value,
            message=found.message,
        )
        return True

    async def _end(self, findings: Sequence[_Open], *, ended_as: str, healed: bool) -> None:
        at = self._now()
        for each in findings:
            told = healed_message(
                each.id,
                at,
                since=each.found_at,
                cause=Cause.ENGINE_SHUT.value,
                engine=each.subject.partition(":")[2],
                ended_as=ended_as,
            )
            messages = [told] if healed and self._notify else []
            await self._database.healing.end([each.id], ended_as=ended_as, at=at, messages=messages)


def subject_of(engine_id: str) -> str:
    """Return what a finding about an engine has in place of a tenant's id."""
    return f"engine:{engine_id}"


def _has_to_be_told(gate: Gate, last: _Open) -> bool:
    """Tell whether somebody has to fix something other than what was told last."""
    told = (last.evidence.get("gate"), last.evidence.get("code"))
    return gate.state is GateState.MISCONFIGURED and told != (gate.state.value, gate.code)


def _id_of(gate: Gate, instead_of: _Open | None) -> str:
    """Return an id that any reconciler makes of the same gate and the same open finding.

    Without the one whose place it takes, a code that comes back would have the id of a finding
    that has ended, and could not be recorded again.
    """
    place = "" if instead_of is None else f":{instead_of.id}"
    return str(uuid.uuid5(_FINDINGS, f"{gate.site}:{gate.code}:{gate.since.isoformat()}{place}"))
