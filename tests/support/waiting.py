"""The one way to wait for what another task, process or database does."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    T = TypeVar("T")

# Bounds a hang only: processes are killed and started meanwhile, on a busy machine.
PATIENCE_SECONDS = 150.0
# How often is looked where nobody can tell us: too short to matter, too long to be a busy loop.
LOOK_SECONDS = 0.02


@overload
async def until(
    holds: Callable[[], Awaitable[T | None]],
    *,
    seconds: float = ...,
    trying: tuple[type[BaseException], ...] = ...,
) -> T: ...


@overload
async def until(
    holds: Callable[[], T | None],
    *,
    seconds: float = ...,
    trying: tuple[type[BaseException], ...] = ...,
) -> T: ...


async def until(
    holds: Callable[[], Any],  # Any: one of the two above
    *,
    seconds: float = PATIENCE_SECONDS,
    trying: tuple[type[BaseException], ...] = (),
) -> Any:
    """Return what `holds` says, once that is true.

    Args:
        holds: Looks; it may be a coroutine function.
        seconds: How long it may take.
        trying: Errors that mean "not yet": of a service that is away, say.

    Raises:
        AssertionError: with what was seen last, if it did not come true in time.
    """
    seen: Any = None  # Any: whatever was said, or raised
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    said = holds()
                    seen = await said if inspect.isawaitable(said) else said
                except trying as error:
                    seen = error
                else:
                    if seen:
                        return seen
                await asyncio.sleep(LOOK_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s; seen last: {seen!r}") from None
