"""Carries out skip, cancel, deprovision, adopt and release: shows first, asks, then orders.

With --json stdout holds one document: what would be done (`"ordered": false`) or the answer to
the order (`"ordered": true`), each with the tenant's `status`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from clients.cli import following, render
from clients.cli.asking import agreed
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.wire_text import plain
from provisioner.v1 import orders_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.message import Message

    from clients.cli.output import Output
    from clients.cli.requests import Adopt, Cancel, Deprovision, Release, Skip
    from clients.sdk import ProvisionerClient
    from provisioner.v1.provisioning_pb2 import AdoptCompanyResponse, ReleaseResponse
    from provisioner.v1.tenant_pb2 import TenantStatus

_ORIGINS = {
    orders_pb2.DOCUMENT_ORIGIN_CREATED: "made by us",
    orders_pb2.DOCUMENT_ORIGIN_INTENDED: "asked for",
    orders_pb2.DOCUMENT_ORIGIN_ADOPTED: "was there",
}


async def skip(client: ProvisionerClient, request: Skip, output: Output) -> ExitCode:
    """Carry `skip` out; it ends with DONE once the order is acknowledged."""
    status = await client.skip_step(
        request.tenant,
        request.step,
        reason=request.reason,
        expected_revision=request.expected_revision,
        request_id=request.request_id,
    )
    following.show(status, output)
    return ExitCode.DONE


async def cancel(client: ProvisionerClient, request: Cancel, output: Output) -> ExitCode:
    """Carry `cancel` out.

    Returns:
        DONE once the order is acknowledged; watched, once the tenant is at rest, whatever its
        state.
    """
    answer = await client.cancel(
        request.tenant,
        reason=request.reason,
        expected_revision=request.expected_revision,
        request_id=request.request_id,
    )
    if request.watch:
        await following.follow(client, answer.status, output, with_log=False)
        # Whoever cancels waits for it to stop, so that it did is a success.
        return ExitCode.DONE
    if output.as_json:
        output.json(_document(answer, ordered=True))
        return ExitCode.DONE
    output.lines(render.status_lines(answer.status))
    output.lines(_left(answer.documents))
    return ExitCode.DONE


async def deprovision(client: ProvisionerClient, request: Deprovision, output: Output) -> ExitCode:
    """Carry `deprovision` out.

    Returns:
        DONE if it is ordered or was only to be shown; WRONG_USE if nobody agreed; watched, what
        `standing.exit_code_watched` says of the end.
    """
    shown = await client.deprovision(request.tenant, validate_only=True)
    if not output.as_json:
        output.lines(_removal(shown.status, shown.documents))
    question = "Remove it?"
    if request.dry_run or not await agreed(question, output, yes=request.yes):
        return _only_shown(_document(shown, ordered=False), output, dry_run=request.dry_run)
    answer = await client.deprovision(
        request.tenant,
        even_if_sold=request.even_if_sold,
        delete_transactions=request.delete_transactions,
        reason=request.reason,
        expected_revision=request.expected_revision,
        request_id=request.request_id,
    )
    if request.watch:
        return await following.follow(client, answer.status, output, with_log=True)
    _show(answer, answer.status, output)
    return ExitCode.DONE


async def adopt(client: ProvisionerClient, request: Adopt, output: Output) -> ExitCode:
    """Carry `adopt` out.

    Returns:
        DONE if it is ordered or was only to be shown; TENANT_NOT_WELL if a check speaks against it,
        and WRONG_USE if nobody agreed: then nothing was ordered. Watched, what
        `standing.exit_code_watched` says of the end.
    """
    shown = await client.adopt_company(request.tenant, validate_only=True)
    against = [check for check in shown.checks if not check.agrees]
    if not output.as_json:
        output.lines(_checks(shown))
    if against and not output.as_json:
        output.note(f"{len(against)} of {len(shown.checks)} checks speak against it.")
    stop = request.dry_run or bool(against)
    if stop or not await agreed("Is this the tenant's Company?", output, yes=request.yes):
        code = _only_shown(_document(shown, ordered=False), output, dry_run=request.dry_run)
        return ExitCode.TENANT_NOT_WELL if against else code
    answer = await client.adopt_company(
        request.tenant,
        reason=request.reason,
        expected_revision=request.expected_revision,
        request_id=request.request_id,
    )
    if request.watch:
        return await following.follow(client, answer.status, output, with_log=True)
    _show(answer, answer.status, output)
    return ExitCode.DONE


async def release(client: ProvisionerClient, request: Release, output: Output) -> ExitCode:
    """Carry `release` out.

    Returns:
        DONE if it is ordered, was only to be shown, or there is nothing to release; WRONG_USE if
        nobody agreed.
    """
    shown = await client.release(request.tenant, validate_only=True)
    if not output.as_json:
        output.lines(_holders(shown))
    held = shown.HasField("hold") or (shown.HasField("lease") and not shown.lease.alive)
    alive = shown.HasField("lease") and shown.lease.alive
    if not held and not alive:
        return _only_shown(_document(shown, ordered=False), output, dry_run=True)
    if request.dry_run or not await agreed("Release it?", output, yes=request.yes):
        return _only_shown(_document(shown, ordered=False), output, dry_run=request.dry_run)
    answer = await client.release(
        request.tenant,
        reason=request.reason,
        expected_revision=request.expected_revision,
        request_id=request.request_id,
    )
    _show(answer, answer.status, output)
    return ExitCode.DONE


def _only_shown(document: dict[str, Any], output: Output, *, dry_run: bool) -> ExitCode:
    """End a command that ordered nothing: on request, or because nobody agreed."""
    if output.as_json:
        output.json(document)
    elif not dry_run:
        output.note("Nothing was ordered.")
    return ExitCode.DONE if dry_run else ExitCode.WRONG_USE


def _show(answer: Message, status: TenantStatus, output: Output) -> None:
    if output.as_json:
        output.json(_document(answer, ordered=True))
    else:
        output.lines(render.status_lines(status))


def _document(answer: Message, *, ordered: bool) -> dict[str, Any]:
    return {"ordered": ordered, **as_object(answer)}


def _removal(
    status: TenantStatus, documents: Iterable[orders_pb2.TenantDocument]
) -> Iterator[Text]:
    yield Text(f"{plain(status.spec.company_name)}  {plain(status.tenant_id)}", style="bold")
    going = [each for each in documents if each.removed]
    staying = [each for each in documents if not each.removed]
    if not going:
        yield Text("According to the record, nothing was made for it.")
    else:
        yield Text(f"Will be removed ({len(going)}):")
        yield from _table(going, "red")
    if staying:
        yield Text(f"Stays ({len(staying)}):")
        yield from _table(staying, "dim")


def _left(documents: Iterable[orders_pb2.TenantDocument]) -> Iterator[Text]:
    left = list(documents)
    if not left:
        yield Text("Left at the engine: nothing.")
        return
    yield Text(f"Left at the engine ({len(left)}):")
    yield from _table(left, "")


def _table(documents: list[orders_pb2.TenantDocument], style: str) -> Iterator[Text]:
    width = max(len(plain(each.doctype)) for each in documents)
    for each in documents:
        # The service says why it is deleted or kept: what "was there" may go with the Company.
        origin = plain(each.note) or _ORIGINS.get(each.origin, "")
        yield Text.assemble(
            (f"  {plain(each.doctype):<{width}}  {plain(each.name)}", style), (f"  {origin}", "dim")
        )


def _checks(shown: AdoptCompanyResponse) -> Iterator[Text]:
    yield Text(f"Company for tenant {plain(shown.status.tenant_id)}", style="bold")
    if shown.company_owner:
        yield Text(
            f"Made by {plain(shown.company_owner)} at {plain(shown.company_created)} (site time)"
        )
    rows = [("", "TENANT WANTS", "ENGINE HAS", "")] + [
        (plain(check.field), plain(check.want) or "any", plain(check.have), check)
        for check in shown.checks
    ]
    widths = [max(len(str(row[column])) for row in rows) for column in range(3)]
    for field, want, have, check in rows:
        agrees = isinstance(check, str) or check.agrees
        mark = "  " if isinstance(check, str) else "✓ " if agrees else "✗ "
        yield Text(
            f"{mark}{field:<{widths[0]}}  {want:<{widths[1]}}  {have:<{widths[2]}}".rstrip(),
            style="dim" if isinstance(check, str) else "" if agrees else "red",
        )


def _holders(shown: ReleaseResponse) -> Iterator[Text]:
    yield Text(f"Tenant {plain(shown.status.tenant_id)}", style="bold")
    if shown.HasField("hold"):
        hold = shown.hold
        yield Text(
            f"Held by {plain(hold.by)}, {_age(hold.since.ToDatetime(UTC))}: {plain(hold.reason)}",
            style="red",
        )
    if shown.HasField("lease"):
        lease = shown.lease
        heard = (
            f"last heard of {_age(lease.heartbeat_at.ToDatetime(UTC))}"
            if lease.HasField("heartbeat_at")
            else "never heard of"
        )
        word = "alive" if lease.alive else "dead"
        yield Text(
            f"Run driven by worker {plain(lease.worker_id)}, {word}, {heard}",
            style="" if lease.alive else "red",
        )
    if not shown.HasField("hold") and not shown.HasField("lease"):
        yield Text("Nothing holds it: there is nothing to release.")


def _age(since: datetime) -> str:
    seconds = max(int((datetime.now(UTC) - since).total_seconds()), 0)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
