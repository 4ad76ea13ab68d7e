"""Connections that show one state of the database to all statements of a read."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from server.errors import StoreUnavailable
from server.store.failures import DRIVER_ERRORS, detail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection that sees one state of the database.

    Args:
        engine: The connections for reading.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    try:
        async with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection
    except DRIVER_ERRORS as error:
        raise StoreUnavailable(f"The database can't be read now: {detail(error)}") from error


@asynccontextmanager
async def statement(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a connection for a single statement, which sees one state anyway.

    Args:
        engine: Connections in autocommit: a transaction would cost two more round trips.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    try:
        async with engine.connect() as connection:
            yield connection
    except DRIVER_ERRORS as error:
        raise StoreUnavailable(f"The database can't be read now: {detail(error)}") from error
