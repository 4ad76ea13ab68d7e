"""The order about a whole site: a person says that it is right as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from server.commands.audited import audited
from server.commands.desk import OrderDesk
from server.errors import NotAllowed, NotFound
from server.model.actor import Right
from server.store.site_operations import SiteAccepted

if TYPE_CHECKING:
    from server.model.actor import Actor

_log = structlog.get_logger(__name__)


class SiteOrders(OrderDesk):
    """Orders about sites."""

    @audited("AcceptSite")
    async def accept_site(self, actor: Actor, engine_id: str) -> str:
        """Accept an engine's site as it is: its identity, and that Companies are gone from it.

        Its identity is stored anew at the next look; Companies that vanished before now no
        longer count. The tenants that are held stay held: each is continued by itself.

        Returns:
            The site.

        Raises:
            NotAllowed: for the reconciler, or without the right to order.
            NotFound: if there is no such engine.
            StoreUnavailable: if the database can't write.
        """
        if not (actor.is_person and actor.may(Right.ORDER_FLEET)):
            raise NotAllowed("Only a person who may give orders can accept a site.")
        entry = self._engines.get(engine_id)
        if entry is None:
            raise NotFound(
                f"No engine {engine_id!r}. Configured: {', '.join(sorted(self._engines))}.",
                code="ENGINE_NOT_CONFIGURED",
            )
        await self._database.submit(SiteAccepted(site=entry.site, at=self._now()))
        _log.warning("site.accepted", tenant="", site=entry.site, actor=actor.name)
        return entry.site
