"""Reads the documentation: its pages, fenced blocks, commands and tables; and codes in the code."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^\s*```(\w*)\s*$")
_EXECUTED = "<!-- executed by tests/docs/test_readme.py -->"
_SHELL_ASSIGNMENT = re.compile(r"^(?:[A-Z_]+=\S+ )+")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block: its language, its lines without the indent, whether a test runs it."""

    language: str
    lines: tuple[str, ...]
    executed: bool

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n"


def name_of(page: Path) -> str:
    """Return a page's path inside the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    found: list[Block] = []
    lines: list[str] | None = None
    language, last = "", ""
    for line in page.read_text(encoding="utf-8").splitlines():
        fence = _FENCE.match(line)
        if fence is None:
            if lines is not None:
                lines.append(line.strip() if language == "sh" else line)
            else:
                last = line.strip() or last
        elif lines is None:
            lines, language = [], fence.group(1)
        else:
            found.append(Block(language=language, lines=tuple(lines), executed=last == _EXECUTED))
            lines, last = None, ""
    assert lines is None, f"{name_of(page)} has a block without an end"
    return found


def prose(page: Path) -> str:
    """Return a page without its fenced blocks."""
    kept, inside = [], False
    for line in page.read_text(encoding="utf-8").splitlines():
        if _FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def inline_code(page: Path) -> list[str]:
    """Return what stands in backticks in a page's prose."""
    return re.findall(r"`([^`\n]+)`", prose(page))


def commands(page: Path, program: str) -> list[str]:
    """Return the commands of a program that a page shows, in blocks and in its prose."""
    shown = [
        _SHELL_ASSIGNMENT.sub("", line)
        for block in blocks(page)
        if block.language == "sh"
        for line in block.lines
    ]
    wanted = f"{program} "
    return [line for line in (*shown, *inline_code(page)) if line.startswith(wanted)]


def tables(page: Path) -> list[list[dict[str, str]]]:
    """Return the tables of a page: rows by column name, cells without outer backticks."""
    found: list[list[dict[str, str]]] = []
    header: list[str] = []
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            header = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not header:
            header = cells
            found.append([])
        elif not set("".join(cells)) <= set("-: "):
            assert len(cells) == len(header), f"{name_of(page)}: a row has a cell too many: {line}"
            found[-1].append(dict(zip(header, cells, strict=True)))
    return found


def table(page: Path, *header: str) -> list[dict[str, str]]:
    """Return all rows of the tables that have these first columns."""
    return [
        row for rows in tables(page) for row in rows if tuple(row)[: len(header)] == tuple(header)
    ]


def words(cell: str) -> list[str]:
    """Return what stands in backticks in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def section_words(page: Path, heading: str) -> list[str]:
    """Return the first column of the first table below a heading."""
    text = page.read_text(encoding="utf-8")
    below = text.partition(f"\n## {heading}\n")[2]
    assert below, f"{name_of(page)} has no section {heading!r}"
    rows = [line for line in below.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    return [word for row in rows for word in words(row.split("|")[1])]


def modules(*rooms: str) -> Iterator[tuple[Path, ast.Module]]:
    """Parse the modules of these rooms; the stand-in speaks ERPNext's words, not ours."""
    for room in rooms:
        for path in sorted((ROOT / room).rglob("*.py")):
            if "standin" not in path.parts and "migrations" not in path.parts:
                yield path, ast.parse(path.read_text(encoding="utf-8"))


def strings(node: ast.expr | None) -> list[str]:
    """Return the texts an expression may be, as far as they are written there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*strings(node.body), *strings(node.orelse)]
    return []
