"""Chooses which open runs a worker claims next, and in which order.

First come runs that hold up a site, then those called up to a site's line, then those that have
begun and whose pause is over or whose worker is gone, and then the rest: each site gets its share
of the places first, so that one site with many runs keeps no other site waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from server.store.due import DueAsked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from server.executor.gates import Gates
    from server.executor.lease import Lease
    from server.executor.line import Place
    from server.executor.newcomers import Newcomers
    from server.executor.slots import Slots
    from server.store.database import Database
    from server.store.found import DueRun

# How often to look again for everything that nobody reports.
POLL_SECONDS = 0.5
# No due time is set further ahead than this; one that is was written by a clock that has since
# been set back.
_HORIZON = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class Choice:
    """What one look has chosen so far.

    Attributes:
        driving: The ids of the runs that this worker already drives.
        on_site: How many runs it drives per site, including the chosen ones.
        due: The chosen runs, by id.
        arrivals: For runs that are called up to a line: what to call once they are there.
    """

    driving: Collection[str]
    on_site: Counter[str]
    due: dict[str, DueRun] = field(default_factory=dict)
    arrivals: dict[str, Callable[[], None]] = field(default_factory=dict)


class Choosing:
    """Looks for runs on behalf of one worker; used on the event loop's thread only."""

    def __init__(
        self,
        database: Database,
        sites: Collection[str],
        *,
        lease: Lease,
        gates: Gates,
        slots: Slots,
        newcomers: Newcomers,
        now: Callable[[], datetime],
        max_runs: int,
    ) -> None:
        """Take the parts; `sites` are those for which this worker has an engine."""
        self._database = database
        self._sites = frozenset(sites)
        self._lease = lease
        self._gates = gates
        self._slots = slots
        self._newcomers = newcomers
        self._now = now
        self._max_runs = max_runs
        # When to look again at the sites' lines if no run here is known to have given way.
        self._next_call = 0.0
        # Whether some pause may have ended since the last look for such runs.
        self._pause_is_over = True
        # When to look next for everything that nobody reports, such as runs that are under way
        # but driven by nobody.
        self._next_untold = 0.0
        # Whether everything due has been taken, except for what has been ordered here since.
        self._all_taken = False

    def pause_is_over(self) -> None:
        """Hear that some waiting run may go on."""
        self._pause_is_over = True
        self.others_may_be_due()

    def others_may_be_due(self) -> None:
        """Hear that runs may be due other than those just ordered through this process."""
        self._all_taken = False

    async def choose(self, taken: Mapping[str, DueRun], *, free: int) -> Choice:
        """Choose the runs to claim now; nothing is claimed or written.

        Args:
            taken: The runs that this worker drives, by id.
            free: How many places it has left. Runs that need none, because they hold up a site or
                stand in a line, are also chosen with no place left.

        Returns:
            The choice. Each of its runs must be taken, or the whole choice given to `drop`.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        choice = Choice(driving=taken.keys(), on_site=Counter(run.site for run in taken.values()))
        try:
            await self._hold_up_nobody(choice, {run.tenant_id for run in taken.values()})
            await self._call_up(choice)
            if free > 0:
                untold_too = self._looks_for_untold()
                free -= await self._go_on(choice, free, left_too=untold_too)
                await self._fill(choice, free, untold_too=untold_too)
        except BaseException:
            self.drop(choice)
            raise
        return choice

    def drop(self, choice: Choice) -> None:
        """Give up a choice: its seats are free again, and its runs will be found again."""
        for arrived in choice.arrivals.values():
            arrived()
        self.others_may_be_due()

    async def _hold_up_nobody(self, choice: Choice, tenants: Collection[str]) -> None:
        """Choose due runs that hold up a site, even if no place is free.

        A request whose answer was lost keeps the site's slot until its tenant has looked, and
        the runs that wait for that slot may have taken every place.
        """
        holders = self._gates.slot_holders().difference(tenants)
        if not holders:
            return
        for run in await self._due(choice, self._open(), limit=len(holders), tenants=holders):
            choice.on_site[run.site] += 1
            choice.due[run.run_id] = run

    async def _call_up(self, choice: Choice) -> None:
        """Fill the free seats in the sites' lines with runs that gave their place back."""
        now = asyncio.get_running_loop().time()
        if not self._slots.handed_back and now < self._next_call:
            return
        self._next_call = now + POLL_SECONDS
        self._slots.handed_back = False
        sites = self._open()
        # Nearly always every line is empty: ask once for all sites, not once per site.
        lines = sites if len(sites) == 1 else await self._database.reads.lines()
        # Sites without a line come first: nothing is awaited between that answer and its use.
        for site in sorted(sites, key=lines.__contains__):
            room, before = self._slots.room(site)
            if not room or not self._gates.room(site, choice.on_site[site]):
                # There will be room once the line has moved on.
                self._slots.handed_back = True
                continue
            called = (
                []
                if site not in lines
                else await self._database.reads.slot_line(
                    site, driving={*choice.driving, *choice.due}, limit=room, before=before
                )
            )
            self._slots.handed_back |= before is not None or len(called) == room
            seated: list[Place] = []
            for run in called:
                if not self._add(choice, run):
                    break
                seated.append((run.since, run.run_id))
                choice.arrivals[run.run_id] = self._slots.expect(site, seated[-1], called_up=True)
            self._slots.of(site).called_up(
                seated,
                nobody_else=len(seated) == len(called) < room,
                before=before,
                leaving=choice.driving,
            )

    async def _go_on(self, choice: Choice, free: int, *, left_too: bool) -> int:
        """Choose runs that have begun and whose pause is over or whose worker is gone.

        They became due later than all the runs ordered long ago that have not begun. If they
        came after those, a single lost race would cost them their place in line to everybody.
        And others wait for a run that is still in line according to the rows, although its drive
        has ended.

        Returns:
            How many were chosen.
        """
        if not self._pause_is_over and not left_too:
            return 0
        sites = {site for site in self._open() if self._gates.room(site, choice.on_site[site])}
        seen = []
        if sites:
            seen = await self._due(choice, sites, limit=free, begun=True, left=left_too)
        self._pause_is_over = len(seen) == free
        return sum(self._add(choice, run) for run in seen)

    async def _fill(self, choice: Choice, free: int, *, untold_too: bool) -> None:
        """Choose as many runs as there are places, each open site's share first.

        All tenants of one site may have been ordered before the first tenant of another, whose
        slot would lie idle until every one of them had queued for its own.
        """
        sites = self._open()
        share = -(-self._max_runs // max(1, len(sites)))
        if not untold_too and self._all_taken and self._take_newcomers(choice, sites, free, share):
            return
        # Set before looking: a run reported meanwhile counts as not seen.
        self._all_taken = True
        if not await self._look_and_fill(choice, sites, free, share):
            self.others_may_be_due()

    def _take_newcomers(
        self, choice: Choice, sites: Collection[str], free: int, share: int
    ) -> bool:
        """Choose all runs ordered here since the last look, or none if there is no room for all.

        Nothing else is due then, and to look for these runs would take longer than to open them.

        Returns:
            Whether they were chosen.
        """
        # Some are reported only after a look has found them, and have been taken by then.
        taken = {*choice.driving, *choice.due}
        came = [run for run in self._newcomers.due() if run.run_id not in taken]
        coming = Counter(run.site for run in came)
        if coming.total() > free or not coming.keys() <= self._with_room(sites, choice):
            return False
        for site, count in coming.items():
            driven = choice.on_site[site] - self._slots.seated(site)
            if self._slots.may_begin(site) is not None or driven + count > share:
                return False
            if not self._gates.room(site, choice.on_site[site] + count - 1):
                return False
        for run in came:
            self._add(choice, run)
        return True

    async def _look_and_fill(self, choice: Choice, sites: set[str], free: int, share: int) -> bool:
        """Look for due runs and choose among them; tell whether all that exist were chosen."""
        everywhere, all_chosen = sites, False
        left: list[DueRun] = []
        while free > 0 and (sites := self._with_room(sites, choice)):
            may_begin = {site: self._slots.may_begin(site) for site in sites}
            driven = {site: choice.on_site[site] - self._slots.seated(site) for site in sites}
            seen = await self._due(choice, sites, limit=free, left=False)
            given = Counter[str]()
            for run in seen:
                most = may_begin[run.site]
                if most is not None and given[run.site] >= most:
                    continue
                if driven[run.site] + given[run.site] >= share:
                    left.append(run)
                elif self._add(choice, run):
                    given[run.site] += 1
            all_chosen = given.total() == len(seen) < free and sites == everywhere
            free -= given.total()
            if given.total() == len(seen) or len(sites) == 1:
                break
            sites -= {run.site for run in seen}
        for run in left[: max(0, free)]:
            self._add(choice, run)
        return all_chosen

    def _looks_for_untold(self) -> bool:
        """Tell whether it is time to look for runs that nobody reports.

        Not every time: finding the runs that are under way but driven by nobody means reading
        every run that this worker drives.
        """
        now = asyncio.get_running_loop().time()
        if now < self._next_untold:
            return False
        self._next_untold = now + POLL_SECONDS
        return True

    def _open(self) -> set[str]:
        return set(self._sites - self._gates.closed())

    def _with_room(self, sites: Collection[str], choice: Choice) -> set[str]:
        return {
            site
            for site in sites
            if self._gates.room(site, choice.on_site[site]) and self._slots.may_begin(site) != 0
        }

    def _add(self, choice: Choice, run: DueRun) -> bool:
        """Choose a run if its site has room for one more."""
        if not self._gates.room(run.site, choice.on_site[run.site]):
            return False
        choice.on_site[run.site] += 1
        choice.due[run.run_id] = run
        return True

    async def _due(
        self,
        choice: Choice,
        sites: Collection[str],
        *,
        limit: int,
        tenants: Collection[str] | None = None,
        begun: bool = False,
        left: bool = True,
    ) -> list[DueRun]:
        return await self._database.reads.due_runs(
            DueAsked(
                now=self._now(),
                worker_id=self._lease.worker_id,
                alone=self._database.driver_lock is not None,
                sites=sites,
                driving={*choice.driving, *choice.due},
                horizon=_HORIZON,
                limit=limit,
                tenants=tenants,
                begun=begun,
                left=left,
            )
        )
