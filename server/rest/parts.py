"""What the routes work with, handed over once: commands, queries, and who calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.access.policy import admit
from server.errors import InvalidInput, NotAllowed
from server.rest.answers import NOT_A_MEMBER, TENANT_UNKNOWN, Refusal
from server.rest.words import plain
from server.validation import validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from server.access.wiring import Access
    from server.commands import Commands
    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.queries import Queries
    from server.queries.gates import EngineGates
    from server.rest.people import Doorman
    from server.store.tenant_pages import TenantPages


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the routes work with.

    Attributes:
        services: The gRPC services by name; `/v1` answers with their methods.
        first_steps: By engine id, the keys of the steps in a new tenant's first run.
        open_metrics: Whether anybody who can reach the server may read its metrics.
    """

    commands: Commands
    queries: Queries
    gates: EngineGates
    pages: TenantPages
    access: Access
    doorman: Doorman
    services: Mapping[str, object]
    first_steps: Mapping[str, tuple[str, ...]]
    open_metrics: bool

    @property
    def compat(self) -> bool:
        """Whether old clients may read and register without signing in."""
        return self.doorman.compat

    async def identify(self, request: Request) -> Actor:
        """Return who calls.

        Raises:
            NotSignedIn: the caller is not known.
            Throttled: the caller calls too often.
            StoreUnavailable: the database can't be read now.
        """
        return await self.doorman.caller(request)

    async def admit(self, actor: Actor, method: str) -> None:
        """Refuse what this caller may do with no tenant, and record a refused order in the audit.

        Raises:
            NotAllowed: the caller may not do it.
        """
        try:
            admit(actor, method)
        except NotAllowed as error:
            await self.access.note_refusal(actor, method, error.code)
            raise

    async def admit_monitor(self, request: Request) -> None:
        """Refuse callers who may not read the metrics, which count all tenants and name engines.

        Raises:
            NotSignedIn: the caller is not known.
            NotAllowed: the caller does not see all tenants.
            StoreUnavailable: the database is away.
        """
        if self.open_metrics:
            self.access.store.demand_there()
        else:
            await self.admit(await self.identify(request), "ReadMetrics")

    async def tenant_of(self, actor: Actor, text: str) -> TenantId:
        """Return the id of the tenant that a path names, if the caller may see it.

        Raises:
            Refusal: 400 if it is not an id, 404 if there is no such tenant, 403 if the caller may
                not see it. Old clients tell the last two apart; gRPC and `/v1` do not (decision
                0025).
        """
        tenant_id = checked_id(text)
        if not actor.sees(tenant_id):
            if await self.access.store.tenant_exists(tenant_id):
                raise Refusal(403, NOT_A_MEMBER)
            raise Refusal(404, TENANT_UNKNOWN)
        return tenant_id


def checked_id(text: str) -> TenantId:
    """Return the id that a path names.

    Raises:
        Refusal: 400: it is not an id.
    """
    try:
        return validate_tenant_id(text)
    except InvalidInput as error:
        raise Refusal(
            400, f"Invalid tenant ID format: {plain(error.violations[0].description)}"
        ) from error
