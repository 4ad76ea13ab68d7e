"""How a program that stays is told to end."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from server.errors import EngineNotReady
from server.program import run

PATIENCE_SECONDS = 60.0
_PROGRAM = """
import asyncio
from server.program import stop_signals

async def main():
    stopping = stop_signals()
    print("here", flush=True)
    await stopping.wait()
    print("ended in order", flush=True)

asyncio.run(main())
"""
_UNDER_NOHUP = """
import asyncio, signal
from server.program import stop_signals

signal.signal(signal.SIGHUP, signal.SIG_IGN)

async def main():
    stop_signals()
    print(signal.getsignal(signal.SIGHUP).name)

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_program_ends_in_order_also_when_its_terminal_goes_away(
    number: signal.Signals,
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"here\n"
        process.send_signal(number)
        assert (await process.communicate())[0] == b"ended in order\n"
    assert process.returncode == 0


async def test_under_nohup_a_terminal_that_goes_away_ends_nothing() -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _UNDER_NOHUP, stdout=asyncio.subprocess.PIPE
        )
        assert (await process.communicate())[0] == b"SIG_IGN\n"


def test_what_an_engine_said_acts_on_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    async def program() -> int:
        raise EngineNotReady("The site said: \x1b]0;gone\x07 \u202eback.\nLook again.")

    assert run(program) == 3
    told = capsys.readouterr().err
    assert told == ("provisioner: The site said: \\x1b]0;gone\\x07 \\u202eback.\nLook again.\n")
