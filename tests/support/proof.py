"""What the slow proofs counted, written into docs/proof.md by `make prove`."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proof.md"

_notes: list[tuple[str, dict[str, object]]] = []
_began = time.monotonic()


def note(title: str, **counts: object) -> None:
    """Keep what a proof counted.

    Args:
        title: What was proved.
        counts: How many of what, and the seeds.
    """
    _notes.append((title, counts))


def page(passed: int, failed: int) -> str:
    """Write the page of this run."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    lines = [
        "# Proof",
        "",
        "Written by `make prove`; do not edit. What a proof does stands at the head of its test.",
        "",
        f"- Date: {datetime.now(UTC):%Y-%m-%d}",
        f"- Machine: {machine}, Python {platform.python_version()}",
        f"- Tests: {passed} passed, {failed} failed, {time.monotonic() - _began:.0f} s",
        "",
        "| proof | counts |",
        "| --- | --- |",
    ]
    lines += [f"| {title} | {_told(counts)} |" for title, counts in sorted(_notes)]
    return "\n".join(lines) + "\n"


def write(passed: int, failed: int) -> None:
    """Write the page where this process proved anything."""
    if _notes:
        PAGE.write_text(page(passed, failed), encoding="utf-8")


def _told(counts: dict[str, object]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items())
