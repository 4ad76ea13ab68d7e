"""Servers and reconcilers as processes on one database, and what is done to them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Sequence

    from tools.installation import Installation

    Harm = Callable[[random.Random], Awaitable[str]]

# Short, so that takeovers come often; long enough that a busy machine can keep it.
LEASE_SECONDS = 4.0
# How soon an orchestrator sees that a process has ended.
_RESTART_SECONDS = 0.3


class Fleet(ABC):
    """The processes. Who makes them says what their database is, and how it is read."""

    def __init__(self, members: list[Installation], *, reconcilers: int) -> None:
        self.members = members
        self.stopped: set[int] = set()
        self._reconcilers = reconcilers
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def site(self) -> Installation:
        """Whoever started the stand-in."""
        return self.members[0]

    @property
    def harms(self) -> Sequence[Harm]:
        """What can be done to it; more where its database has more."""
        return (
            self.kill_a_server,
            self.suspend_a_server,
            self.kill_a_reconciler,
            self.take_the_engine_down,
            self.damage_a_record,
        )

    @abstractmethod
    async def sql(self, statement: str, **values: object) -> list[tuple[Any, ...]]:
        """Do by SQL what an operator would do by hand."""

    async def start(self) -> None:
        """Start the site, the servers, and the reconcilers beside the first of them."""
        await self.site.start_site()
        for member in self.members:
            await member.start_server()
        for member in self.members[: self._reconcilers]:
            await member.start_reconciler()
        self._supervisor = asyncio.create_task(self._supervise())

    async def _supervise(self) -> None:
        """Start what has ended again, as any orchestrator does."""
        while True:
            for number, member in enumerate(self.members):
                if _ended(member, "server"):
                    await member.start_unwatched("server", "serve")
                if number < self._reconcilers and _ended(member, "reconciler"):
                    await member.start_unwatched("reconciler", "reconcile")
            await asyncio.sleep(_RESTART_SECONDS)

    def living(self) -> list[Installation]:
        """Return the members whose server can answer."""
        return [
            member
            for number, member in enumerate(self.members)
            if number not in self.stopped and not _ended(member, "server")
        ]

    def refused_writes(self) -> int:
        """Count how often a worker was told that it is replaced."""
        logs = [member.logs().get("server.log", "") for member in self.members]
        return sum(log.count("run.replaced") for log in logs)

    async def close(self) -> None:
        """Let suspended ones go on, then kill all."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        for member in self.members:
            for process in member.processes.values():
                if process.returncode is None:
                    process.send_signal(signal.SIGCONT)
            await member.close()

    # What can go wrong.

    async def kill_a_server(self, dice: random.Random) -> str:
        """Kill -9 a server."""
        number = self._choose(dice)
        _kill(self.members[number], "server")
        return f"kill -9 server {number}"

    async def suspend_a_server(self, dice: random.Random) -> str:
        """Suspend a server for longer than its lease, and let it go on."""
        number = self._choose(dice)
        process = self.members[number].processes["server"]
        self.stopped.add(number)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGSTOP)
            # The time beyond the lease is what is tested.
            await asyncio.sleep(LEASE_SECONDS * (1.2 + dice.random()))
            process.send_signal(signal.SIGCONT)
        self.stopped.discard(number)
        return f"SIGSTOP server {number}"

    async def kill_a_reconciler(self, dice: random.Random) -> str:
        """Kill -9 a reconciler."""
        number = dice.randrange(self._reconcilers)
        _kill(self.members[number], "reconciler")
        return f"kill -9 reconciler {number}"

    async def take_the_engine_down(self, dice: random.Random) -> str:
        """Let the site answer nothing but 503 for a while."""
        await self.site.site_faults({"maintenance": True})
        await asyncio.sleep(1 + 2 * dice.random())  # how long it is down
        await self.site.site_faults({"latency_ms": 10})
        return "engine down"

    async def damage_a_record(self, dice: random.Random) -> str:
        """Delete the steps of a finished tenant, as a restore gone wrong does."""
        done = await self.sql("SELECT id FROM tenants WHERE state = 'COMPLETED' ORDER BY id")
        if not done:
            return "nothing to damage"
        tenant = dice.choice(done)[0]
        await self.damage(tenant)
        return f"record of {tenant} damaged"

    @abstractmethod
    async def damage(self, tenant: str) -> None:
        """Delete a tenant's steps and call it PARTIAL, at once: a sweep may come at any moment."""

    def _choose(self, dice: random.Random) -> int:
        return dice.choice(sorted(set(range(len(self.members))) - self.stopped))


def _ended(member: Installation, name: str) -> bool:
    return member.processes[name].returncode is not None


def _kill(member: Installation, name: str) -> None:
    with contextlib.suppress(ProcessLookupError):
        member.processes[name].kill()
