"""Tells other processes on the same PostgreSQL at once what they would see a moment later.

LISTEN and NOTIFY only shorten a wait: every process asks the database a few times a second anyway,
and everything works without this. So nothing is promised here: a notice may be lost, or arrive
late or twice. After a lost connection, all listeners are told to look once.

A commit with a pending NOTIFY takes one lock for the whole server (PreCommit_Notify in
PostgreSQL's src/backend/commands/async.c). So a notice is sent after the commit that it reports, in
its own transaction, at most a few dozen times a second, over its own connection. A pooler in
transaction mode can't provide such a connection: behind one there are no notices, and processes
just ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from server.model.states import RunState
from server.store.hosts import Hosts
from server.store.operations import SlotFree
from server.store.postgres import POOLER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sqlalchemy import URL

    from server.store.operations import Outcome, TenantOperation

    # The tenants that were written (None if nobody knows which), and whether a run waits for a
    # worker.
    Listener = Callable[[Collection[str] | None, bool], None]

_log = structlog.get_logger(__name__)

_CHANNEL = "provisioner"
# The shortest time between two notices; what is written meanwhile goes with the next one.
_GATHER_SECONDS = 0.02
# A payload has at most 8000 bytes, and an id has 36.
_MOST_IDS = 150
_ANY = "*"
# What a notice says besides whose rows were written: a run waits for a worker, a slot is free.
_QUEUED, _FREED = 1, 2
_CONNECT_SECONDS = 5.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 15.0


class Wakeups:
    """Sends and receives one process's notices."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._hosts = Hosts()
        self._name = secrets.token_hex(4)
        self._listeners: list[Listener] = []
        self._on_freed: list[Callable[[], None]] = []
        self._written: set[str] = set()
        self._queued = False
        self._freed = False
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start listening and sending; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="wakeups")

    async def stop(self) -> None:
        """Stop, and close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def on_heard(self, listener: Listener) -> None:
        """Call `listener` when another process wrote something.

        Args:
            listener: Called on the event loop, with the tenants that were written (None: any), and
                whether a run waits for a worker. It must not block; what it raises is recorded.
        """
        self._listeners.append(listener)

    def on_slot_freed(self, listener: Callable[[], None]) -> None:
        """Call `listener` on the event loop when another process gave any site's slot back."""
        self._on_freed.append(listener)

    def applied(self, operation: TenantOperation, _outcome: Outcome) -> None:
        """Hear, as a watcher of the writer, of an operation that this process wrote."""
        self._written.add(operation.tenant_id)
        self._queued |= any(row.run.state is RunState.QUEUED for row in operation.runs)
        self._freed |= isinstance(operation.slot, SlotFree)
        self._news.set()

    async def _run(self) -> None:
        import asyncpg  # noqa: PLC0415 - on SQLite nobody needs it

        pause = _FIRST_PAUSE_SECONDS
        failing = False
        while True:
            try:
                async with contextlib.AsyncExitStack() as stack:
                    connection = await self._hosts.connect(**self._arguments())
                    stack.callback(connection.terminate)
                    connection.add_termination_listener(lambda _: self._news.set())
                    await connection.add_listener(_CHANNEL, self._heard)
                    pause, failing = _FIRST_PAUSE_SECONDS, False
                    # Nobody heard the notices that were sent meanwhile.
                    self._pass_on(None, queued=True, freed=True)
                    await self._tell(connection)
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                # If target_session_attrs asks for a primary, and there is none yet.
                asyncpg.InternalClientError,
            ) as error:
                if not failing:
                    failing = True
                    _log.info("wakeups.lost", tenant="", error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _arguments(self) -> dict[str, Any]:
        url = self._url.difference_update_query([POOLER])
        _, arguments = url.get_dialect()().create_connect_args(url)
        return {
            **{name: value for name, value in arguments.items() if "prepared" not in name},
            "timeout": _CONNECT_SECONDS,
            "command_timeout": _CONNECT_SECONDS,
            "server_settings": {"application_name": "provisioner wakeups"},
        }

    async def _tell(self, connection: Any) -> None:  # Any: asyncpg has no types
        while not connection.is_closed():
            await self._news.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._news.clear()
            if not self._written:
                continue
            written, news = self._written, self._queued + _FREED * self._freed
            self._written, self._queued, self._freed = set(), False, False
            ids = " ".join(sorted(written)) if len(written) <= _MOST_IDS else _ANY
            payload = f"{self._name} {news} {ids}"
            await connection.execute("SELECT pg_notify($1, $2)", _CHANNEL, payload)

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        name, _, rest = payload.partition(" ")
        if name == self._name:
            return
        told, _, ids = rest.partition(" ")
        news = int(told) if told.isdecimal() else _QUEUED | _FREED
        self._pass_on(
            None if ids == _ANY else ids.split(),
            queued=bool(news & _QUEUED),
            freed=bool(news & _FREED),
        )

    def _pass_on(self, written: Collection[str] | None, *, queued: bool, freed: bool) -> None:
        calls = [partial(listener, written, queued) for listener in self._listeners]
        for call in (*calls, *(self._on_freed if freed else ())):
            try:
                call()
            except Exception:  # noqa: BLE001 - a listener must not end the others; recorded
                _log.exception("store.watcher_bug", tenant="")
