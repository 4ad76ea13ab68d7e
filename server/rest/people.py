"""Who calls, who owns a tenant, and who is invited to one, in the old clients' terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.access.users import added, joined
from server.errors import AlreadyExists, NotSignedIn
from server.model.access import Household, MembershipStatus
from server.model.actor import Role, passer_by
from server.rest.words import plain, tenant_code

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from server.access.wiring import Access
    from server.model.access import Membership, NewUser, User
    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.rest.bodies import NewTenant
    from server.store.tenant_pages import ListedTenant

AS_OWNER = "OWNER"
AS_ADMIN = "ADMIN"

# The old clients' name for the engines that are configured here.
ERPNEXT_KIND = "erpnext"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doorman:
    """Finds out who calls over HTTP.

    Attributes:
        compat: Whether old clients may register and invite without signing in.
    """

    access: Access
    compat: bool

    async def caller(self, request: Request) -> Actor:
        """Return who calls.

        Raises:
            NotSignedIn: the caller is not known.
            Throttled: the caller calls too often.
            StoreUnavailable: the database can't be read now.
        """
        actor = await self.access.authenticator.actor(
            request.headers.get("authorization"), origin=origin_of(request)
        )
        self.access.rate.take(actor)
        return actor

    async def registrant(self, request: Request) -> Actor:
        """Return who registers a tenant; with old clients anybody may, and a token only says who.

        Raises:
            NotSignedIn: the caller is not known, and old clients have no special rights here.
            Throttled, StoreUnavailable: as for `caller`.
        """
        if not self.compat:
            return await self.caller(request)
        try:
            return replace(await self.caller(request), creates=True)
        except NotSignedIn:
            return replace(self.passer_by(request), creates=True)

    def passer_by(self, request: Request) -> Actor:
        """Return the actor for somebody who has not signed in, and need not.

        Raises:
            Throttled: calls come from this address too often.
        """
        actor = passer_by(origin_of(request))
        self.access.rate.take(actor)
        return actor


class SigningUp:
    """The owner and the administrator of a tenant that signs up; often the same person.

    The owner is whoever is signed in, or else the administrator in the form. A user who is already
    known by e-mail address keeps their password.
    """

    def __init__(self, access: Access, actor: Actor, sent: NewTenant) -> None:
        self._access, self._actor, self._sent = access, actor, sent
        self._owner: User | None = None
        self._admin: User | None = None

    @property
    def owner(self) -> User:
        """The tenant's owner."""
        return self._owner or self.admin

    @property
    def admin(self) -> User:
        """The tenant's administrator."""
        if self._admin is None:
            raise RuntimeError("The tenant was not made.")
        return self._admin

    async def household(self, tenant_id: TenantId) -> Household:
        """Return the users and memberships to write together with the tenant."""
        users, actor = self._access.users, self._actor
        self._admin = await users.by_email(self._sent.admin_email)
        new: tuple[NewUser, ...] = ()
        if self._admin is None:
            made = await users.draw_up(
                email=self._sent.admin_email,
                password=self._sent.admin_password,
                full_name=plain(self._sent.admin_name),
                # The most that this user may do as a member; without a membership they see nothing.
                role=Role.ADMIN,
                country_code=self._sent.country_code.strip().upper()[:2] or "KE",
            )
            new, self._admin = (made,), made.user
        self._owner = await users.by_id(actor.user_id) if actor.user_id else None
        words = {self.owner: AS_OWNER}
        words.setdefault(self._admin, AS_ADMIN)
        members = [users.member(user, tenant_id, word) for user, word in words.items()]
        entries = [added(actor, each.user) for each in new]
        entries += [joined(actor, user, row) for user, row in zip(words, members, strict=True)]
        return Household(users=new, memberships=tuple(members), entries=tuple(entries))


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invitation that was made; `kind` is the old clients' word for its type."""

    user: User
    code: str
    kind: str


async def invite(
    access: Access, actor: Actor, tenant_id: str, *, email: str, full_name: str | None, role: str
) -> Invitation | None:
    """Invite somebody to a tenant; None if they are already an active member."""
    kind = "INVITED_EXISTING"
    user = await access.users.by_email(email)
    if user is None:
        kind = "INVITED_NEW"
        try:
            user = await access.users.add(
                actor, email=email, password=None, full_name=plain(full_name or ""), role=Role.ADMIN
            )
        except AlreadyExists:
            kind, user = "INVITED_EXISTING", await access.users.find(email)
    known = _membership(await access.users.memberships(user.id), tenant_id)
    if known is not None and known.status is MembershipStatus.ACTIVE:
        return None
    if known is not None:
        kind = "REINVITED"
    made = await access.users.join(actor, user, tenant_id, role, status=MembershipStatus.INVITED)
    return Invitation(user=user, code=made.invitation_code or "", kind=kind)


def _membership(memberships: list[Membership], tenant_id: str) -> Membership | None:
    return next((each for each in memberships if each.tenant_id == tenant_id), None)


def reference(tenant: ListedTenant) -> Mapping[str, str]:
    """Return a tenant's id and names, as the old clients know them."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "code": tenant_code(tenant.id, tenant.country_code, tenant.created_at),
        "engine": engine_kind(tenant),
    }


def engine_kind(tenant: ListedTenant) -> str:
    """Return the old clients' name for a tenant's engine."""
    return ERPNEXT_KIND if tenant.site else tenant.engine_id


def origin_of(request: Request) -> str:
    """Return where a request comes from, for limits and the audit."""
    return f"http {request.client.host if request.client else 'unknown'}"
