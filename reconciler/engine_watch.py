"""Tells a person about an engine whose gate stays shut: its tenants wait, and none of them fails.

Nothing is driven. There is one finding per engine and outage: at once if somebody has to fix
something, after a while if the engine is only down. It ends when the gate opens.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from reconciler.found import NEEDS_PERSON, Found, healed_message, message, recording
from reconciler.judge import Finding, Verdict
from reconciler.remedies import Carried, RemedyOutcome
from server.errors import StoreUnavailable
from server.model.causes import Cause, Severity
from server.model.identifiers import TenantId
from server.model.states import GateState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.commands import EngineEntry
    from server.store.database import Database
    from server.store.found import Gate

_log = structlog.get_logger(__name__)

_FINDINGS = uuid.UUID("a3b0c2d4-5f61-5e72-8a93-b4c5d6e7f809")

# A restart or an upgrade takes this long: until then nobody need know that an engine is down.
_PATIENCE = timedelta(minutes=5)


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
        known = await self._database.healing.open_of_cause(Cause.ENGINE_SHUT.value)
        shut = {
            found.id: found
            for engine_id, entry in sorted(self._engines.items())
            if (gate := gates.get(entry.site)) and (found := self._found(engine_id, gate))
        }
        mine = {subject_of(engine_id) for engine_id in self._engines}
        for own_id, subject, found_at in known:
            if own_id not in shut and subject in mine:
                await self._end(own_id, subject, found_at)
        new = [found for own_id, found in shut.items() if own_id not in {each[0] for each in known}]
        return tuple([found for found in new if await self._record(found)])

    def _found(self, engine_id: str, gate: Gate) -> Found | None:
        now = self._now()
        if gate.state is GateState.UP:
            return None
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
            own_id=str(uuid.uuid5(_FINDINGS, f"{gate.site}:{gate.code}:{gate.since.isoformat()}")),
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

    async def _end(self, own_id: str, subject: str, found_at: datetime) -> None:
        at = self._now()
        told = healed_message(
            own_id,
            at,
            since=found_at,
            cause=Cause.ENGINE_SHUT.value,
            engine=subject.partition(":")[2],
            ended_as="CLEARED",
        )
        await self._database.healing.end(
            [own_id], ended_as="CLEARED", at=at, messages=[told] if self._notify else []
        )


def subject_of(engine_id: str) -> str:
    """Return what a finding about an engine has in place of a tenant's id."""
    return f"engine:{engine_id}"
