"""Checks that a site is still the one it was: its identity, and the Companies of its tenants.

A run checks before it writes anything or takes anything for done; the prober checks each time it
looks. `server.model.site_identity` judges what is found. A changed site, or three tenants whose
Company is gone, shut the gate. It opens when the prober finds the old site or the Companies
again, or when a person accepts the site as it is.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from server.errors import EngineError
from server.model.site_identity import SiteVerdict, is_shut_by_vanished, judge_site
from server.model.states import ErrorClass, GateState
from server.model.step_context import EngineHealth
from server.store.site_operations import IdentitySeen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.step_context import Engine
    from server.store.database import Database

# Enough to tell that the site is at fault; the others are looked for once these are back.
_MOST_LOOKED_FOR = 20

_UP = EngineHealth(state=GateState.UP)


class SiteWatch:
    """Compares sites with what is stored about them."""

    def __init__(
        self, database: Database, engines: Mapping[str, Engine], engine_ids: Mapping[str, str]
    ) -> None:
        """Take the parts.

        Args:
            database: The store of the sites.
            engines: The configured engines, by site.
            engine_ids: Each site's name in the engines file, by site, for messages.
        """
        self._database = database
        self._engines = engines
        self._engine_ids = engine_ids

    async def check(self, site: str) -> None:
        """Make sure, before a run writes anything, that the site is the one it was.

        The identity of a site that is seen for the first time is stored.

        Args:
            site: The site of a configured engine.

        Raises:
            EngineError: SITE_CHANGED with a hold; or the engine did not tell its identity.
            StoreUnavailable: the database can't be read or written.
        """
        if await self._verdict(site) is SiteVerdict.CHANGED:
            raise EngineError(
                ErrorClass.PERMANENT, "SITE_CHANGED", self._changed_message(site), hold=True
            )

    async def judge(self, site: str) -> EngineHealth:
        """Return how a site that answers is.

        Args:
            site: The site of a configured engine.

        Returns:
            UP, or MISCONFIGURED with SITE_CHANGED or COMPANIES_VANISHED. If the engine can't be
            asked, what was known of it.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        gate = (await self._database.reads.gates()).get(site)
        try:
            if await self._verdict(site) is SiteVerdict.CHANGED:
                return _misconfigured(code="SITE_CHANGED", message=self._changed_message(site))
            names = await self._database.reads.vanished_companies(
                site,
                since=None if gate is None else gate.accepted_at,
                limit=_MOST_LOOKED_FOR,
            )
            if is_shut_by_vanished(len(names)):
                missing = await self._engines[site].missing_companies(names)
                if is_shut_by_vanished(len(missing)):
                    return _misconfigured(
                        code="COMPANIES_VANISHED",
                        message=self._vanished_message(site, len(missing)),
                    )
        except EngineError:
            # This proves nothing either way: what was known of it stays.
            if gate is None or gate.state is GateState.UP:
                return _UP
            return EngineHealth(state=gate.state, code=gate.code, message=gate.message)
        return _UP

    async def _verdict(self, site: str) -> SiteVerdict:
        seen = await self._engines[site].identity()
        gate = await self._database.glances.gate(site)
        verdict = judge_site(None if gate is None else gate.identity, seen)
        if verdict is SiteVerdict.FIRST_SIGHT and seen is not None:
            stored = await self._database.submit(IdentitySeen(site=site, identity=seen))
            # If not, another process has stored another identity at the same moment.
            return verdict if stored.applied else SiteVerdict.CHANGED
        return verdict

    def _changed_message(self, site: str) -> str:
        return (
            f"The site at {site} is not the one it was: it was set up at another time. Nothing is "
            "written to it. If the address or a backup is wrong, put that right, and work goes on "
            f"by itself. If this is now the right site: {self._accept(site)}, then continue the "
            "tenants that are held."
        )

    def _vanished_message(self, site: str, count: int) -> str:
        # The people of every tenant of the site read this, so it names none of the Companies.
        return (
            f"{count} Companies of tenants are gone from the site at {site}: was a backup "
            "restored? Nothing is written to it. If they come back, work goes on by itself. An "
            f"operator sees whose they are: provisioner list --held. If the site is right as it "
            f"is: {self._accept(site)}"
        )

    def _accept(self, site: str) -> str:
        return f"provisioner accept-site {shlex.quote(self._engine_ids.get(site, site))}"


def _misconfigured(*, code: str, message: str) -> EngineHealth:
    return EngineHealth(state=GateState.MISCONFIGURED, code=code, message=message)
