"""Carries out `fix`: diagnose, show the remedy, ask, apply it, follow to the end."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from clients.cli import diagnosing, standing
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.screens import screen_for
from clients.cli.watch import watch
from clients.cli.wire_text import plain, tenant_word
from clients.sdk.errors import ProvisionerError
from provisioner.v1 import diagnosis_pb2, tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from clients.cli.output import Output
    from clients.cli.requests import Fix
    from clients.sdk import ProvisionerClient
    from provisioner.v1.diagnosis_pb2 import Cause, Diagnosis
    from provisioner.v1.tenant_pb2 import TenantStatus

_IN_MOTION = frozenset({"IN_PROGRESS", "DEPROVISIONING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One tenant, why it stands still, and what is done about it; `cause` None: nothing is."""

    found: Diagnosis
    cause: Cause | None

    def as_object(self, *, applied: bool, state: str, error: str = "") -> dict[str, Any]:
        """Return it for scripts."""
        return {
            **as_object(self.found),
            "remedy": None if self.cause is None else as_object(self.cause.remedy),
            "applied": applied,
            "state_after": state,
            "error": error,
        }


async def fix(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    """Carry `fix` out."""
    if request.all_stuck:
        return await _fix_all(client, request, output)
    return await _fix_one(client, request, output)


async def _fix_one(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    case = _case(await client.diagnose(request.tenant))
    output.lines(diagnosing.diagnosis_lines(case.found))
    moves = case.found.state in _IN_MOTION
    if request.dry_run or (case.cause is None and not moves):
        return _told(case, output)
    status = await client.get_status(request.tenant)
    applied = False
    if case.cause is not None:
        if not await _agreed(case.cause, request, output):
            return _told(case, output)
        status, applied = await client.carry_out(case.cause.remedy), True
    with screen_for(output, with_log=True) as screen:
        last = await watch(client, status, screen, with_log=output.interactive)
    if output.as_json:
        output.json(case.as_object(applied=applied, state=tenant_word(last.state)))
    else:
        output.lines([_end_line(last)])
    return standing.exit_code_watched(last)


async def _fix_all(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    cases = [_case(await client.diagnose(each)) for each in await _stuck(client)]
    for case in cases:
        output.lines([Text(""), *diagnosing.diagnosis_lines(case.found)])
    # Where something must be mended by hand first, an order would only fail again.
    able = [case for case in cases if case.cause is not None and case.cause.remedy.alone]
    left = [case for case in cases if case not in able]
    if not output.as_json:
        output.note(
            f"{len(cases)} tenants stand still: {len(able)} can be driven on now, {len(left)} "
            "need something mended first, or move already."
        )
    if request.dry_run or not able or not await _agree(f"Drive {len(able)} on?", request, output):
        objects = [case.as_object(applied=False, state=case.found.state) for case in cases]
        if output.as_json:
            output.json({"tenants": objects})
        return ExitCode.TENANT_NOT_WELL if cases else ExitCode.DONE
    ended = await asyncio.gather(*(_apply(client, case) for case in able))
    return _told_all(able, left, ended, output)


def _told_all(
    able: Sequence[_Case],
    left: Sequence[_Case],
    ended: Sequence[TenantStatus | ProvisionerError],
    output: Output,
) -> ExitCode:
    objects = []
    well = not left
    for case, end in zip(able, ended, strict=True):
        if isinstance(end, ProvisionerError):
            well = False
            objects.append(case.as_object(applied=False, state=case.found.state, error=end.message))
            output.lines([Text(f"{plain(case.found.tenant_id)}  {plain(end.message)}", "red")])
            continue
        well = well and end.state == tenant_pb2.TENANT_STATE_COMPLETED
        objects.append(case.as_object(applied=True, state=tenant_word(end.state)))
        output.lines([_end_line(end)])
    objects += [case.as_object(applied=False, state=case.found.state) for case in left]
    if output.as_json:
        output.json({"tenants": objects})
    return ExitCode.DONE if well else ExitCode.TENANT_NOT_WELL


async def _apply(client: ProvisionerClient, case: _Case) -> TenantStatus | ProvisionerError:
    """Apply one remedy and follow; what goes wrong is one tenant's, not all's."""
    if case.cause is None:
        raise TypeError("a case without a cause has no remedy")
    try:
        status = await client.carry_out(case.cause.remedy)
        while not standing.at_rest(status):
            await asyncio.sleep(_LOOK_SECONDS)
            status = await client.get_status(case.found.tenant_id)
    except ProvisionerError as error:
        return error
    return status


# Many are followed at once; two looks a second each are enough.
_LOOK_SECONDS = 0.5


async def _stuck(client: ProvisionerClient) -> list[str]:
    """Return who a sweep finds stuck, and who was handed over before; each once, in order."""
    seen = await client.sweep(dry_run=True)
    ids = [finding.tenant_id for finding in seen.findings]
    ids += [tenant.tenant_id for tenant in seen.handed_over]
    return list(dict.fromkeys(ids))


def _case(found: Diagnosis) -> _Case:
    """Choose the likeliest cause that an order helps against."""
    cause = next((each for each in found.causes if each.remedy.call), None)
    # What moves by itself is followed, not ordered about.
    return _Case(found=found, cause=None if found.state in _IN_MOTION else cause)


async def _agreed(cause: Cause, request: Fix, output: Output) -> bool:
    if not cause.remedy.alone and not output.as_json:
        output.note(f"First: {plain(cause.remedy.says)}")
    return await _agree(f"Apply: {plain(cause.remedy.command)} ?", request, output)


async def _agree(question: str, request: Fix, output: Output) -> bool:
    if request.yes:
        return True
    if output.as_json:
        return False  # nobody is there to answer; --yes says so beforehand
    output.note(f"{question} [y/N]")
    answer = await asyncio.to_thread(sys.stdin.readline)
    return answer.strip().lower() in {"y", "yes"}


def _told(case: _Case, output: Output) -> ExitCode:
    if output.as_json:
        output.json(case.as_object(applied=False, state=case.found.state))
    elif case.found.causes:
        output.note("Nothing was changed.")
    worst = any(each.severity == diagnosis_pb2.SEVERITY_PERSON for each in case.found.causes)
    return ExitCode.TENANT_NOT_WELL if worst else diagnosing.exit_code(case.found)


def _end_line(status: TenantStatus) -> Text:
    why = "; ".join(plain(error.code) for error in status.errors)
    return Text.assemble(
        f"{plain(status.tenant_id)}  {plain(status.spec.company_name)}  ",
        (tenant_word(status.state), "bold"),
        f"  {why}" if why else "",
    )
