"""What the pages name is there, and nothing of one machine is on them."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib.metadata import packages_distributions
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, ROOT, inline_code, modules, name_of, table, words

if TYPE_CHECKING:
    from pathlib import Path

_PATH = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?")
_OF_A_MACHINE = re.compile(r"/(work|home|root|tmp|mnt|Users)/|\b[a-z0-9-]+\.internal\b")
_DECISION_PARTS = ("**Context.**", "**Decision.**", "**What it costs.**", "**What would change")

_pages = pytest.mark.parametrize("page", PAGES, ids=name_of)


def _paths(page: Path) -> set[str]:
    """Return what looks like a file of the repository."""
    return {
        text
        for text in inline_code(page)
        if _PATH.fullmatch(text)
        and not text.startswith(".venv/")
        and ("/" in text or text.endswith((".md", ".lock")))
    }


@_pages
def test_every_file_a_page_names_exists(page: Path) -> None:
    missing = {path for path in _paths(page) if not (ROOT / path).exists()}
    assert not missing


@_pages
def test_a_page_names_no_path_of_a_machine(page: Path) -> None:
    assert not _OF_A_MACHINE.search(page.read_text(encoding="utf-8"))


@_pages
def test_every_link_leads_out_or_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_decisions_are_numbered_and_of_one_form() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    # Numbers are handed out before they are used, so there may be gaps.
    assert len(set(numbers)) == len(numbers)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert text.startswith(f"# {page.name[:4]}: "), page.name
        assert all(part in text for part in _DECISION_PARTS), page.name


def test_every_runtime_dependency_has_its_line() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[<>=~! ]", line)[0] for line in project["dependencies"]}
    rows = table(ROOT / "docs" / "dependencies.md", "library", "for")
    assert {words(row["library"])[0] for row in rows} == wanted
    assert all(all(row.values()) for row in rows)


def test_every_runtime_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split(r"[\[<>=~! ]", line)[0] for line in project["dependencies"]}
    imported = {
        name
        for _, module in modules("server", "reconciler", "clients", "proto")
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
        )
    }
    found = {
        distribution.lower().replace("_", "-")
        for top, distributions in packages_distributions().items()
        if any(name == top or name.startswith(f"{top}.") for name in imported)
        for distribution in distributions
    }
    # SQLAlchemy, httpcore and zoneinfo import these.
    assert wanted - found == {"aiosqlite", "sniffio", "tzdata"}


def test_every_room_of_the_server_is_on_the_map() -> None:
    rows = table(ROOT / "docs" / "ARCHITECTURE.md", "room")
    rooms = {words(row["room"])[0].rstrip("/") for row in rows}
    there = {
        f"server/{path.name}"
        for path in (ROOT / "server").iterdir()
        if path.name not in {"__init__.py", "__pycache__"}
        and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert not there - rooms


def test_the_changelog_names_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    assert f"## [{project['version']}]" in text
