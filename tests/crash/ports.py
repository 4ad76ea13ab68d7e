"""The ports of a process (database, engine), and where it dies at one of them.

Every point where the world can change is a crossing of a port: a commit of the store, a
request to the engine. Nothing here knows which operations or requests there are: what new
code commits or sends is a new crossing, found and walked by itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from server.store.database import Database
from server.store.operations import TenantOperation, WorkerOperation
from tests.server.executor.scene import Engine

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from server.model.step_context import Answer, EngineHealth, Request
    from server.store.operations import Operation, Outcome

T = TypeVar("T")

# Long enough for the next process to have looked; the effect then comes all the same.
LATE_SECONDS = 0.3


class When(Enum):
    """When a process dies at a crossing."""

    BEFORE = "before"
    AFTER = "after"
    # The request is on its way when the process dies, and has its effect when the next one
    # works already.
    LATE = "late"
    # Nobody dies: the clock is set on, or back, by hours.
    CLOCK_ON = "clock set on"
    CLOCK_BACK = "clock set back"


_JUMPS = {When.CLOCK_ON: timedelta(hours=5), When.CLOCK_BACK: timedelta(hours=-5)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One crossing of a port: its number in the process's life, and what crosses."""

    number: int
    port: str
    what: str

    @property
    def changes(self) -> bool:
        """Whether the world outside the process is another one afterwards."""
        return self.port == "database" or not self.what.startswith("GET")


@dataclass(frozen=True, slots=True, kw_only=True)
class Death:
    """Where and when a process dies."""

    number: int
    when: When


@dataclass(slots=True)
class Clock:
    """The clock of the machine, which somebody may set."""

    offset: timedelta = timedelta()

    def now(self) -> datetime:
        """Return the time it shows."""
        return datetime.now(UTC) + self.offset


class Life:
    """One process: counts its crossings, and dies where it is told to."""

    def __init__(self, death: Death | None, clock: Clock) -> None:
        self.death = death
        self.clock = clock
        self.points: list[Point] = []
        self.died = asyncio.Event()
        self.late: list[asyncio.Task[Any]] = []
        self.reads: set[asyncio.Task[Any]] = set()
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()

    async def cross(self, port: str, what: str, act: Callable[[], Awaitable[T]]) -> T:
        """Do what crosses a port, or die before it, after it, or on the way."""
        self._be_alive()
        point = Point(number=len(self.points), port=port, what=what)
        self.points.append(point)
        if self.death is not None and self.death.number == point.number:
            self.clock.offset += _JUMPS.get(self.death.when, timedelta())
            if self.death.when not in _JUMPS:
                await self._die(self.death.when, act)
        result = await act()
        self._be_alive()
        return result

    async def _die(self, when: When, act: Callable[[], Awaitable[Any]]) -> NoReturn:
        if when is When.AFTER:
            await asyncio.shield(asyncio.ensure_future(act()))
        elif when is When.LATE:
            self.late.append(_unlabelled(_later(act)))
        self.died.set()
        raise asyncio.CancelledError

    async def uncounted(self, act: Callable[[], Awaitable[T]]) -> T:
        """Do what comes by the clock, not by the work, and so at no fixed number."""
        self._be_alive()
        return await act()

    def _be_alive(self) -> None:
        if self.died.is_set():
            raise asyncio.CancelledError


async def _later(act: Callable[[], Awaitable[Any]]) -> None:
    await asyncio.sleep(LATE_SECONDS)
    # Nobody is there to hear the answer, nor that there was none.
    await asyncio.gather(act(), return_exceptions=True)


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


def label_tasks() -> None:
    """Have each task belong to the process whose task made it."""

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], **given: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=loop, **given)
        life = _LIFE.get()
        if life is not None:
            life.tasks.add(task)
        return task

    asyncio.get_running_loop().set_task_factory(factory)  # type: ignore[arg-type]  # as documented


async def in_life(life: Life, work: Awaitable[T]) -> T:
    """Run work as part of a process."""
    token = _LIFE.set(life)
    try:
        task = asyncio.ensure_future(work)
    finally:
        _LIFE.reset(token)
    return await task


async def bury(life: Life) -> None:
    """End everything a dead process had: no task of it may do anything more."""
    for task in _left(life):
        task.cancel()
    # What a cancelled task begins to give its connection back with must come to its end.
    while left := _left(life):
        ended, _ = await asyncio.wait(left, timeout=2)
        if not ended:
            for task in left:
                task.cancel()
    await asyncio.gather(*life.reads, return_exceptions=True)


def _left(life: Life) -> list[asyncio.Task[Any]]:
    return [task for task in life.tasks if not task.done()]


def _unlabelled(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Make a task that outlives the process of its maker."""
    token = _LIFE.set(None)
    try:
        return asyncio.create_task(work)
    finally:
        _LIFE.reset(token)


class _Reads:
    """A store's reads, each brought to its end though its process dies: a connection that is
    dropped in the middle of a query is the driver's affair, not what is proved here.
    """

    def __init__(self, reads: Any, life: Life) -> None:
        self._reads = reads
        self._life = life

    def __getattr__(self, name: str) -> Any:
        read = getattr(self._reads, name)
        if not inspect.iscoroutinefunction(read):
            return read

        async def outlive(*given: Any, **more: Any) -> Any:
            task = _unlabelled(read(*given, **more))
            self._life.reads.add(task)
            task.add_done_callback(self._life.reads.discard)
            return await asyncio.shield(task)

        return outlive


class MortalDatabase(Database):
    """The store, through a port."""

    life: Life | None = None

    def live_by(self, life: Life) -> None:
        """Belong to a process."""
        self.life = life
        self.reads = _Reads(self.reads, life)  # type: ignore[assignment]  # has all it has

    async def _commit(self, batch: Sequence[Operation]) -> list[Outcome]:
        commit = super()._commit
        if self.life is None:
            return await commit(batch)
        if all(isinstance(operation, WorkerOperation) for operation in batch):
            return await self.life.uncounted(lambda: commit(batch))
        return await self.life.cross("database", _name(batch), lambda: commit(batch))


class MortalEngine(Engine):
    """The engine adapter, through a port."""

    def __init__(self, url: str, life: Life) -> None:
        super().__init__(url)
        self._life = life

    async def send(self, request: Request) -> Answer:
        send = super().send
        return await self._life.cross(
            "engine", f"{request.method} {request.doctype}", lambda: send(request)
        )

    async def check(self) -> EngineHealth:
        check = super().check
        return await self._life.cross("engine", "GET health", check)


def _name(batch: Sequence[Operation]) -> str:
    return " + ".join(
        " ".join(dict.fromkeys(entry.event for entry in operation.log)) or "rows"
        if isinstance(operation, TenantOperation)
        else type(operation).__name__
        for operation in batch
        if not isinstance(operation, WorkerOperation)
    )
