"""The process's log: nobody who is quoted in it forges a line or drives a terminal."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest
import structlog

from server.logs import configure_logging, one_line

FORGED = "Acme\n2026-11-25T12:00:00Z [info     ] users.administrator_made \x1b[2K\r\x9b31m\u202e"

# A process of its own: pytest catches what is logged in this one.
PROGRAM = """
import logging, sys
import structlog
from server.logs import configure_logging

forged = sys.argv[2]
configure_logging(sys.argv[1], quiet=False)
log = structlog.get_logger("test")
log.warning("sign_in.throttled", origin=forged)
sys.stderr.write("---\\n")
try:
    raise ValueError(forged)
except ValueError as error:
    log.error("rpc.failed", exc_info=error)
    sys.stderr.write("---\\n")
    logging.getLogger("asyncio").exception("failed: %s", forged)
"""


def logged(log_format: str) -> tuple[str, str, str]:
    """Return what was written of a value, of a bug, and of a library's bug."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, log_format, FORGED],
        capture_output=True,
        check=True,
        timeout=60,
    )
    text = done.stderr.decode()
    assert [sign for sign in text if not sign.isprintable() and sign != "\n"] == []
    value, bug, library = text.split("---\n")
    return value, bug, library


def test_for_people_a_value_stays_on_its_line_and_a_traceback_is_marked() -> None:
    value, bug, library = logged("console")
    assert value.count("\n") == 1
    assert "users.administrator_made" in value
    assert "tenant=" in value
    assert "tenant=" in bug
    for text in (bug, library):
        assert "ValueError" in text
        assert all(line.startswith("  | ") for line in text.splitlines()[1:])
    assert library.startswith(r"asyncio: failed: Acme\n2026")


def test_for_programs_every_event_is_one_line_of_json() -> None:
    value, bug, library = logged("json")
    assert json.loads(value)["origin"] == FORGED
    # Of no tenant: nobody need know which events are.
    assert (json.loads(value)["tenant"], json.loads(bug)["tenant"]) == ("", "")
    assert "ValueError" in json.loads(bug)["exception"]
    assert (value.count("\n"), bug.count("\n")) == (1, 1)
    assert all(line.startswith("  | ") for line in library.splitlines()[1:])


@pytest.mark.parametrize(
    ("text", "shown"), [("Überraschung 店 🎉", "Überraschung 店 🎉"), ("a\tb\ud800", r"a\tb\ud800")]
)
def test_what_is_printable_stays_as_it_is(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_a_log_that_nobody_reads_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = io.StringIO()
    gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    configure_logging("json", quiet=False)
    structlog.get_logger("test").warning("something.happened", tenant="")
