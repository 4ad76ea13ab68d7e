"""Answers Diagnose: turns a diagnosis into messages; nothing is judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import diagnosis_pb2, provisioning_pb2
from server.rpc.answering import Answering
from server.rpc.messages import text_of, time_of

if TYPE_CHECKING:
    from server.diagnosis import DiagnosedCause, Diagnoser, Diagnosis, Evidence, Remedy
    from server.model.actor import Actor
    from server.rpc.identity import Context

SEVERITIES = {
    name.removeprefix("SEVERITY_"): value for name, value in diagnosis_pb2.Severity.items()
}


class Diagnosing(Answering):
    """The part of the service that says why a tenant stands where it does."""

    _diagnoser: Diagnoser

    async def Diagnose(
        self, request: provisioning_pb2.DiagnoseRequest, context: Context
    ) -> provisioning_pb2.DiagnoseResponse:
        """Say why a tenant stands where it does."""

        async def say(actor: Actor) -> provisioning_pb2.DiagnoseResponse:
            found = await self._diagnoser.diagnose(
                actor, request.tenant_id, ask_engine=not request.skip_engine
            )
            return provisioning_pb2.DiagnoseResponse(diagnosis=diagnosis(found))

        return await self._answer(context, "Diagnose", say)


def diagnosis(found: Diagnosis) -> diagnosis_pb2.Diagnosis:
    """Return a diagnosis as a message."""
    return diagnosis_pb2.Diagnosis(
        tenant_id=text_of(found.tenant_id),
        company_name=text_of(found.company_name),
        revision=found.revision,
        state=found.state,
        progress=text_of(found.progress),
        causes=[_cause(cause) for cause in found.causes],
        engine=text_of(found.engine),
        diagnosed_at=time_of(found.diagnosed_at),
    )


def _cause(cause: DiagnosedCause) -> diagnosis_pb2.Cause:
    return diagnosis_pb2.Cause(
        code=text_of(cause.code),
        severity=SEVERITIES[cause.severity.value],
        message=text_of(cause.message),
        evidence=[_evidence(evidence) for evidence in cause.evidence],
        remedy=_remedy(cause.remedy),
        step_key=text_of(cause.step_key),
    )


def _evidence(evidence: Evidence) -> diagnosis_pb2.Evidence:
    return diagnosis_pb2.Evidence(
        source=evidence.source, fact=text_of(evidence.fact), at=time_of(evidence.at)
    )


def _remedy(remedy: Remedy) -> diagnosis_pb2.Remedy:
    return diagnosis_pb2.Remedy(
        says=text_of(remedy.says),
        call=remedy.call,
        request=text_of(remedy.request_json),
        command=text_of(remedy.command),
        alone=remedy.alone,
    )
