"""Databases that the parts of one run share."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from benchmarks import shelf
from benchmarks.filled import STUCK
from benchmarks.shelf import Shelf

if TYPE_CHECKING:
    import pytest

    from server.store.database import Database

SIZE = 300


def file_of(url: str) -> Path:
    return Path(make_url(url).database or "")


def test_a_size_is_filled_once_a_run_and_others_are_empty(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    async def fill(store: Database, first: int, last: int) -> None:
        sizes.append(last - first)

    monkeypatch.setattr(shelf, "fill", fill)
    with Shelf() as given:
        filled = given.filled("SQLite", SIZE)
        assert given.filled("SQLite", SIZE) == filled
        assert given.filled("SQLite", SIZE + 1) != filled
        assert sizes == [SIZE, SIZE + 1]
        empty = given.empty("SQLite")
        assert len({filled, empty, given.empty("SQLite")}) == 3
        assert file_of(filled).exists()
        assert not file_of(empty).exists()
    assert not file_of(filled).exists()


def test_what_is_filled_has_as_many_tenants_and_as_many_stuck() -> None:
    with Shelf() as given, closing(sqlite3.connect(file_of(given.filled("SQLite", SIZE)))) as rows:
        count = "SELECT count(*) FROM tenants"
        assert rows.execute(count).fetchone() == (SIZE,)
        assert rows.execute(f"{count} WHERE state = 'PARTIAL'").fetchone() == (STUCK,)
