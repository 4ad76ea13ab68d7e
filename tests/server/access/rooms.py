"""Opens the room of access over a store, as `serve` does."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.access.wiring import open_access
from server.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.access.wiring import Access
    from server.store.database import Database

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


async def opened(
    database: Database,
    folder: Path,
    *,
    now: Callable[[], datetime] = lambda: NOW,
    clock: Callable[[], float] = lambda: 0.0,
    **settings: Any,  # Any: settings of any type
) -> Access:
    """Open the room; its key lies beside `folder`/provisioner.db."""
    file = folder if folder.suffix == ".db" else folder / "provisioner.db"
    values = {"database_url": f"sqlite+aiosqlite:///{file}", **settings}
    return await open_access(Settings(**values), database, AsyncExitStack(), now=now, clock=clock)
