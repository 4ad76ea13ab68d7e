"""Requests that overlap: which of them wait, and which are refused.

Facts: 11-race-same-company, 11-race-same-abbr, 11-client-timeout, 12-concurrent-companies,
12-concurrent-other-calls, 12-concurrent-accounts-and-payment-rows. A document is invisible until
its request ends. The one that comes later loses: a second maker of one name waits for the first
and gets 409; two Companies, two Warehouses or two Accounts deadlock; two rows of one Mode of
Payment collide. A client that goes away makes no difference to this.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.standin import errors
from server.standin.naming import fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.standin.schema import Document
    from server.standin.site import Site

_TREES = frozenset({"Company", "Warehouse", "Account"})
# A deadlock is detected before the victim's work is over (12-concurrent-companies).
_DEADLOCK_SHARE = 0.5


@dataclass(slots=True, kw_only=True, eq=False)
class Ticket:
    """One write under way.

    Attributes:
        doctype: The doctype of what is written.
        name: Its name.
        abbr: The abbreviation of a Company that is made; else "".
        made: Whether it succeeded; only known when it is done.
        done: Set when it has ended, well or not.
    """

    doctype: str
    name: str
    abbr: str = ""
    made: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        """The name as the database compares it."""
        return fold(self.name)


class Traffic:
    """Knows the writes under way on one site, and settles their collisions."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._open: list[Ticket] = []
        self._stopping = False
        self._hurry = asyncio.Event()
        self._company_collisions = 0

    def stop(self) -> None:
        """End all waiting for good; work under way is finished without delay."""
        self._stopping = True
        self.hurry()

    def hurry(self) -> None:
        """End the waiting of those requests that wait now."""
        self._hurry.set()
        self._hurry = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """Let time pass, until `hurry` or `stop` at the latest.

        Args:
            seconds: How long; 0 and less returns at once.
        """
        if seconds > 0 and not self._stopping:
            try:
                async with asyncio.timeout(seconds):
                    await self._hurry.wait()
            except TimeoutError:
                return

    async def write(
        self, ticket: Ticket, seconds: float, commit: Callable[[], Document]
    ) -> Document:
        """Carry out a write that takes `seconds`, as a transaction among others.

        Args:
            ticket: What is written; it may be used once.
            seconds: How long it takes, without what it waits for.
            commit: Makes the change, or raises and changes nothing; returns what was stored.

        Returns:
            What `commit` returned.

        Raises:
            EngineError: `commit` refused it, or another write was faster.
        """
        await self._wait_for_same(ticket)
        rival = next((t for t in self._open if _collide(t, ticket)), None)
        self._open.append(ticket)
        try:
            if rival is not None:
                await self._lose(ticket, rival, seconds)
            await self.pause(seconds)
            document = commit()
            ticket.made = True
        finally:
            self._open.remove(ticket)
            ticket.done.set()
        return document

    async def _wait_for_same(self, ticket: Ticket) -> None:
        while True:
            same = next((t for t in self._open if _same(t, ticket)), None)
            if same is None:
                return
            await same.done.wait()
            if same.made and same.key == ticket.key:
                raise errors.duplicate(ticket.doctype, ticket.name)
            if same.made:
                account = f"Application of Funds (Assets) - {same.abbr}"
                raise errors.by_erpnext(errors.duplicate("Account", account))

    async def _lose(self, ticket: Ticket, rival: Ticket, seconds: float) -> None:
        if ticket.doctype == "Mode of Payment":
            await self.pause(seconds)
            raise errors.stale(self._site.stamp(), self._site.stamp())
        if ticket.doctype == "Company":
            self._company_collisions += 1
            if self._company_collisions % 2 == 0:
                await rival.done.wait()
                cash = self._site.find("Mode of Payment", "Cash") or {"accounts": []}
                row = len(cash["accounts"]) + 1
                lost = f"Row #{row}: Default Account: Cash - {rival.abbr}"
                raise errors.by_erpnext(errors.link_missing([lost]))
        await self.pause(seconds * _DEADLOCK_SHARE)
        raise errors.deadlock()


def _same(left: Ticket, right: Ticket) -> bool:
    # Rows of one Mode of Payment collide instead of waiting.
    if left.doctype != right.doctype or left.doctype == "Mode of Payment":
        return False
    return left.key == right.key or bool(left.abbr and fold(left.abbr) == fold(right.abbr))


def _collide(left: Ticket, right: Ticket) -> bool:
    if left.doctype != right.doctype:
        return False
    return left.doctype in _TREES or (left.doctype == "Mode of Payment" and left.key == right.key)
