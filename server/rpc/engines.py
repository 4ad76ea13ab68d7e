"""Answers calls about engines: how they are doing, and that a person accepts a site as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import engines_pb2, fleet_pb2
from server.rpc.answering import Answering
from server.rpc.messages import int32_of, text_of, time_of

if TYPE_CHECKING:
    from server.commands import SiteInQuestion
    from server.commands.sites import SiteOrders
    from server.model.actor import Actor
    from server.queries.fleet import EngineStanding, Fleet, StepTime
    from server.rpc.identity import Context
    from server.store.found import Gate

_GATES = {
    name.removeprefix("ENGINE_GATE_"): value for name, value in engines_pb2.EngineGate.items()
}


class Engines(Answering):
    """The part of the fleet's service that is about engines."""

    _commands: SiteOrders
    _fleet: Fleet

    async def ListEngines(
        self, request: fleet_pb2.ListEnginesRequest, context: Context
    ) -> fleet_pb2.ListEnginesResponse:
        """Return how every configured engine is doing."""

        async def engines(actor: Actor) -> fleet_pb2.ListEnginesResponse:
            found = await self._fleet.engines(actor)
            return fleet_pb2.ListEnginesResponse(engines=[_engine(each) for each in found])

        return await self._answer(context, "ListEngines", engines)

    async def AcceptSite(
        self, request: fleet_pb2.AcceptSiteRequest, context: Context
    ) -> fleet_pb2.AcceptSiteResponse:
        """Accept a person's word that a site is right as it is; with validate_only, only look."""

        async def accept(actor: Actor) -> fleet_pb2.AcceptSiteResponse:
            if request.validate_only:
                return _in_question(await self._commands.look_at_site(actor, request.engine_id))
            return _in_question(
                await self._commands.accept_site(
                    actor, request.engine_id, reason=request.reason, request_id=request.request_id
                )
            )

        return await self._answer(context, "AcceptSite", accept)


def _in_question(seen: SiteInQuestion) -> fleet_pb2.AcceptSiteResponse:
    return fleet_pb2.AcceptSiteResponse(
        site=engines_pb2.SiteInQuestion(
            engine_id=text_of(seen.engine_id),
            site=text_of(seen.site),
            gate=_GATES[seen.gate.value],
            gate_code=text_of(seen.code),
            gate_message=text_of(seen.message),
            held_tenants=int32_of(seen.held_tenants),
        ),
        accepted=seen.accepted,
    )


def _engine(standing: EngineStanding) -> engines_pb2.EngineStatus:
    status = engines_pb2.EngineStatus(
        engine_id=text_of(standing.engine_id),
        site=text_of(standing.entry.site),
        blueprint=text_of(standing.entry.blueprint.name),
        is_default=standing.is_default,
        gate=engines_pb2.ENGINE_GATE_UP,
        queued_runs=standing.open_runs.get("QUEUED", 0),
        running_runs=standing.open_runs.get("RUNNING", 0),
        waiting_runs=standing.open_runs.get("WAITING", 0),
        max_runs=standing.max_runs,
        step_times=[_step_time(each) for each in standing.step_times],
    )
    gate = standing.gate
    if gate is not None:
        status.gate = _GATES[gate.state.value]
        status.gate_code = text_of(gate.code)
        status.gate_message = text_of(gate.message)
        _take_times(status, gate)
    return status


def _take_times(status: engines_pb2.EngineStatus, gate: Gate) -> None:
    if (since := time_of(gate.since)) is not None:
        status.gate_since.CopyFrom(since)
    if (next_probe := time_of(gate.next_probe_at)) is not None:
        status.next_probe_at.CopyFrom(next_probe)
    if gate.slot_tenant_id is None:
        return
    status.slot.CopyFrom(
        engines_pb2.EngineSlot(
            tenant_id=text_of(gate.slot_tenant_id),
            doctype=text_of(gate.slot_doctype or ""),
            name=text_of(gate.slot_name or ""),
            sent_at=time_of(gate.slot_sent_at),
            expires_at=time_of(gate.slot_expires_at),
        )
    )


def _step_time(time: StepTime) -> engines_pb2.StepTime:
    return engines_pb2.StepTime(
        step_key=text_of(time.step_key),
        attempts=time.attempts,
        median_seconds=time.median_seconds,
        longest_seconds=time.longest_seconds,
    )
