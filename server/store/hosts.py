"""Connects to that of several PostgreSQL hosts which will do; one that hangs holds up no other.

The driver tries them one after the other within one time. A host whose machine is gone, or whose
PostgreSQL hangs, takes all of it each time: the other one, long promoted, was never asked.
"""

from __future__ import annotations

from typing import Any

# Only one host is what they ask for. Whoever takes any would stay with a standby for ever.
_OF_ONE = frozenset({"primary", "read-write"})
# It takes one that is none if it finds none, and that shows at the last only.
_OF_ALL = "prefer-standby"
# Less is too little for a host that is busy, whatever time there is for all.
_LEAST_SECONDS = 1.5


class Hosts:
    """Connects for one pool: first to the host that was the right one last time."""

    def __init__(self) -> None:
        self._last = 0

    async def connect(self, **arguments: Any) -> Any:  # Any: asyncpg has no types
        """Connect as `asyncpg.connect` does, with a part of the time for each host.

        Raises:
            OSError: no host answered, or not in its time; what the last of those met.
            asyncpg.PostgresError: a host refused.
            asyncpg.InterfaceError: what was asked for can't be.
            asyncpg.InternalClientError: no host is what `target_session_attrs` asks for.
        """
        import asyncpg  # noqa: PLC0415 - on SQLite nobody needs it

        hosts, asked = arguments.get("host"), arguments.get("target_session_attrs")
        if not isinstance(hosts, list) or asked == _OF_ALL:
            return await asyncpg.connect(**arguments)
        each = max(arguments["timeout"] / len(hosts), _LEAST_SECONDS)
        first = self._last if asked in _OF_ONE else 0
        away: Exception | None = None
        other: Exception | None = None
        for index in (*range(first, len(hosts)), *range(first)):
            one = {"host": hosts[index], "port": arguments["port"][index], "timeout": each}
            try:
                made = await asyncpg.connect(**(arguments | one))
            except (OSError, asyncpg.CannotConnectNowError) as error:
                away = error
            except asyncpg.TargetServerAttributeNotMatched as error:
                other = error
            else:
                self._last = index
                return made
        raise away or other or asyncpg.InterfaceError("the url names no host")
