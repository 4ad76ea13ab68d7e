"""Carries out the commands that call the service, and shows what came of it.

A function that carries a command out takes an open client, the request and the output, and returns
what the command ends with. It lets `ProvisionerError` and `OutputClosed` through: `run` says what
they mean.
"""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING, Any, assert_never

from rich.text import Text

from clients.cli import (
    accepting,
    bundling,
    connection,
    diagnosing,
    engine_listing,
    failures,
    fixing,
    following,
    healing,
    listing,
    ordering,
    pasting,
    render,
    requests,
    signing_in,
    standing,
    starting_many,
    surveying,
    watching,
)
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.kept_log import kept_log
from clients.cli.output import Output, OutputClosed
from clients.cli.pasting import pasted
from clients.cli.requests import (
    Continue,
    Diagnose,
    ListEngines,
    ListTenants,
    Logs,
    Plan,
    Retry,
    Start,
    Status,
    Verify,
    Watch,
)
from clients.cli.surveying import spec_of
from clients.cli.wire_text import plain
from clients.sdk import ProvisionerClient, ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clients.cli.requests import Request
    from provisioner.v1.provisioning_pb2 import LogEntry
    from provisioner.v1.tenant_pb2 import TenantStatus


# Commands with a module of their own. Any: each takes its own kind of request.
_BY_REQUEST: dict[type[Request], Callable[[ProvisionerClient, Any, Output], Awaitable[ExitCode]]]
_BY_REQUEST = {
    requests.Fix: fixing.fix,
    requests.ListFindings: healing.findings,
    requests.Adopt: ordering.adopt,
    requests.Cancel: ordering.cancel,
    requests.Deprovision: ordering.deprovision,
    requests.Release: ordering.release,
    requests.Skip: ordering.skip,
    requests.StartMany: starting_many.start_many,
    requests.AcceptSite: accepting.accept_site,
    requests.Bundle: bundling.bundle,
    requests.Login: signing_in.login,
    requests.WhoAmI: signing_in.whoami,
    requests.ListSweeps: healing.sweeps,
    requests.Report: healing.report,
    requests.Sweep: healing.sweep,
    Diagnose: diagnosing.diagnose,
    ListTenants: listing.show,
    ListEngines: engine_listing.show,
    Plan: surveying.plan,
    Verify: surveying.verify,
    Watch: watching.watch,
}


def run(request: Request) -> ExitCode:
    """Carry out a command from beginning to end, and return what it ends with.

    Errors of the service and Ctrl-C are told on the output.

    Raises:
        typer.BadParameter: a file that the command needs, or a setting, can't be used.
    """
    output = Output(as_json=request.as_json)
    pasting.call(request.address)
    try:
        return asyncio.run(_carry_out(request, output))
    except ProvisionerError as error:
        failure = failures.of_service(error, request)
        output.failure(failure)
        return failure.exit_code
    except KeyboardInterrupt:
        # Logs and watches in JSON are complete line by line; everything else owes one document.
        if request.as_json and not isinstance(request, Logs | Watch):
            output.failure(failures.interrupted(request))
        return ExitCode.INTERRUPTED
    except OutputClosed:
        return ExitCode.OUTPUT_CLOSED


async def _carry_out(request: Request, output: Output) -> ExitCode:
    token = ""
    if isinstance(request, requests.Login):
        tls = request.tls
    else:
        token = connection.token_for(request.address)
        tls = connection.tls_for(request.address)
    async with ProvisionerClient(
        request.address,
        token=token,
        tls=connection.tls_of(tls),
        timeout_seconds=request.timeout_seconds,
    ) as client:
        if carry_out := _BY_REQUEST.get(type(request)):
            return await carry_out(client, request, output)
        match request:
            case Logs():
                return await _logs(client, request, output)
            case Status():
                status = await client.get_status(request.tenant)
                if request.watch:
                    return await following.follow(client, status, output, with_log=False)
                following.show(status, output)
                return standing.exit_code(status)
            case Start() | Continue() | Retry():
                return await _give(client, request, output)
            case _:
                raise TypeError(f"no call for {type(request).__name__}")


async def _give(
    client: ProvisionerClient, request: Start | Continue | Retry, output: Output
) -> ExitCode:
    if isinstance(request, Start):
        code = await surveying.stopped(client, request, output)
        if code is not None:
            return code
    status = await _order(client, request)
    if request.watch:
        return await following.follow(client, status, output, with_log=True)
    following.show(status, output)
    return ExitCode.DONE


async def _order(client: ProvisionerClient, request: Start | Continue | Retry) -> TenantStatus:
    match request:
        case Start():
            return await client.start_provisioning(
                spec_of(request.spec), tenant_id=request.tenant_id, request_id=request.request_id
            )
        case Continue():
            return await client.continue_(
                request.tenant,
                reason=request.reason,
                expected_revision=request.expected_revision,
                request_id=request.request_id,
            )
        case Retry():
            return await client.retry(
                request.tenant,
                step_key=request.step,
                reason=request.reason,
                expected_revision=request.expected_revision,
                request_id=request.request_id,
            )
        case _:
            assert_never(request)


async def _logs(client: ProvisionerClient, request: Logs, output: Output) -> ExitCode:
    # Asked first because it answers at once when the service is away or the tenant
    # unknown; the stream would patiently try again.
    await client.get_status(request.tenant)
    days, cursor = _Days(output), request.after

    def cut(oldest: int) -> None:
        if not output.as_json:
            output.note(f"Entries before {oldest} are no longer kept.")

    async with kept_log(
        client, request.tenant, after=request.after, follow=request.follow, on_cut=cut
    ) as log:
        try:
            async for entry in log:
                cursor = entry.cursor
                if output.as_json:
                    output.json(as_object(entry))
                else:
                    output.lines([*days.heading(entry), days.line(entry)])
        except (ProvisionerError, asyncio.CancelledError):
            if cursor > request.after and not output.as_json:
                follow = " -f" if request.follow else ""
                tenant = shlex.quote(request.tenant)
                command = f"provisioner logs {tenant}{follow} --after {cursor}"
                output.note(f"Go on with: {plain(pasted(command))}")
            raise
    return ExitCode.DONE


class _Days:
    """Tells the day: to a person where it changes, to a pipe in each line, as lines get cut out."""

    def __init__(self, output: Output) -> None:
        self._once = output.interactive
        self._day = ""

    def heading(self, entry: LogEntry) -> list[Text]:
        day = _day(entry)
        if not self._once or day == self._day:
            return []
        self._day = day
        return [Text(f"{day} UTC", style="dim")]

    def line(self, entry: LogEntry) -> Text:
        line = render.log_line(entry)
        return line if self._once else Text.assemble(_day(entry), " ", line)


def _day(entry: LogEntry) -> str:
    return entry.time.ToDatetime().strftime("%Y-%m-%d")
