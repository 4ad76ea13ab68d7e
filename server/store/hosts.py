"""Connects to the right one of several PostgreSQL hosts, even if another one hangs.

The driver tries the hosts one after the other within a single time limit (asyncpg's `connect`). A
host whose machine is gone, or whose PostgreSQL hangs, would take all of that each time, and the
other host, promoted long ago, would never be asked.
"""

from __future__ import annotations

from typing import Any

from server.store.passfile import password_in_file

# Only one host meets these, so the one that did last time may be tried first. With any other value,
# a pool that did so would stay with a standby for ever.
_OF_ONE = frozenset({"primary", "read-write"})
# It settles for a host that is not a standby if there is none, which only the last host shows.
_OF_ALL = "prefer-standby"
# Less than this is too little for a busy host, however little time there is for all hosts.
_LEAST_SECONDS = 1.5


class Hosts:
    """Connects for one pool, first to the host that was the right one last time."""

    def __init__(self) -> None:
        self._last = 0

    async def connect(self, **arguments: Any) -> Any:  # Any: asyncpg has no types
        """Connect as `asyncpg.connect` does, with a share of the time for each host.

        Args:
            arguments: Those of `asyncpg.connect`; `timeout` is in seconds, for all hosts, of which
                each gets at least 1.5 s.

        Returns:
            The driver's connection.

        Raises:
            OSError: a host did not answer in its time, and no other would do.
            asyncpg.PostgresError: a host refused.
            asyncpg.InterfaceError: the arguments make no sense.
            asyncpg.InternalClientError: no host is what `target_session_attrs` asks for.
        """
        import asyncpg  # noqa: PLC0415 - on SQLite nobody needs it

        hosts, asked = arguments.get("host"), arguments.get("target_session_attrs")
        if not isinstance(hosts, list) or asked == _OF_ALL:
            return await asyncpg.connect(**_with_password(arguments))
        each = max(arguments["timeout"] / len(hosts), _LEAST_SECONDS)
        first = self._last if asked in _OF_ONE else 0
        away: Exception | None = None
        other: Exception | None = None
        for index in (*range(first, len(hosts)), *range(first)):
            one = {"host": hosts[index], "port": arguments["port"][index], "timeout": each}
            try:
                made = await asyncpg.connect(**_with_password(arguments | one))
            except (OSError, asyncpg.CannotConnectNowError) as error:
                away = error
            except asyncpg.TargetServerAttributeNotMatched as error:
                other = error
            else:
                self._last = index
                return made
        raise away or other or asyncpg.InterfaceError("the url names no host")


def _with_password(arguments: dict[str, Any]) -> dict[str, Any]:  # Any: asyncpg has no types
    password = password_in_file(arguments)
    return arguments if password is None else {**arguments, "password": password}
