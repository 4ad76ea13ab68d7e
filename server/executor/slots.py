"""The fair queue before a site's one slot, within this process.

The slot itself is in the database (`engines`), so that it outlives this process; this
queue keeps the runs of one process in order and from knocking at the database in turn.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict


class Slots:
    """One queue a site; asyncio's lock serves in the order of asking."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def of(self, site: str) -> asyncio.Lock:
        """Return the queue of a site: enter it with `async with`."""
        return self._locks[site]
