"""Asks what an engine holds for a tenant, and shows it to people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli.asking import agreed
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.wire_text import full_time, plain
from provisioner.v1 import survey_pb2
from provisioner.v1.tenant_pb2 import TenantSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import Plan, Spec, Start, Verify
    from clients.sdk import ProvisionerClient
    from provisioner.v1.provisioning_pb2 import PlanResponse, VerifyResponse
    from provisioner.v1.survey_pb2 import Difference, StepSurvey, Survey

# Mark, word and style of a step.
_LOOKS = {
    survey_pb2.STEP_STANDING_OK: ("✓", "ok", "green"),
    survey_pb2.STEP_STANDING_MISSING: ("+", "missing", "yellow"),
    survey_pb2.STEP_STANDING_FOREIGN: ("✗", "foreign", "red"),
    survey_pb2.STEP_STANDING_DIFFERENT: ("✗", "different", "red"),
    survey_pb2.STEP_STANDING_SKIPPED: ("-", "skipped", "dim"),
    survey_pb2.STEP_STANDING_UNKNOWN: ("?", "not looked at", "dim"),
}
_WHOSE = {
    survey_pb2.DOCUMENT_WHOSE_CREATED: "ours",
    survey_pb2.DOCUMENT_WHOSE_ADOPTED: "taken over",
    survey_pb2.DOCUMENT_WHOSE_UNRECORDED: "there, would be taken over",
    survey_pb2.DOCUMENT_WHOSE_SHARED: "the site's",
}


async def plan(client: ProvisionerClient, request: Plan, output: Output) -> ExitCode:
    """Carry `plan` out.

    Returns:
        TENANT_NOT_WELL if something stands in a run's way.
    """
    spec = None if request.spec is None else spec_of(request.spec)
    found = await client.plan(spec, tenant_id=request.tenant)
    if output.as_json:
        output.json(as_object(found))
    else:
        output.lines(plan_lines(found))
    return ExitCode.DONE if found.feasible else ExitCode.TENANT_NOT_WELL


async def verify(client: ProvisionerClient, request: Verify, output: Output) -> ExitCode:
    """Carry `verify` out.

    Returns:
        TENANT_NOT_WELL if the tenant differs from what it should have.
    """
    found = await client.verify(request.tenant)
    if output.as_json:
        output.json(as_object(found))
    else:
        output.lines(verify_lines(found))
    return ExitCode.DONE if found.clean else ExitCode.TENANT_NOT_WELL


async def stopped(client: ProvisionerClient, request: Start, output: Output) -> ExitCode | None:
    """Show what a start with `--plan` would make, and ask.

    Returns:
        What to end with; None to start.

    Raises:
        ProvisionerError: the engine can't be looked at, or the spec is not accepted.
    """
    if not request.plan:
        return None
    found = await client.plan(spec_of(request.spec))
    if output.as_json:
        # Only one document may be written to stdout: the plan, or the result of the order.
        if found.feasible and request.yes:
            return None
        output.json(as_object(found))
        # A script that asked only for the plan has it now.
        return ExitCode.TENANT_NOT_WELL if request.yes else ExitCode.DONE
    output.lines(plan_lines(found))
    if found.feasible and await agreed("Start it?", output, yes=request.yes):
        return None
    output.note("Nothing was started and nothing was written.")
    return ExitCode.WRONG_USE if found.feasible else ExitCode.TENANT_NOT_WELL


def spec_of(said: Spec) -> TenantSpec:
    """Write a spec as it was typed; what was not typed is left to the service."""
    return TenantSpec(
        company_name=said.company_name,
        country_code=said.country,
        currency=said.currency,
        chart_template=said.chart,
        include_demo_data=said.demo_data,
        pos_store_enabled=said.pos_store,
        till_user=said.till_user,
        engine_id=said.engine,
        payment_methods=said.payments,
        opening_amount=said.opening_amount,
    )


def plan_lines(found: PlanResponse) -> Iterator[Text]:
    """Show a plan for people."""
    yield from _head(found.survey)
    for step in found.survey.steps:
        yield from _step_lines(step, planning=True)
    made = sum(len(step.missing) for step in found.survey.steps if not step.code)
    yield Text("")
    if not found.feasible:
        codes = ", ".join(plain(step.code) for step in found.survey.steps if step.code)
        yield Text(f"A run would stop: {codes}. Fix that first; nothing was written.", "bold red")
        return
    if not made:
        yield Text("Everything exists: a run would make nothing.", "bold green")
        return
    yield Text(
        f"A run would make or change {made} documents with about "
        f"{found.survey.expected_requests} requests, in about "
        f"{_seconds(found.survey.expected_seconds)} if the engine has nothing else to do. "
        "Nothing was written.",
        "bold",
    )


def verify_lines(found: VerifyResponse) -> Iterator[Text]:
    """Show the drift of a tenant for people."""
    yield from _head(found.survey)
    for step in found.survey.steps:
        yield from _step_lines(step, planning=False)
    yield Text("")
    if found.clean:
        yield Text("Clean: the engine holds what the tenant should have.", "bold green")
        return
    wrong = [step for step in found.survey.steps if _differs(step)]
    yield Text(f"Drift in {len(wrong)} of {len(found.survey.steps)} steps.", "bold red")
    if found.next_command:
        yield Text.assemble(("Next: ", "dim"), (plain(pasted(found.next_command)), "bold"))
    else:
        yield Text("A person must correct it in the engine; a run would stop at it.")


def _head(survey: Survey) -> Iterator[Text]:
    name = plain(survey.spec.company_name)
    known = f"  {plain(survey.tenant_id)}" if survey.tenant_id else ""
    yield Text.assemble(("Company  ", "dim"), (name, "bold"), known)
    ready = plain(survey.engine) or "could not be asked for its version"
    yield Text.assemble(("Engine   ", "dim"), f"{plain(survey.engine_id)} is ready: {ready}")
    looked = f"{full_time(survey.looked_at)}, in {survey.seconds:.1f} s"
    yield Text.assemble(("Looked   ", "dim"), looked)
    yield Text("")


def _step_lines(step: StepSurvey, *, planning: bool) -> Iterator[Text]:
    mark, word, style = _LOOKS.get(step.standing, ("?", "not known", ""))
    optional = "" if step.required else "  (optional)"
    time = ""
    if planning and step.standing == survey_pb2.STEP_STANDING_MISSING and not step.code:
        plural = "" if step.expected_requests == 1 else "s"
        requests = f"{step.expected_requests} request{plural}"
        time = f"  about {_seconds(step.expected_seconds)}, {requests}"
    yield Text.assemble(
        (f"{mark} ", style),
        f"{plain(step.step_key):<28}",
        (f"{word}", style),
        optional,
        (time, "dim"),
    )
    for document in step.documents:
        if document.whose != survey_pb2.DOCUMENT_WHOSE_SHARED:
            whose = _WHOSE.get(document.whose, "not known")
            yield Text(f"    {plain(document.doctype)} {plain(document.name)}: {whose}", "dim")
    for each in step.missing:
        yield Text(f"    {_missing_words(each, planning=planning)}", "yellow")
    yield from _words_of(step)


def _words_of(step: StepSurvey) -> Iterator[Text]:
    for each in step.differences:
        yield Text(f"    {_difference_words(each)}", "red")
    if step.code:
        yield Text(f"    {plain(step.code)}: {plain(step.message)}", "red")
    elif step.message and step.standing != survey_pb2.STEP_STANDING_MISSING:
        yield Text(f"    {plain(step.message)}", "dim")
    for note in step.notes:
        yield Text(f"    Note: {plain(note)}", "dim")


def _missing_words(each: Difference, *, planning: bool) -> str:
    name = f"{plain(each.doctype)} {plain(each.name)}"
    if each.field:
        return f"{'would change' if planning else 'differs:'} {_difference_words(each)}"
    return f"would make {name}" if planning else f"not there: {name}"


def _difference_words(each: Difference) -> str:
    name = f"{plain(each.doctype)} {plain(each.name)}"
    if not each.field:
        return f"not there: {name}"
    have = plain(each.have) or "nothing"
    if each.field == "made by":
        return f"{name}: made by {have}, not by {plain(each.want)}"
    return f"{name}: {plain(each.field)} is {have}, wanted {plain(each.want)}"


def _differs(step: StepSurvey) -> bool:
    return step.standing not in {
        survey_pb2.STEP_STANDING_OK,
        survey_pb2.STEP_STANDING_SKIPPED,
    }


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.0f} min"  # noqa: PLR2004 - a minute
