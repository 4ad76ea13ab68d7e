"""Answers Plan and Verify: turns surveys into messages; nothing is judged here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import provisioning_pb2, survey_pb2
from server.rpc import messages
from server.rpc.answering import Answering
from server.rpc.messages import text_of, time_of

if TYPE_CHECKING:
    from server.model.actor import Actor
    from server.model.difference import Difference
    from server.probing import DocumentSeen, StepLook, Survey
    from server.queries.surveys import Surveys
    from server.rpc.identity import Context

_STANDINGS = {
    name.removeprefix("STEP_STANDING_"): value for name, value in survey_pb2.StepStanding.items()
}
_WHOSE = {
    name.removeprefix("DOCUMENT_WHOSE_"): value for name, value in survey_pb2.DocumentWhose.items()
}


class Surveying(Answering):
    """The part of the service that looks at engines."""

    _surveys: Surveys

    async def Plan(
        self, request: provisioning_pb2.PlanRequest, context: Context
    ) -> provisioning_pb2.PlanResponse:
        """Return what a run would find and make."""

        async def plan(actor: Actor) -> provisioning_pb2.PlanResponse:
            found = await self._surveys.plan(
                actor,
                request.tenant_id,
                messages.raw_spec(request.spec) if request.HasField("spec") else None,
            )
            return provisioning_pb2.PlanResponse(
                survey=survey(found.tenant_id, found.survey), feasible=found.feasible
            )

        return await self._answer(context, "Plan", plan)

    async def Verify(
        self, request: provisioning_pb2.VerifyRequest, context: Context
    ) -> provisioning_pb2.VerifyResponse:
        """Return how a tenant differs from what it should have."""

        async def verify(actor: Actor) -> provisioning_pb2.VerifyResponse:
            found = await self._surveys.verify(actor, request.tenant_id)
            return provisioning_pb2.VerifyResponse(
                survey=survey(found.tenant_id, found.survey),
                clean=found.survey.clean,
                next_command=text_of(found.next_command),
            )

        return await self._answer(context, "Verify", verify)


def survey(tenant_id: str, found: Survey) -> survey_pb2.Survey:
    """Return a survey as a message.

    Args:
        tenant_id: Whose survey it is; "" for a spec that is nobody's yet.
        found: What was found, without what the caller may not know.
    """
    return survey_pb2.Survey(
        tenant_id=text_of(tenant_id),
        spec=messages.spec_of(found.spec),
        engine_id=text_of(found.engine_id),
        engine=text_of(found.engine),
        looked_at=time_of(found.looked_at),
        seconds=found.seconds,
        steps=[_step(found, look) for look in found.steps],
        expected_requests=found.expected_requests,
        expected_seconds=sum(found.expected_seconds(look) for look in found.steps),
    )


def _step(found: Survey, look: StepLook) -> survey_pb2.StepSurvey:
    return survey_pb2.StepSurvey(
        step_key=text_of(look.key),
        title=text_of(look.title),
        required=look.required,
        standing=_STANDINGS[look.stand.value],
        documents=[_document(each) for each in look.documents],
        missing=[_difference(each) for each in look.missing],
        differences=[_difference(each) for each in look.differences],
        code=text_of(look.code),
        message=text_of(look.message),
        notes=[text_of(each) for each in look.notes],
        expected_requests=look.expected_requests,
        expected_seconds=found.expected_seconds(look),
    )


def _document(seen: DocumentSeen) -> survey_pb2.SurveyedDocument:
    return survey_pb2.SurveyedDocument(
        doctype=text_of(seen.doctype),
        name=text_of(seen.name),
        whose=_WHOSE[seen.whose.value],
        owner=text_of(seen.owner),
        created_at=time_of(seen.created_at),
    )


def _difference(difference: Difference) -> survey_pb2.Difference:
    return survey_pb2.Difference(
        doctype=text_of(difference.doctype),
        name=text_of(difference.name),
        field=text_of(difference.field),
        have=text_of(difference.have),
        want=text_of(difference.want),
    )
