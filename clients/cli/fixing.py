"""Carries out `fix`: diagnose, show the remedy, ask, apply it, follow, and diagnose again.

It continues until nothing is left, a person must decide or fix something, or a problem came back.
It never decides whose a Company is or which site is right: those orders are only shown.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rich.text import Text

from clients.cli import diagnosing, standing
from clients.cli.asking import said_yes
from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.screens import screen_for
from clients.cli.watch import watch
from clients.cli.wire_text import plain, tenant_word
from clients.sdk.errors import NotAllowed, ProvisionerError, Unreachable
from provisioner.v1 import diagnosis_pb2, tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from clients.cli.output import Output
    from clients.cli.requests import Fix
    from clients.sdk import ProvisionerClient
    from provisioner.v1.diagnosis_pb2 import Cause, Diagnosis
    from provisioner.v1.tenant_pb2 import TenantStatus

_IN_MOTION = frozenset({"IN_PROGRESS", "DEPROVISIONING"})

# A tenant that has something new after so many remedies needs a person, not another one.
_MOST_ROUNDS = 5

# Orders that only check again what is the tenant's. Adopt, accept-site and deprovision decide
# something, so a person gives them.
_GIVEN = frozenset({"Continue", "Retry", "SkipStep"})

# By code and step: what was applied once is not applied again.
_Tried = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One look at a tenant, and what is done about what it found.

    Attributes:
        cause: The cause whose remedy is applied; None if none is.
        why_not: Why none is, in plain words; "" if nothing is wrong or the tenant is in motion.
    """

    found: Diagnosis
    cause: Cause | None
    why_not: str = ""

    @property
    def moves(self) -> bool:
        """Whether it is in motion and can simply be followed."""
        return self.found.state in _IN_MOTION and not self.why_not


@dataclass(frozen=True, slots=True, kw_only=True)
class _Round:
    """What came of one look: whether a remedy was applied, and the tenant's state after it."""

    case: _Case
    applied: bool = False
    state: str = ""


@dataclass(slots=True, kw_only=True)
class _Fixing:
    """All looks at one tenant so far."""

    rounds: list[_Round] = field(default_factory=list)
    error: str = ""

    @property
    def tried(self) -> _Tried:
        return frozenset(
            (each.case.cause.code, each.case.cause.step_key)
            for each in self.rounds
            if each.applied and each.case.cause is not None
        )

    def as_object(self) -> dict[str, Any]:  # Any: JSON values
        """Return it for scripts: the first look, and all that followed."""
        first, last = self.rounds[0].case, self.rounds[-1]
        return {
            **as_object(first.found),
            "remedy": _remedy_of(first),
            "applied": any(each.applied for each in self.rounds),
            "state_after": last.state or last.case.found.state,
            "error": self.error,
            "left": [cause.code for cause in last.case.found.causes],
            "rounds": [
                {
                    **as_object(each.case.found),
                    "remedy": _remedy_of(each.case),
                    "applied": each.applied,
                    "state_after": each.state or each.case.found.state,
                    "why_not": each.case.why_not,
                }
                for each in self.rounds
            ],
        }


async def fix(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    """Carry `fix` out.

    Returns:
        WRONG_USE if it asked and the input had ended; TENANT_NOT_WELL if a person must act or a
        tenant is not well; else DONE.
    """
    if request.all_stuck:
        return await _fix_all(client, request, output)
    return await _fix_one(client, request, output)


async def _fix_one(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    fixing = _Fixing()
    while True:
        case = _case(await client.diagnose(request.tenant), fixing)
        if fixing.rounds and case.found.causes:
            output.lines([Text(""), Text("Looked at again:", "dim")])
        if not fixing.rounds or case.found.causes:
            output.lines(diagnosing.diagnosis_lines(case.found))
        goes_on = not request.dry_run and (case.cause is not None or case.moves)
        agreed = goes_on and await _agreed(case, request, output)
        if not agreed:
            fixing.rounds.append(_Round(case=case))
            code = _told(fixing, output)
            return ExitCode.WRONG_USE if agreed is None else code
        status = await client.get_status(request.tenant)
        if case.cause is not None:
            status = await client.carry_out(case.cause.remedy)
        with screen_for(output, with_log=True) as screen:
            last = await watch(client, status, screen, with_log=output.interactive)
        output.lines([_end_line(last)])
        state = tenant_word(last.state)
        fixing.rounds.append(_Round(case=case, applied=case.cause is not None, state=state))


async def _fix_all(client: ProvisionerClient, request: Fix, output: Output) -> ExitCode:
    cases = await _cases(client, await _stuck(client), output)
    # If something must be fixed by hand first, an order would only fail again.
    able = [case for case in cases if _is_able(case)]
    left = [case for case in cases if case not in able]
    if not output.as_json:
        output.note(overview(able=len(able), left=len(left)))
    asks = bool(able) and not request.dry_run
    agreed = asks and await _agree(f"Drive {len(able)} on?", request, output)
    if not agreed:
        if output.as_json:
            looked = [_Fixing(rounds=[_Round(case=case)]) for case in cases]
            output.json({"tenants": [each.as_object() for each in looked]})
        if agreed is None:
            return ExitCode.WRONG_USE
        return ExitCode.TENANT_NOT_WELL if cases else ExitCode.DONE
    places = asyncio.Semaphore(_FOLLOWED_AT_ONCE)
    done = await asyncio.gather(*(_to_the_end(client, case, places) for case in able))
    return _told_all(done, left, output)


async def _cases(client: ProvisionerClient, tenants: Sequence[str], output: Output) -> list[_Case]:
    """Look at tenants, a few at a time, and show each as soon as those before it are shown."""
    places = asyncio.Semaphore(_LOOKED_AT_ONCE)

    async def look(tenant: str) -> _Case:
        try:
            async with places:
                return _case(await client.diagnose(tenant), _Fixing())
        except ProvisionerError as error:
            if isinstance(error, NotAllowed | Unreachable) or error.code in _OF_THE_SERVICE:
                raise
            # It concerns this tenant only, and keeps no other from being driven on.
            unseen = diagnosis_pb2.Diagnosis(tenant_id=tenant, state=_UNSEEN)
            return _Case(found=unseen, cause=None, why_not=f"Not diagnosed: {error}")

    looks = [asyncio.create_task(look(each)) for each in tenants]
    cases: list[_Case] = []
    try:
        for each in looks:
            case = await each
            cases.append(case)
            output.lines([Text(""), *_case_lines(case)])
    finally:
        # If the service can't be asked any more, the command ends and needs no other answer.
        for each in looks:
            each.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
    return cases


def _case_lines(case: _Case) -> Iterator[Text]:
    if case.found.state != _UNSEEN:
        return diagnosing.diagnosis_lines(case.found)
    return iter([Text(f"{plain(case.found.tenant_id)}  {plain(case.why_not)}", "red")])


def overview(*, able: int, left: int) -> str:
    """Return in one sentence how many tenants are stuck, and what can be done for them.

    Args:
        able: How many can be driven on now.
        left: How many others are stuck.
    """
    standing = able + left
    if not standing:
        return "No tenant is stuck."
    stand = "1 tenant is stuck" if standing == 1 else f"{standing} tenants are stuck"
    need, move = ("needs", "moves") if left == 1 else ("need", "move")
    return (
        f"{stand}: {able} can be driven on now, {left} {need} something fixed first, "
        f"or {move} already."
    )


def _told_all(done: Sequence[_Fixing], left: Sequence[_Case], output: Output) -> ExitCode:
    well = not left
    for fixing in done:
        last = fixing.rounds[-1]
        name = f"{plain(last.case.found.tenant_id)}  {plain(last.case.found.company_name)}  "
        if fixing.error:
            well = False
            output.lines([Text(f"{name}{plain(fixing.error)}", "red")])
            continue
        state = last.state or last.case.found.state
        well = well and state == "COMPLETED"
        why = "; ".join(plain(cause.code) for cause in last.case.found.causes)
        left_over = f"  {why}" if why and state != "COMPLETED" else ""
        output.lines([Text.assemble(name, (state, "bold"), left_over)])
    if output.as_json:
        others = [_Fixing(rounds=[_Round(case=case)]) for case in left]
        output.json({"tenants": [each.as_object() for each in (*done, *others)]})
    return ExitCode.DONE if well else ExitCode.TENANT_NOT_WELL


async def _to_the_end(client: ProvisionerClient, case: _Case, places: asyncio.Semaphore) -> _Fixing:
    """Apply one remedy after another; an error concerns only this tenant."""
    fixing = _Fixing()
    try:
        while case.cause is not None and _is_able(case):
            status = await client.carry_out(case.cause.remedy)
            # Applied, whatever becomes of following it.
            fixing.rounds.append(_Round(case=case, applied=True, state=tenant_word(status.state)))
            status = await _at_rest(client, status, places)
            state = tenant_word(status.state)
            fixing.rounds[-1] = replace(fixing.rounds[-1], state=state)
            if status.state == tenant_pb2.TENANT_STATE_COMPLETED:
                return fixing
            case = _case(await client.diagnose(case.found.tenant_id), fixing)
    except ProvisionerError as error:
        fixing.error = error.message
        if fixing.rounds:
            return fixing
    fixing.rounds.append(_Round(case=case))
    return fixing


async def _at_rest(
    client: ProvisionerClient, status: TenantStatus, places: asyncio.Semaphore
) -> TenantStatus:
    last = status
    if standing.at_rest(last):
        return last
    async with places, client.watch_status(status.tenant_id) as statuses:
        async for last in statuses:
            if standing.at_rest(last):
                break
    return last


# Below the service's limit for one connection (1000); the others wait their turn.
_FOLLOWED_AT_ONCE = 500


# A diagnosis makes about ten requests to the site in sequence, and takes five seconds if the site
# hangs: one at a time a fleet would take all night, and all at once would overload the site.
_LOOKED_AT_ONCE = 8
# Further errors that each next diagnosis would meet, too.
_OF_THE_SERVICE = frozenset({"RESOURCE_EXHAUSTED", "UNIMPLEMENTED"})
# What is shown as the state of a tenant that could not be diagnosed.
_UNSEEN = "UNKNOWN"


async def _stuck(client: ProvisionerClient) -> list[str]:
    """Return the tenants that a sweep finds stuck or that wait for a person, each once."""
    seen = await client.sweep(dry_run=True)
    ids = [finding.tenant_id for finding in seen.findings]
    ids += [tenant.tenant_id for tenant in seen.handed_over]
    return list(dict.fromkeys(ids))


def _case(found: Diagnosis, fixing: _Fixing) -> _Case:
    """Choose the most likely cause that an order helps against and that was not treated yet."""
    if found.state in _IN_MOTION:
        # A tenant that moves by itself is only followed.
        stops = [each for each in found.causes if not _moves_by_itself(each)]
        return _Case(found=found, cause=None, why_not=_by_hand(stops[0]) if stops else "")
    for cause in found.causes:
        method = cause.remedy.call.rpartition("/")[2]
        if method and method not in _GIVEN:
            return _Case(found=found, cause=None, why_not=_by_hand(cause))
        if not method and cause.severity != diagnosis_pb2.SEVERITY_MOVING:
            # It blocks everything below it, such as an engine that is down.
            return _Case(found=found, cause=None, why_not=_by_hand(cause))
        if method and (cause.code, cause.step_key) not in fixing.tried:
            if len(fixing.rounds) < _MOST_ROUNDS:
                return _Case(found=found, cause=cause)
            return _Case(found=found, cause=None, why_not=f"{_MOST_ROUNDS} remedies were enough.")
    again = ", ".join(dict.fromkeys(plain(cause.code) for cause in found.causes))
    return _Case(
        found=found,
        cause=None,
        why_not=f"Already applied, and the problem came back: {again}." if again else "",
    )


def _by_hand(cause: Cause) -> str:
    command = f" Then: {plain(pasted(cause.remedy.command))}" if cause.remedy.command else ""
    person = cause.severity == diagnosis_pb2.SEVERITY_PERSON
    whose = "A person must act" if person else "No order helps here"
    return f"{whose}: {plain(cause.remedy.says)}{command}"


def _moves_by_itself(cause: Cause) -> bool:
    """Tell whether waiting is enough; an engine that is down may stay down all night."""
    if cause.severity == diagnosis_pb2.SEVERITY_PERSON:
        return False
    return cause.severity == diagnosis_pb2.SEVERITY_MOVING or bool(cause.remedy.command)


def _is_able(case: _Case) -> bool:
    return case.cause is not None and case.cause.remedy.alone


def _remedy_of(case: _Case) -> dict[str, Any] | None:  # Any: JSON values
    return None if case.cause is None else as_object(case.cause.remedy)


async def _agreed(case: _Case, request: Fix, output: Output) -> bool | None:
    if case.cause is None:
        return True  # it is followed, and nothing is ordered
    if not case.cause.remedy.alone and not output.as_json:
        output.note(f"First: {plain(case.cause.remedy.says)}")
    return await _agree(f"Apply: {plain(pasted(case.cause.remedy.command))} ?", request, output)


async def _agree(question: str, request: Fix, output: Output) -> bool | None:
    """Tell whether somebody agrees; None where there was nobody to answer."""
    if request.yes:
        return True
    if output.as_json:
        return False  # nobody is there to answer; --yes says so beforehand
    return await said_yes(question, output)


def _told(fixing: _Fixing, output: Output) -> ExitCode:
    """End with what the last look found."""
    last = fixing.rounds[-1].case
    if output.as_json:
        output.json(fixing.as_object())
    else:
        if last.why_not:
            output.note(last.why_not)
        if last.found.causes and not any(each.applied for each in fixing.rounds):
            output.note("Nothing was changed.")
    worst = any(each.severity == diagnosis_pb2.SEVERITY_PERSON for each in last.found.causes)
    stays = worst or bool(last.why_not)
    return ExitCode.TENANT_NOT_WELL if stays else diagnosing.exit_code(last.found)


def _end_line(status: TenantStatus) -> Text:
    why = "; ".join(plain(error.code) for error in status.errors)
    return Text.assemble(
        f"{plain(status.tenant_id)}  {plain(status.spec.company_name)}  ",
        (tenant_word(status.state), "bold"),
        f"  {why}" if why else "",
    )
