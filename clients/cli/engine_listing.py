"""Carries out `engines list`: each engine's gate, slot, queue and measured step times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.wire_text import full_time, plain
from provisioner.v1 import engines_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.cli.output import Output
    from clients.cli.requests import ListEngines
    from clients.sdk import ProvisionerClient
    from provisioner.v1.engines_pb2 import EngineStatus, StepTime

_GATES = {
    engines_pb2.ENGINE_GATE_UP: ("open", "green"),
    engines_pb2.ENGINE_GATE_DOWN: ("shut: down", "red"),
    engines_pb2.ENGINE_GATE_MISCONFIGURED: ("shut: misconfigured", "red"),
}


async def show(client: ProvisionerClient, request: ListEngines, output: Output) -> ExitCode:  # noqa: ARG001 - as every command has it
    """Show every configured engine.

    Returns:
        TENANT_NOT_WELL if a gate is shut.
    """
    found = await client.list_engines()
    if output.as_json:
        output.json({"engines": [as_object(each) for each in found]})
    elif not found:
        output.note("No engine is configured: set PROVISIONER_ENGINES_FILE (see README.md).")
    else:
        now = datetime.now(UTC)
        output.lines(line for each in found for line in engine_lines(each, now))
    shut = any(each.gate != engines_pb2.ENGINE_GATE_UP for each in found)
    return ExitCode.TENANT_NOT_WELL if shut else ExitCode.DONE


def engine_lines(engine: EngineStatus, now: datetime) -> Iterator[Text]:
    """Show one engine for people.

    Args:
        engine: Its status.
        now: The present time, with a zone, for the slot's age.
    """
    gate, style = _GATES.get(engine.gate, ("not known", ""))
    default = "  (default)" if engine.is_default else ""
    yield Text.assemble((plain(engine.engine_id), "bold"), default, "  ", plain(engine.site))
    since = f" since {full_time(engine.gate_since)}" if engine.HasField("gate_since") else ""
    yield Text.assemble(("  Gate   ", "dim"), (gate, style), since)
    if engine.gate_code:
        yield Text(f"         {plain(engine.gate_code)}: {plain(engine.gate_message)}", style)
    if engine.HasField("next_probe_at"):
        yield Text(f"         asked again at {full_time(engine.next_probe_at)}", "dim")
    yield Text.assemble(("  Slot   ", "dim"), _slot(engine, now))
    limit = f", at most {engine.max_runs} at once" if engine.max_runs else ""
    yield Text.assemble(
        ("  Runs   ", "dim"),
        f"{engine.running_runs} running, {engine.queued_runs} queued, "
        f"{engine.waiting_runs} waiting{limit}",
    )
    if engine.step_times:
        yield Text.assemble(("  Steps  ", "dim"), "median, longest, measured in")
        yield from (Text(f"         {_step_time(each)}") for each in engine.step_times)


def _slot(engine: EngineStatus, now: datetime) -> str:
    if not engine.HasField("slot"):
        return "free"
    slot = engine.slot
    age = (now - slot.sent_at.ToDatetime(UTC)).total_seconds()
    return (
        f"{plain(slot.doctype)} {plain(slot.name)} of tenant {plain(slot.tenant_id)}, for "
        f"{max(age, 0):.0f} s; free by itself at {full_time(slot.expires_at)}"
    )


def _step_time(time: StepTime) -> str:
    return (
        f"{plain(time.step_key):<28}{time.median_seconds:>8.2f} s{time.longest_seconds:>9.2f} s"
        f"{time.attempts:>7}"
    )
