"""What the command line tells people: a status, a log, and nothing that text can smuggle in."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import grpc
import pytest

from provisioner.v1 import provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT, entries
from tests.clients.fake_service import FakeService, Fault, Serving
from tests.clients.processes import (
    CONTROL_CODES,
    run,
)

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = "Acme \x1b[31mred\x1b]0;title\x07 [bold]x[/bold]\r\n\u202eevil"


async def test_status_shows_steps_errors_waiting_and_hold(
    service: FakeService, server: Serving
) -> None:
    status = builders.status(3, errors=(builders.error("STALLED", "No move.", step=""),))
    status.steps[1].adopted = True
    status.waiting_for.code = "ENGINE_DOWN"
    status.waiting_for.message = "the engine does not answer"
    status.waiting_for.until.CopyFrom(builders.moment(90))
    status.hold.reason = "by hand"
    status.hold.by = "ada"
    status.hold.since.CopyFrom(builders.moment(30))
    status.next_command = "provisioner release me"
    service.statuses = deque([status])
    result = await run("status", TENANT, "--address", server.address)
    assert "Acme Ltd" in result.out
    assert "3 of 10 steps, 30 %" in result.out
    assert "= adopted  step_1_platform_setup" in result.out
    assert "✓ done     step_2_company" in result.out
    assert "… waiting  step_3_chart_of_accounts" in result.out
    assert "· pending  step_4_warehouses" in result.out
    assert "ENGINE_DOWN: the engine does not answer (until 2026-11-24 10:01:30 UTC)" in result.out
    assert "by ada since 2026-11-24 10:00:30 UTC: by hand" in result.out
    assert "tenant — STALLED: No move. (2026-11-24 10:00:05 UTC)" in result.out
    assert "provisioner release me" in result.out


async def test_a_terminal_of_no_width_is_no_reason_to_say_nothing(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(3)])
    result = await run("status", TENANT, "--address", server.address, COLUMNS="0")
    assert "3 of 10 steps, 30 %" in result.out
    refused = await run("status", "--no-such-option", COLUMNS="0")
    assert "No such option" in refused.err


@pytest.mark.parametrize("state", [tenant_pb2.TENANT_STATE_PARTIAL, tenant_pb2.TENANT_STATE_FAILED])
async def test_a_bare_partial_is_called_a_defect_with_the_way_out(
    service: FakeService, server: Serving, state: tenant_pb2.TenantState.ValueType
) -> None:
    service.statuses = deque([builders.status(0, state)])
    words = await run("status", TENANT, "--address", server.address)
    assert "defect" in words.out
    assert f"provisioner continue {TENANT}" in words.out
    document = await run("status", TENANT, "--json", "--address", server.address)
    assert document.document["errors"] == []
    assert "defect" in document.err


async def test_a_log_is_printed_a_line_an_entry(service: FakeService, server: Serving) -> None:
    service.log = [
        builders.entry(1, "begins"),
        builders.entry(2, "hm", level=provisioning_pb2.LOG_LEVEL_WARNING, step_key=""),
    ]
    result = await run("logs", TENANT, "--address", server.address)
    assert result.code == 0
    assert result.out == (
        "2026-11-24 10:00:01 INFO    step_2_company begins\n2026-11-24 10:00:02 WARNING - hm\n"
    )


async def test_a_log_in_json_is_an_object_a_line(service: FakeService, server: Serving) -> None:
    service.log = entries(4, 6)
    there = ("--address", server.address)
    result = await run("logs", TENANT, "--after", "3", "-f", "--json", *there)
    assert [document["cursor"] for document in result.documents] == [4, 5, 6]
    assert result.documents[0] == {
        "cursor": 4,
        "time": "2026-11-24T10:00:04Z",
        "level": "INFO",
        "run_id": builders.RUN,
        "step_key": "step_2_company",
        "attempt": 0,
        "message": "line 4",
        "fields": {"event": "test", "tenant": TENANT},
    }
    (request,) = service.requests["StreamLogs"]
    assert (request.after_cursor, request.follow) == (3, True)


async def test_a_log_goes_on_over_a_broken_connection(
    service: FakeService, server: Serving
) -> None:
    service.stream(entries(1, 2), Fault(code=grpc.StatusCode.UNAVAILABLE))
    service.stream(entries(3, 3))
    result = await run("logs", TENANT, "-f", "--address", server.address)
    assert [line.split()[-1] for line in result.out.splitlines()] == ["1", "2", "3"]


async def test_a_log_that_ends_in_an_error_says_where_to_go_on(
    service: FakeService, server: Serving
) -> None:
    service.stream(entries(1, 2), Fault(code=grpc.StatusCode.PERMISSION_DENIED))
    result = await run("logs", TENANT, "-f", "--address", server.address)
    assert result.code == 4
    assert f"provisioner logs {TENANT} -f --after 2" in result.err


def no_longer_kept(oldest: int) -> Fault:
    return Fault(
        code=grpc.StatusCode.DATA_LOSS,
        reason="CURSOR_TOO_OLD",
        metadata={"oldest_cursor": str(oldest)},
    )


async def test_a_log_whose_beginning_is_no_longer_kept_is_shown_from_where_it_is(
    service: FakeService, server: Serving, tmp_path: Path
) -> None:
    for arguments in (("logs", TENANT), ("logs", TENANT, "--json")):
        service.stream(no_longer_kept(8))
        service.stream(entries(8, 9))
        result = await run(*arguments, "--address", server.address)
        assert (result.code, len(result.out.splitlines())) == (0, 2)
        assert service.requests["StreamLogs"][-1].after_cursor == 7
        assert ("Entries before 8 are no longer kept." in result.err) == ("--json" not in arguments)
    service.stream(no_longer_kept(8))
    service.stream(entries(8, 9))
    file = tmp_path / "bundle.json"
    result = await run("bundle", TENANT, "--output", str(file), "--address", server.address)
    assert [entry["cursor"] for entry in json.loads(file.read_text())["log"]] == [8, 9]


async def test_who_asks_for_what_is_no_longer_kept_is_told_where_the_log_begins(
    service: FakeService, server: Serving
) -> None:
    """From a cursor on nothing may be passed over without a word."""
    service.stream(no_longer_kept(8))
    result = await run("logs", TENANT, "--after", "3", "--json", "--address", server.address)
    assert result.code == 2
    next_command = f"provisioner logs {TENANT} --after 7 --address {server.address}"
    assert result.document["error"]["next_command"] == next_command
    assert len(service.requests["StreamLogs"]) == 1


async def test_text_from_the_wire_injects_nothing(service: FakeService, server: Serving) -> None:
    status = builders.status(2, errors=(builders.error(HOSTILE, HOSTILE, HOSTILE),), name=HOSTILE)
    status.waiting_for.message = status.hold.reason = status.hold.by = HOSTILE
    status.steps[0].note = status.steps[1].title = status.next_command = HOSTILE
    service.statuses = deque([status])
    service.log = [builders.entry(1, HOSTILE, step_key=HOSTILE)]
    service.faults["Continue"].append(
        Fault(code=grpc.StatusCode.ABORTED, message=HOSTILE.replace("\r\n", " "), reason="\x1b[2J")
    )
    there = ("--address", server.address)
    for arguments in (("status", TENANT), ("logs", TENANT), ("continue", TENANT)):
        result = await run(*arguments, *there)
        written = result.out + result.err
        assert "\\x1b[31mred" in written
        assert "[bold]x[/bold]" in written
        assert CONTROL_CODES.findall(written) == []
        assert "\u202e" not in written
    assert (await run("logs", TENANT, *there)).out.count("\n") == 1
