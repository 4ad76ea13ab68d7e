"""Carries out the commands that show what sweeps found and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli.diagnosing import SEVERITY_PHRASES
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.wire_text import full_time, plain
from provisioner.v1 import diagnosis_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import ListFindings, ListSweeps, Report, Sweep
    from clients.sdk import ProvisionerClient
    from provisioner.v1.fleet_pb2 import SweepResponse
    from provisioner.v1.healing_pb2 import Finding, SweepRecord, SweepWatch

_STYLES = {
    diagnosis_pb2.SEVERITY_MOVING: "cyan",
    diagnosis_pb2.SEVERITY_MAY_CLEAR: "yellow",
    diagnosis_pb2.SEVERITY_PERSON: "red",
}


async def sweep(client: ProvisionerClient, request: Sweep, output: Output) -> ExitCode:
    """Carry `sweep` out; it ends with DONE, whatever the sweep found."""
    done = await client.sweep(dry_run=request.dry_run)
    if output.as_json:
        output.json(as_object(done))
    else:
        output.lines(_sweep_lines(done))
    return ExitCode.DONE


async def sweeps(client: ProvisionerClient, request: ListSweeps, output: Output) -> ExitCode:
    """Carry `sweeps` out.

    Returns:
        TENANT_NOT_WELL if the answering server's own reconciler is late.
    """
    page = await client.list_sweeps(page_size=request.limit)
    late = page.HasField("watch") and not page.watch.healthy
    if output.as_json:
        output.json(as_object(page))
        return ExitCode.TENANT_NOT_WELL if late else ExitCode.DONE
    output.lines([_watch_line(page.watch) if page.HasField("watch") else Text(_NO_WATCH)])
    output.lines(_sweep_line(each) for each in page.sweeps)
    if not page.sweeps:
        output.note("No sweep found anything so far.")
    return ExitCode.TENANT_NOT_WELL if late else ExitCode.DONE


async def findings(client: ProvisionerClient, request: ListFindings, output: Output) -> ExitCode:
    """Carry `findings` out; it ends with DONE, whatever was found."""
    page = await client.list_findings(
        tenant_id=request.tenant,
        open_only=request.open_only,
        person_only=request.person_only,
        include_members=request.members,
        page_size=request.limit,
    )
    if output.as_json:
        output.json(as_object(page))
        return ExitCode.DONE
    for finding in page.findings:
        output.lines(_finding_lines(finding))
    if not page.findings:
        output.note("Nothing was found.")
    if page.next_page_token:
        output.note("More follow. See more with a greater --limit.")
    return ExitCode.DONE


async def report(client: ProvisionerClient, request: Report, output: Output) -> ExitCode:
    """Carry `report` out; it ends with DONE, whatever is reported."""
    ends = None if request.ends_at is None else datetime.fromtimestamp(request.ends_at, UTC)
    begins = None if request.begins_at is None else datetime.fromtimestamp(request.begins_at, UTC)
    if request.hours is not None:
        begins = (ends or datetime.now(UTC)) - timedelta(hours=request.hours)
    made = await client.healing_report(begins_at=begins, ends_at=ends)
    if output.as_json:
        output.json(as_object(made))
    else:
        output.lines(Text(plain(line)) for line in made.markdown.splitlines())
    return ExitCode.DONE


_NO_WATCH = "This server does not sweep: check that a `provisioner reconcile` runs."


def _sweep_lines(done: SweepResponse) -> Iterator[Text]:
    head = "Dry run: nothing was changed. " if done.dry_run else ""
    yield Text(
        f"{head}{done.sweep.observed} tenants looked at, {len(done.findings)} findings, "
        f"{done.sweep.acted} acted on, {done.healed} healed."
    )
    for finding in done.findings:
        yield from _finding_lines(finding)
    if done.handed_over:
        yield Text("")
        yield Text(f"{len(done.handed_over)} tenants were already waiting for a person:")
    for tenant in done.handed_over:
        why = f"held: {plain(tenant.reason)}" if tenant.held else plain(tenant.error_code)
        since = f" since {full_time(tenant.since)}" if tenant.HasField("since") else ""
        yield Text.assemble(
            f"  {plain(tenant.tenant_id)}  {plain(tenant.company_name)}  {plain(tenant.state)}  ",
            (why, "red"),
            since,
        )
        yield Text.assemble(("      Next ", "dim"), (plain(pasted(tenant.command)), "bold"))


def _finding_lines(finding: Finding) -> Iterator[Text]:
    style = _STYLES.get(finding.severity, "")
    many = f"  {finding.tenants} tenants" if finding.tenants > 1 else ""
    yield Text.assemble(
        (full_time(finding.found_at), "dim"),
        f"  {plain(finding.tenant_id)}  ",
        (plain(finding.cause), f"bold {style}"),
        many,
        (f"  ({SEVERITY_PHRASES.get(finding.severity, 'severity not known')})", style),
    )
    yield Text(f"    {plain(finding.message)}")
    until = (
        f", not before {full_time(finding.not_before)}" if finding.HasField("not_before") else ""
    )
    ended = (
        f", {plain(finding.ended_as)} {full_time(finding.ended_at)}"
        if finding.HasField("ended_at")
        else ""
    )
    detail = f". {plain(finding.detail)}" if finding.detail else ""
    yield Text(
        f"    verdict {plain(finding.verdict)}, outcome {plain(finding.outcome)}{until}{ended}"
        f"{detail}",
        style="dim",
    )


def _sweep_line(record: SweepRecord) -> Text:
    return Text(
        f"{full_time(record.started_at)}  {record.observed} looked at, {record.findings} new "
        f"findings, {record.acted} acted on, {record.skipped_passes} passes skipped before"
    )


def _watch_line(watch: SweepWatch) -> Text:
    last = (
        f"the last full sweep ended {watch.age_seconds:.0f} s ago"
        if watch.HasField("last_full_sweep_at")
        else f"no full sweep yet, {watch.age_seconds:.0f} s after its start"
    )
    error = f" Last error: {plain(watch.last_error)}" if watch.last_error else ""
    return Text(
        f"Reconciler: {last} (every {watch.interval_seconds:g} s); {watch.full} full, "
        f"{watch.failed} failed, {watch.cut} cut, {watch.skipped} skipped.{error}",
        style="green" if watch.healthy else "red",
    )
