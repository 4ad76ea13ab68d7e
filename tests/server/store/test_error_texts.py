"""The library's errors, which may be logged with a traceback, quote no value of a statement."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError

from server.errors import StoreUnavailable
from server.store.tables import API_KEYS
from tests.server.store.scene import NOON

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from tests.server.store.scene import Scene

CANARY = "CANARY-7f3a9c"
KEY = {
    "id": "a-key",
    "name": "ci",
    "secret_hash": CANARY,
    "role": "ADMIN",
    "created_by": "local",
    "created_at": NOON,
    "expires_at": NOON,
}


async def test_a_write_that_is_refused_quotes_no_hash_of_a_secret(scene: Scene) -> None:
    def write(connection: Connection) -> None:
        connection.execute(insert(API_KEYS).values(KEY))

    await scene.database.in_transaction(write)
    with pytest.raises(DBAPIError) as refused:
        await scene.database.in_transaction(write)
    said = "".join(traceback.format_exception(refused.value))
    assert "INSERT INTO api_keys" in said
    assert CANARY not in said


async def test_a_read_that_is_refused_quotes_no_hash_of_a_secret(scene: Scene) -> None:
    query = select(text("no_such_column")).where(
        API_KEYS.c.secret_hash == bindparam("hash", CANARY)
    )
    with pytest.raises(StoreUnavailable) as refused:
        await scene.database.in_snapshot(lambda connection: connection.execute(query))
    said = "".join(traceback.format_exception(refused.value))
    assert "no_such_column" in said
    assert CANARY not in said
