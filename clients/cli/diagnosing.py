"""Asks why a tenant is where it is, and shows the answer to people and scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.wire_text import full_time, plain
from provisioner.v1 import diagnosis_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import Diagnose
    from clients.sdk import ProvisionerClient
    from provisioner.v1.diagnosis_pb2 import Cause, Diagnosis, Evidence, Remedy

SEVERITY_PHRASES = {
    diagnosis_pb2.SEVERITY_MOVING: "moves on by itself",
    diagnosis_pb2.SEVERITY_MAY_CLEAR: "may clear by itself",
    diagnosis_pb2.SEVERITY_PERSON: "a person must act",
}
_STYLES = {
    diagnosis_pb2.SEVERITY_MOVING: "cyan",
    diagnosis_pb2.SEVERITY_MAY_CLEAR: "yellow",
    diagnosis_pb2.SEVERITY_PERSON: "red",
}
_NOT_WELL = frozenset({"PARTIAL", "FAILED"})


async def diagnose(client: ProvisionerClient, request: Diagnose, output: Output) -> ExitCode:
    """Carry `diagnose` out.

    Returns:
        As `exit_code`.
    """
    found = await client.diagnose(request.tenant, skip_engine=request.skip_engine)
    if output.as_json:
        output.json(as_object(found))
    else:
        output.lines(diagnosis_lines(found))
    return exit_code(found)


def exit_code(found: Diagnosis) -> ExitCode:
    """Return 1 where the tenant stopped short or a person must act, as `status` does."""
    person = any(cause.severity == diagnosis_pb2.SEVERITY_PERSON for cause in found.causes)
    if found.state in _NOT_WELL or (person and found.state != "DEPROVISIONED"):
        return ExitCode.TENANT_NOT_WELL
    return ExitCode.DONE


def diagnosis_lines(found: Diagnosis) -> Iterator[Text]:
    """Show a diagnosis for people: the likeliest cause first."""
    name = plain(found.company_name) or "(company not known)"
    yield Text.assemble(("Tenant   ", "dim"), (name, "bold"), "  ", plain(found.tenant_id))
    yield Text.assemble(
        ("State    ", "dim"),
        plain(found.state),
        "  ",
        plain(found.progress),
        "  revision ",
        str(found.revision),
    )
    yield Text.assemble(("Engine   ", "dim"), plain(found.engine))
    if not found.causes:
        yield Text("Nothing is wrong.")
    for number, cause in enumerate(found.causes, start=1):
        yield Text("")
        yield from _cause_lines(number, cause)


def _cause_lines(number: int, cause: Cause) -> Iterator[Text]:
    style = _STYLES.get(cause.severity, "")
    step = f"  {plain(cause.step_key)}" if cause.step_key else ""
    yield Text.assemble(
        f"{number}. ",
        (plain(cause.code), f"bold {style}"),
        step,
        (f"  ({SEVERITY_PHRASES.get(cause.severity, 'severity not known')})", style),
    )
    yield Text(f"   {plain(cause.message)}")
    for evidence in cause.evidence:
        yield Text.assemble(("   - ", "dim"), _evidence(evidence))
    yield from remedy_lines(cause.remedy)


def remedy_lines(remedy: Remedy) -> Iterator[Text]:
    """Show what to do, as a call and as its command line."""
    yield Text.assemble(("   Remedy   ", "dim"), plain(remedy.says))
    if remedy.call:
        yield Text.assemble(
            ("   Call     ", "dim"), f"{plain(remedy.call)} {plain(remedy.request)}"
        )
    if remedy.command:
        yield Text.assemble(("   Next     ", "dim"), (plain(pasted(remedy.command)), "bold"))


def _evidence(evidence: Evidence) -> str:
    at = f" ({full_time(evidence.at)})" if evidence.HasField("at") else ""
    return f"{plain(evidence.source)}: {plain(evidence.fact)}{at}"
