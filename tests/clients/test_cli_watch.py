"""Watching a tenant: lines in a pipe, a bar in a terminal, and how a watch ends."""

from __future__ import annotations

import asyncio
import re
import signal
from collections import deque
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.cli.screens import SilentScreen
from clients.cli.watch import watch
from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1 import provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT, entries
from tests.clients.fake_service import FakeService, Fault, Hang, Serving
from tests.clients.processes import (
    CONTROL_CODES,
    GUARD_SECONDS,
    finish,
    run,
    run_in_terminal,
    running,
)

if TYPE_CHECKING:
    from tests.clients.conftest import Pauses

HOSTILE = "Acme \x1b[31mred\x1b]0;title\x07 [bold]x[/bold]\r\n\u202eevil"


COLOURS = re.compile(r"\x1b\[[0-9;]*3[0-7][0-9;]*m")


class RecordingScreen(SilentScreen):
    """Remembers what a watch told."""

    def __init__(self) -> None:
        self.seen: list[tenant_pb2.TenantStatus] = []
        self.notes: list[str] = []
        self.messages: list[str] = []

    def log(self, entry: provisioning_pb2.LogEntry) -> None:
        self.messages.append(entry.message)

    def status(self, status: tenant_pb2.TenantStatus) -> None:
        self.seen.append(status)

    def note(self, text: str) -> None:
        self.notes.append(text)


async def test_a_watch_in_a_pipe_prints_a_line_a_change(
    service: FakeService, server: Serving
) -> None:
    waiting = builders.status(2)
    waiting.waiting_for.code = "SITE_SLOT"
    service.acknowledged = builders.status(1)
    service.statuses = deque(
        [builders.status(1), builders.status(2), waiting, waiting, builders.completed()]
    )
    result = await run("start", "Acme Ltd", "--watch", "--address", server.address)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[:3] == [
        "[1/10] step_0_engine_check: done",
        "[1/10] step_1_platform_setup: running",
        "[1/10] IN_PROGRESS: 1 of 10 steps, 10 %",
    ]
    assert lines.count("[2/10] step_1_platform_setup: done") == 1
    assert sum("SITE_SLOT" in line for line in lines) == 1
    assert "[10/10] COMPLETED: 10 of 10 steps, 100 %" in lines
    assert CONTROL_CODES.findall(result.out) == []


@pytest.mark.parametrize(
    ("command", "last", "code"),
    [("continue", builders.completed(), 0), ("retry", builders.partial(), 1)],
)
async def test_a_watch_in_json_is_the_last_status_alone(
    service: FakeService,
    server: Serving,
    command: str,
    last: tenant_pb2.TenantStatus,
    code: int,
) -> None:
    service.statuses = deque([builders.status(1), last])
    result = await run(command, TENANT, "--watch", "--json", "--address", server.address)
    assert (result.code, result.err) == (code, "")
    assert result.document["steps_completed"] == last.steps_completed


async def test_ctrl_c_ends_a_followed_log_with_130_and_cancels_its_stream(
    service: FakeService, server: Serving
) -> None:
    service.stream(entries(1, 1), Hang())
    async with running("logs", TENANT, "-f", "--address", server.address) as process:
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), GUARD_SECONDS)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(service.cancelled.get(), GUARD_SECONDS)
        result = await finish(process)
    assert result.code == 130
    assert f"provisioner logs {TENANT} -f --after 1" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_ctrl_c_ends_a_watch_with_130(
    service: FakeService, server: Serving, arguments: tuple[str, ...]
) -> None:
    service.statuses = deque([builders.status(1)])
    service.watches = deque([[builders.status(1), Hang()]])
    there = ("--address", server.address)
    async with running("status", TENANT, "--watch", *arguments, *there) as process:
        await asyncio.wait_for(service.watched.get(), GUARD_SECONDS)
        process.send_signal(signal.SIGINT)
        result = await finish(process)
    assert result.code == 130
    assert "Traceback" not in result.err
    if arguments:
        assert result.document["error"]["reason"] == "INTERRUPTED"
    else:
        assert f"provisioner status {TENANT} --watch" in result.err


async def test_a_watch_in_a_terminal_has_a_bar_with_step_names_and_the_log_above_it(
    service: FakeService, server: Serving
) -> None:
    service.acknowledged = builders.status(1)
    service.statuses = deque([builders.status(4), builders.status(7), builders.completed()])
    service.log = [
        builders.entry(1, "of an earlier run", run_id="old"),
        builders.entry(2, "begins"),
        builders.entry(3, HOSTILE),
    ]
    result = await run_in_terminal("start", "Acme Ltd", "-w", "--address", server.address)
    assert result.code == 0, result.out
    assert "━" in result.out
    assert "4 of 10 steps, 40 %" in result.out
    assert "Warehouses running" in result.out
    assert "begins" in result.out
    assert "of an earlier run" not in result.out
    assert "\\x1b[31mred" in result.out
    assert "\x1b[36m" in result.out
    assert result.out.count("\x1b[?25l") == result.out.count("\x1b[?25h") >= 1
    assert result.out.index("begins") < result.out.index("every step is done")


async def test_a_status_watch_in_a_terminal_has_the_changes_above_the_bar(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(1), builders.status(2), builders.failed()])
    result = await run_in_terminal("status", TENANT, "-w", "--address", server.address)
    assert result.code == 1
    assert "[2/10] step_1_platform_setup: " in result.out
    assert "ENGINE_REFUSED" in result.out
    assert service.requests["StreamLogs"] == []


async def test_no_color_takes_the_colour_out_of_a_terminal(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(1), builders.failed()])
    there = ("--address", server.address)
    result = await run_in_terminal("status", TENANT, "-w", *there, NO_COLOR="1")
    assert COLOURS.findall(result.out) == []
    assert "1 of 10 steps, 10 %" in result.out


async def test_a_dumb_terminal_gets_plain_lines(service: FakeService, server: Serving) -> None:
    service.statuses = deque([builders.status(1), builders.completed()])
    there = ("--address", server.address)
    result = await run_in_terminal("status", TENANT, "-w", *there, TERM="dumb")
    assert "\x1b" not in result.out
    assert "[10/10] COMPLETED" in result.out


async def test_a_narrow_terminal_keeps_the_bar_on_one_line(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(1), builders.completed()])
    there = ("--address", server.address)
    result = await run_in_terminal("status", TENANT, "-w", *there, columns=60)
    assert result.code == 0
    # Up one line, when the bar is taken away at the end; more would mean that it wrapped.
    assert result.out.count("\x1b[1A") == 1
    assert "1 of 10 steps, 10 %" in result.out


async def test_a_colour_forced_by_the_environment_stays_out_of_a_pipe(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.failed()])
    there = ("--address", server.address)
    result = await run("status", TENANT, *there, FORCE_COLOR="1", TTY_COMPATIBLE="1")
    assert CONTROL_CODES.findall(result.out) == []


async def test_a_watch_survives_a_service_that_goes_away_for_a_while(
    client: ProvisionerClient, service: FakeService, pauses: Pauses
) -> None:
    away = Fault(code=grpc.StatusCode.UNAVAILABLE)
    service.watches = deque([[away]] * 8 + [[builders.status(2), builders.completed()]])
    screen = RecordingScreen()
    last = await watch(client, builders.status(1), screen, with_log=False)
    assert last == builders.completed()
    assert len(pauses.seconds) == 8
    assert len(screen.notes) == 1
    assert "asking again" in screen.notes[0]
    assert [seen.steps_completed for seen in screen.seen] == [1, 2, 10]


async def test_a_watch_asks_once_and_is_told(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.statuses = deque([builders.status(2), builders.status(3), builders.completed()])
    await watch(client, builders.status(1), RecordingScreen(), with_log=False)
    assert len(service.requests["WatchStatus"]) == 1
    assert service.requests["GetStatus"] == []


async def test_a_watch_goes_on_under_a_hold_while_a_run_is_under_way(
    client: ProvisionerClient, service: FakeService
) -> None:
    """A Retry leaves the hold: its watch ended before the run had begun, with 1."""
    over = builders.held()
    over.state = tenant_pb2.TENANT_STATE_COMPLETED
    service.watches = deque([[builders.held(), over, Hang()]])
    last = await watch(client, builders.held(), RecordingScreen(), with_log=False)
    assert last == over


async def test_a_watch_gives_up_on_a_service_that_stays_away(
    server: Serving, pauses: Pauses
) -> None:
    await server.stop()
    async with ProvisionerClient(server.address, timeout_seconds=0.1, pause=pauses) as client:
        with pytest.raises(Unreachable):
            await watch(client, builders.status(1), RecordingScreen(), with_log=False)
    assert len(pauses.seconds) == 14


async def test_a_watch_shows_the_log_of_its_run_though_the_oldest_entries_are_no_longer_kept(
    client: ProvisionerClient, service: FakeService
) -> None:
    gone = {"oldest_cursor": "8"}
    service.stream(Fault(code=grpc.StatusCode.DATA_LOSS, reason="CURSOR_TOO_OLD", metadata=gone))
    service.stream([builders.entry(8, "begins")])
    service.statuses = deque([builders.completed()])
    screen = RecordingScreen()
    await watch(client, builders.status(1), screen, with_log=True)
    assert screen.notes == []
    assert screen.messages == ["begins"]


async def test_a_watch_goes_on_without_a_log_that_can_not_be_read(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.faults["StreamLogs"].append(Fault(code=grpc.StatusCode.PERMISSION_DENIED))
    service.statuses = deque([builders.completed()])
    screen = RecordingScreen()
    await watch(client, builders.status(1), screen, with_log=True)
    assert screen.notes == [
        "The log can't be read (PERMISSION_DENIED); the watch goes on without it."
    ]
