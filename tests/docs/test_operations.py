"""The runbook: its log events are the code's, and its SQL runs."""

from __future__ import annotations

import ast
import contextlib
import re
import sqlite3
from typing import TYPE_CHECKING

from server.store.database import Database
from tests.docs.pages import ROOT, blocks, modules, strings, table, words

if TYPE_CHECKING:
    from pathlib import Path

_PAGE = ROOT / "docs" / "operations.md"
_EVENT = re.compile(r"[a-z_]+\.[a-z_]+")


def _is_log(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "_log"
    )


def _events() -> set[str]:
    found: set[str] = set()
    for _, module in modules("server", "reconciler"):
        for node in ast.walk(module):
            if isinstance(node, ast.keyword) and node.arg == "event":
                found.update(strings(node.value))
            elif isinstance(node, ast.Call) and _is_log(node.func) and node.args:
                found.update(strings(node.args[0]))
    return {event for event in found if _EVENT.fullmatch(event)}


def test_the_runbook_lists_every_log_event_and_no_other() -> None:
    listed = {event for row in table(_PAGE, "event") for event in words(row["event"])}
    assert listed == _events()


async def test_the_runbooks_sql_runs_on_an_empty_database(tmp_path: Path) -> None:
    file = tmp_path / "provisioner.db"
    database = await Database.open(f"sqlite+aiosqlite:///{file}")
    await database.close()
    statements = [
        statement
        for block in blocks(_PAGE)
        if block.language == "sql"
        for statement in block.text.split(";")
        if statement.strip()
    ]
    assert statements
    with contextlib.closing(sqlite3.connect(file)) as connection:
        for statement in statements:
            assert connection.execute(statement).fetchall() == []
