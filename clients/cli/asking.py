"""Asks a person before something is done that is hard to take back."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.cli.output import Output


async def agreed(question: str, output: Output, *, yes: bool) -> bool:
    """Tell whether to go on.

    Args:
        question: What to ask, without the choice behind it.
        output: Where to say that nobody can be asked.
        yes: Whether `--yes` was given: then nobody is asked.
    """
    if yes:
        return True
    if output.as_json or not sys.stdin.isatty():
        if not output.as_json:
            output.note("Nobody can be asked here. To go on without asking, give --yes.")
        return False
    answer = await asyncio.to_thread(input, f"{question} [y/N] ")
    return answer.strip().lower() in {"y", "yes"}
