"""The order about a whole site: a person accepts it as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from server.access.policy import demand_any
from server.commands.asked import demand_person, request_key
from server.commands.audited import audited
from server.commands.desk import OrderDesk
from server.errors import InvalidInput, NotFound, Violation
from server.model.actor import Right
from server.model.states import GateState
from server.store.site_operations import SiteAccepted
from server.validation import validate_reason, validate_request_id

if TYPE_CHECKING:
    from server.model.actor import Actor

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInQuestion:
    """A site that a person is asked to accept, as it was before that.

    Attributes:
        gate: Whether it takes work; UP if nothing is in question.
        code: Why it does not; "" if it is UP.
        message: Why it does not, in plain words.
        held_tenants: Tenants on the site that are held; accepting it leaves them held.
        accepted: Whether it was accepted.
    """

    engine_id: str
    site: str
    gate: GateState
    code: str
    message: str
    held_tenants: int
    accepted: bool = False


class SiteOrders(OrderDesk):
    """Orders about sites."""

    async def look_at_site(self, actor: Actor, engine_id: str) -> SiteInQuestion:
        """Return what accepting an engine's site would be about; changes nothing.

        Raises:
            InvalidInput: no engine is named.
            NotAllowed: the caller is the reconciler, or may not decide this.
            NotFound: there is no such engine.
            StoreUnavailable: the database can't be read.
        """
        demand_person(actor)
        demand_any(actor, Right.ADMINISTER)
        if not engine_id:
            raise InvalidInput(
                (
                    Violation(
                        field="engine_id",
                        description=f"is missing. Configured: {self._known_engines()}.",
                    ),
                )
            )
        entry = self._engines.get(engine_id)
        if entry is None:
            raise NotFound(
                f"No engine {engine_id!r}. Configured: {self._known_engines()}.",
                code="ENGINE_NOT_CONFIGURED",
            )
        gate = (await self._database.reads.gates()).get(entry.site)
        return SiteInQuestion(
            engine_id=engine_id,
            site=entry.site,
            gate=GateState.UP if gate is None else gate.state,
            code="" if gate is None else gate.code,
            message="" if gate is None else gate.message,
            held_tenants=await self._database.held_tenants(entry.site),
        )

    @audited("AcceptSite")
    async def accept_site(
        self, actor: Actor, engine_id: str, *, reason: str = "", request_id: str = ""
    ) -> SiteInQuestion:
        """Accept an engine's site as it is: its identity, and that Companies are missing from it.

        The next look at the site stores its identity anew; Companies that vanished before now
        no longer count. Tenants that are held stay held: each has to be continued by itself.

        Args:
            actor: Who accepts it.
            engine_id: The id of the engine.
            reason: Why, for the audit.
            request_id: Identifies the order, or "": repeated, it accepts nothing that happened
                since.

        Returns:
            The site as it was before; for a repeated order, as it is now.

        Raises:
            InvalidInput: no engine is named, the reason is too long, or the request id belongs
                to another order.
            NotAllowed: the caller is the reconciler, or may not decide this.
            NotFound: there is no such engine.
            StoreUnavailable: the database can't write.
        """
        reason = validate_reason(reason)
        request_id = validate_request_id(request_id)
        seen = await self.look_at_site(actor, engine_id)
        key = request_key(
            actor, "AcceptSite", request_id, {"engine_id": engine_id, "reason": reason}
        )
        if await self._replayed(key) is not None:
            return replace(seen, accepted=True)
        await self._database.submit(SiteAccepted(site=seen.site, at=self._now(), request=key))
        _log.warning("site.accepted", tenant="", site=seen.site, actor=actor.name)
        return replace(seen, accepted=True)

    def _known_engines(self) -> str:
        return ", ".join(sorted(self._engines)) or "none"
