"""Carries out `start -f`: orders every tenant of a file, and shows how far they are.

The same file given again changes nothing: each tenant has the same id and spec, and the
service answers with its status. A tenant that is refused does not stop the others.
"""

from __future__ import annotations

import asyncio
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.text import Text

from clients.cli import exit_codes, render, standing, templates
from clients.cli.exit_codes import ExitCode
from clients.cli.failures import Failure
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.render import STATE_STYLES
from clients.cli.wire_text import plain, tenant_word
from clients.sdk.errors import FieldViolation, NotFound, ProvisionerError, Unreachable
from provisioner.v1.tenant_pb2 import TenantSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import StartMany
    from clients.cli.templates import Template
    from clients.sdk import ProvisionerClient
    from provisioner.v1.tenant_pb2 import TenantStatus

# Enough to keep a service busy, few enough to leave room for others.
_AT_ONCE = 8
# Below the service's limit for one connection (1000); the others wait their turn.
_FOLLOWED_AT_ONCE = 500
# Hundreds of tenants change many times a second; more than four pictures nobody sees.
_DRAW_SECONDS = 0.25
_GAP = "  "


@dataclass(slots=True)
class _Row:
    """One tenant of the file, and what came of it so far."""

    template: Template
    outcome: str = "waiting"
    status: TenantStatus | None = None
    error: ProvisionerError | None = None


async def start_many(client: ProvisionerClient, request: StartMany, output: Output) -> ExitCode:
    """Start every tenant of a file.

    Returns:
        WRONG_USE if the file can't be used, and nothing was ordered; else the code of the first
        error, or the worst of what the statuses stand for.
    """
    try:
        found = await asyncio.to_thread(templates.read, Path(request.file))
    except OSError as error:
        output.failure(_unreadable(request.file, error))
        return ExitCode.WRONG_USE
    except templates.TemplateError as error:
        output.failure(_wrong_file(request.file, error))
        return ExitCode.WRONG_USE
    rows = [_Row(template=each) for each in found]
    places = asyncio.Semaphore(_AT_ONCE)
    await asyncio.gather(*(_start(client, row, places) for row in rows))
    if request.watch:
        await _follow(client, rows, request.file, output)
    if output.as_json:
        output.json({"tenants": [_object(row) for row in rows]})
    else:
        output.lines(table(rows))
        output.lines(_errors(request.file, rows))
        output.lines(_reasons(rows))
    return _exit_code(rows, watched=request.watch)


def table(rows: list[_Row]) -> Iterator[Text]:
    """Show how far each tenant is, one line each."""
    cells = [("STATE", "STEPS", "WHAT", "TENANT", "COMPANY")]
    cells += [
        (
            "" if row.status is None else tenant_word(row.status.state),
            "" if row.status is None else f"{row.status.steps_completed}/{row.status.total_steps}",
            row.outcome,
            row.template.tenant_id,
            plain(row.template.name),
        )
        for row in rows
    ]
    widths = [max(len(cell[column]) for cell in cells) for column in range(4)]
    for number, cell in enumerate(cells):
        padded = [f"{text:<{width}}" for text, width in zip(cell[:4], widths, strict=True)]
        status = rows[number - 1].status if number else None
        style = STATE_STYLES.get(status.state, "") if status is not None else ""
        yield Text.assemble(
            (padded[0], style),
            _GAP,
            _GAP.join([*padded[1:], cell[4]]),
            style="" if number else "dim",
        )


async def _start(client: ProvisionerClient, row: _Row, places: asyncio.Semaphore) -> None:
    template = row.template
    async with places:
        try:
            there = await _is_there(client, template.tenant_id)
            row.status = await client.start_provisioning(
                _spec(template), tenant_id=template.tenant_id
            )
        except ProvisionerError as error:
            row.error, row.outcome = error, "refused"
            if isinstance(error, Unreachable):
                row.outcome = "not reached"
        else:
            row.outcome = "unchanged" if there else "started"


async def _is_there(client: ProvisionerClient, tenant_id: str) -> bool:
    try:
        status = await client.get_status(tenant_id)
    except NotFound:
        return False
    return tenant_word(status.state) != "DEPROVISIONED"


def _spec(template: Template) -> TenantSpec:
    values: dict[str, Any] = dict(template.values)  # Any: each field has its own type
    return TenantSpec(**values)


async def _follow(client: ProvisionerClient, rows: list[_Row], file: str, output: Output) -> None:
    """Follow all of them until each is at rest."""
    try:
        if output.as_json or not output.interactive:
            await _until_rest(client, rows, asyncio.Event())
            return
        with Live(console=output.console, auto_refresh=False, transient=True) as live:
            changed = asyncio.Event()
            changed.set()
            drawing = asyncio.create_task(_draw(live, rows, changed))
            try:
                await _until_rest(client, rows, changed)
            finally:
                drawing.cancel()
    except asyncio.CancelledError:
        if not output.as_json:
            again = pasted(f"provisioner start -f {shlex.quote(file)} --watch")
            output.note(f"Stopped watching; the tenants go on. Look again with: {plain(again)}")
        raise


async def _draw(live: Live, rows: list[_Row], changed: asyncio.Event) -> None:
    while True:
        await changed.wait()
        changed.clear()
        live.update(Text("\n").join(table(rows)), refresh=True)
        await asyncio.sleep(_DRAW_SECONDS)


async def _until_rest(client: ProvisionerClient, rows: list[_Row], changed: asyncio.Event) -> None:
    places = asyncio.Semaphore(_FOLLOWED_AT_ONCE)

    async def follow(row: _Row) -> None:
        try:
            async with places, client.watch_status(row.template.tenant_id) as statuses:
                async for status in statuses:
                    row.status = status
                    changed.set()
        except ProvisionerError as error:
            row.error = error  # of this tenant; the others are followed on

    moving = [row for row in rows if row.status is not None and not standing.at_rest(row.status)]
    await asyncio.gather(*(follow(row) for row in moving))


def _object(row: _Row) -> dict[str, Any]:
    error = None
    if row.error is not None:
        error = {"code": row.error.code, "reason": row.error.reason, "message": row.error.message}
    return {
        "line": row.template.line,
        "tenant_id": row.template.tenant_id,
        "company_name": row.template.name,
        "outcome": row.outcome.replace(" ", "_"),
        "status": None if row.status is None else as_object(row.status),
        "error": error,
    }


def _errors(file: str, rows: list[_Row]) -> Iterator[Text]:
    for row in rows:
        if row.error is None:
            continue
        where = f"{plain(file)}:{row.template.line}"
        violations = row.error.field_violations
        if not violations:
            yield Text(f"{where}: {plain(row.error.message)} ({plain(row.error.reason)})", "red")
        for violation in violations:
            name = violation.field.removeprefix("spec.").partition("[")[0]
            line = row.template.lines.get(name, row.template.line)
            yield Text(f"{plain(file)}:{line}: {name}: {plain(violation.description)}", "red")


def _reasons(rows: list[_Row]) -> Iterator[Text]:
    """Say for each tenant that is not well why, and which command comes next."""
    for row in rows:
        if row.status is None or standing.exit_code(row.status) is ExitCode.DONE:
            continue
        name = plain(row.template.name)
        for error in row.status.errors:
            yield Text(f"{name}: {render.error(error)}", "red")
        if row.status.HasField("hold"):
            yield Text(f"{name}: held {render.hold(row.status)}", "red")
        yield Text(f"Next: {plain(pasted(standing.next_command(row.status)))}")


def _exit_code(rows: list[_Row], *, watched: bool) -> ExitCode:
    errors = [exit_codes.for_error(row.error.code) for row in rows if row.error is not None]
    if errors:
        return errors[0]
    judge = standing.exit_code_watched if watched else standing.exit_code
    codes = [judge(row.status) for row in rows if row.status is not None]
    return max(codes, default=ExitCode.DONE)


def _unreadable(file: str, error: OSError) -> Failure:
    return Failure(
        code="INVALID_ARGUMENT",
        reason="FILE_UNREADABLE",
        message=f"{file} can't be read: {error.strerror or error}.",
        exit_code=ExitCode.WRONG_USE,
    )


def _wrong_file(file: str, error: templates.TemplateError) -> Failure:
    return Failure(
        code="INVALID_ARGUMENT",
        reason="FILE_INVALID",
        message=f"{file} is not accepted; nothing was ordered.",
        fields=tuple(
            (
                f"{file}:{each.line}" + (f": {each.field}" if each.field else ""),
                FieldViolation(field=each.field, description=each.description),
            )
            for each in error.mistakes
        ),
        field_lines=tuple(each.line for each in error.mistakes),
        exit_code=ExitCode.WRONG_USE,
    )
