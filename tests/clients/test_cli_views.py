"""The pure parts of the command line: judging a status, safe text, JSON, changes."""

from __future__ import annotations

import grpc
import pytest

from clients.cli import changes, exit_codes, json_view, standing, wire_text
from clients.cli.exit_codes import ExitCode
from provisioner.v1 import tenant_pb2
from tests.clients import builders

CANCELLED = builders.status(3, tenant_pb2.TENANT_STATE_CANCELLED)
PENDING = builders.status(0, tenant_pb2.TENANT_STATE_PENDING)
DEPROVISIONED = builders.status(0, tenant_pb2.TENANT_STATE_DEPROVISIONED)


@pytest.mark.parametrize(
    ("status", "seen_once", "watched"),
    [
        (builders.completed(), 0, 0),
        (DEPROVISIONED, 0, 0),
        (CANCELLED, 0, 1),
        (PENDING, 0, 1),
        (builders.failed(), 1, 1),
        (builders.partial(), 1, 1),
        (builders.held(), 1, 1),
        (builders.stalled(), 1, 1),
    ],
)
def test_only_a_tenant_that_is_not_well_ends_with_1(
    status: tenant_pb2.TenantStatus, seen_once: int, watched: int
) -> None:
    assert standing.exit_code(status) == seen_once
    assert standing.exit_code_watched(status) == watched


@pytest.mark.parametrize(
    ("status", "over"),
    [
        (builders.status(3), False),
        (builders.stalled(), False),
        (builders.status(3, tenant_pb2.TENANT_STATE_DEPROVISIONING), False),
        # Its run goes on: a Retry leaves the hold, and its watch ended before it had begun.
        (builders.held(), False),
        (builders.completed(), True),
        (builders.failed(), True),
        (CANCELLED, True),
        (PENDING, True),
    ],
)
def test_a_watch_is_over_when_only_an_order_can_move_the_tenant(
    status: tenant_pb2.TenantStatus, over: bool
) -> None:
    assert standing.at_rest(status) == over


@pytest.mark.parametrize(
    ("status", "command"),
    [
        (builders.completed(), ""),
        (DEPROVISIONED, ""),
        (builders.status(3), f"provisioner status {builders.TENANT} --watch"),
        # Continue is refused while a run is open.
        (builders.held(), f"provisioner status {builders.TENANT} --watch"),
        (builders.held_while_removed(), f"provisioner status {builders.TENANT} --watch"),
        (builders.failed(), f"provisioner continue {builders.TENANT}"),
        (CANCELLED, f"provisioner continue {builders.TENANT}"),
        (tenant_pb2.TenantStatus(next_command="provisioner fix x"), "provisioner fix x"),
    ],
)
def test_what_is_not_done_has_a_next_command(status: tenant_pb2.TenantStatus, command: str) -> None:
    assert standing.next_command(status) == command


def test_every_code_of_grpc_has_an_exit_code() -> None:
    codes = {code.name: exit_codes.for_error(code.name) for code in grpc.StatusCode}
    assert {name for name, code in codes.items() if code == ExitCode.WRONG_USE} == {
        *("INVALID_ARGUMENT", "OUT_OF_RANGE", "FAILED_PRECONDITION", "ALREADY_EXISTS"),
        *("ABORTED", "DATA_LOSS", "UNIMPLEMENTED"),
    }
    assert {name for name, code in codes.items() if code == ExitCode.NOT_REACHABLE} == {
        *("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "CANCELLED")
    }
    assert {name for name, code in codes.items() if code == ExitCode.NOT_ALLOWED} == {
        *("UNAUTHENTICATED", "PERMISSION_DENIED")
    }
    assert codes["NOT_FOUND"] == ExitCode.NOT_FOUND
    assert codes["INTERNAL"] == codes["UNKNOWN"] == ExitCode.TENANT_NOT_WELL


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Café 北京 👩‍🍳", "Café 北京 👩‍🍳"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\x1b[2J\x07\x7f", r"\x1b[2J\x07\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("a\u202eb\u2028c", r"a\u202eb\u2028c"),
        ("[red]x[/red] :boom:", "[red]x[/red] :boom:"),
    ],
)
def test_text_is_shown_as_it_is_but_for_what_controls_a_terminal(text: str, shown: str) -> None:
    assert wire_text.plain(text) == shown


def test_json_has_every_field_numbers_and_words() -> None:
    status = builders.status(3)
    status.revision = 2**53 + 1
    status.progress_percent = float("nan")
    document = json_view.as_object(status)
    assert set(document) == {field.name for field in status.DESCRIPTOR.fields}
    assert document["revision"] == 2**53 + 1
    assert document["progress_percent"] is None
    assert document["state"] == "IN_PROGRESS"
    assert document["hold"] is document["started_at"] is None
    assert document["spec"]["payment_methods"] == []
    assert document["spec"]["include_demo_data"] is None
    assert json_view.document({"a": "é\x1b\x9b"}) == r'{"a": "\u00e9\u001b\u009b"}'


def test_a_state_of_a_newer_service_is_shown_by_its_number() -> None:
    status = tenant_pb2.TenantStatus.FromString(b"\x20\x63")  # field 4, value 99
    assert json_view.as_object(status)["state"] == "UNKNOWN_99"
    assert wire_text.tenant_word(status.state) == "UNKNOWN_99"


def told(before: tenant_pb2.TenantStatus, after: tenant_pb2.TenantStatus) -> list[str]:
    return [line.plain for line in changes.lines(before, after)]


def test_nothing_is_told_where_nothing_changed() -> None:
    assert told(builders.status(3), builders.status(3)) == []


def test_a_wait_is_told_once_however_often_its_end_moves() -> None:
    before, after = builders.status(3), builders.status(3)
    before.waiting_for.code = after.waiting_for.code = "RETRY"
    after.waiting_for.until.CopyFrom(builders.moment(60))
    assert told(builders.status(3), before) == ["[3/10] waiting, RETRY: "]
    assert told(before, after) == []


def test_another_try_a_new_error_and_a_new_run_are_told() -> None:
    before, after = builders.status(3), builders.status(3, errors=(builders.error("E", "no"),))
    after.steps[3].attempts = 2
    after.run_id = "next"
    assert told(before, after) == [
        "[3/10] run next took over",
        "[3/10] step_3_chart_of_accounts: running, try 2",
        "[3/10] error, step_2_company — E: no (2026-11-24 10:00:05 UTC)",
    ]
