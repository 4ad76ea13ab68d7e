"""Who gives an order, and what each role may do: deny by default.

An actor sees all tenants, or the ones he is a member of and no other. What concerns the
whole fleet (making tenants, sweeps, users) is for those who see all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import unique
from types import MappingProxyType
from typing import TYPE_CHECKING

from server.model.states import Word

if TYPE_CHECKING:
    from collections.abc import Mapping


@unique
class Role(Word):
    """What a caller may do, each role all that the one before may."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


@unique
class Right(Word):
    """What can be asked for.

    About a tenant: READ (status, log, lists), ORDER (drive it on, skip, cancel), REMOVE
    (deprovision it), OVERRULE (adopt a Company, release a hold or a lease: it may touch what
    is somebody else's). About the fleet: CREATE tenants, READ_FLEET and ORDER_FLEET (sweeps,
    findings, engines), ADMINISTER (users, members, keys, which site
    is the right one).
    """

    READ = "READ"
    ORDER = "ORDER"
    REMOVE = "REMOVE"
    OVERRULE = "OVERRULE"
    CREATE = "CREATE"
    READ_FLEET = "READ_FLEET"
    ORDER_FLEET = "ORDER_FLEET"
    ADMINISTER = "ADMINISTER"


_VIEWER = frozenset({Right.READ, Right.READ_FLEET})
_OPERATOR = _VIEWER | {Right.ORDER, Right.REMOVE, Right.OVERRULE, Right.CREATE, Right.ORDER_FLEET}
RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: _VIEWER,
        Role.OPERATOR: _OPERATOR,
        Role.ADMIN: _OPERATOR | {Right.ADMINISTER},
    }
)
# What a member may do with his tenant. The site is shared with others, so that what might
# touch theirs is for those who see all; to give the books up is for the tenant's own admin.
MEMBER_RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.READ}),
        Role.OPERATOR: frozenset({Right.READ, Right.ORDER}),
        Role.ADMIN: frozenset({Right.READ, Right.ORDER, Right.REMOVE}),
    }
)

RECONCILER_NAME = "reconciler"
# Who calls without signing in where old clients may.
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks.

    Attributes:
        name: A user's e-mail address, "key:NAME" of a machine, "local" where authentication
            is off, "anonymous", or "reconciler".
        role: What it may do; of a member of some tenants the highest that he has.
        tenants: The tenants it sees, and its role in each; None is all of them.
        origin: Where from: "grpc 10.1.2.3", "http 10.1.2.3", "sweep"; "" where nobody said.
        creates: Whether it may make tenants though it does not see all (old clients).
        user_id: Of a user: his id; "" of all others.
    """

    name: str
    role: Role
    tenants: Mapping[str, Role] | None = field(default=None, hash=False)
    origin: str = ""
    creates: bool = False
    user_id: str = ""

    @property
    def scope(self) -> frozenset[str] | None:
        """Ids of the tenants it sees; None is all of them. Every list must be cut to it."""
        return None if self.tenants is None else frozenset(self.tenants)

    def sees(self, tenant_id: str) -> bool:
        """Tell whether a tenant is one it may know of."""
        return self.tenants is None or tenant_id in self.tenants

    def may(self, right: Right, tenant_id: str | None = None) -> bool:
        """Tell whether the actor has a right.

        Args:
            right: What is asked for.
            tenant_id: About which tenant; None asks whether there can be one at all.
        """
        if right is Right.CREATE and self.creates:
            return True
        if self.tenants is None:
            return right in RIGHTS[self.role]
        if tenant_id is None:
            # A member of nothing yet may ask for his (empty) list.
            roles = self.tenants.values() or (self.role,)
            return any(right in MEMBER_RIGHTS[role] for role in roles)
        role = self.tenants.get(tenant_id)
        return role is not None and right in MEMBER_RIGHTS[role]

    @property
    def is_person(self) -> bool:
        """Whether a person (or a program on a person's behalf) asks, not the healer."""
        return self.name != RECONCILER_NAME


LOCAL = Actor(name="local", role=Role.ADMIN)
# Promise 7: the reconciler has no private powers; it orders as an operator does.
RECONCILER = Actor(name=RECONCILER_NAME, role=Role.OPERATOR, origin="sweep")


def passer_by(origin: str) -> Actor:
    """Return somebody who has not signed in, and sees nothing."""
    return Actor(name=ANONYMOUS, role=Role.VIEWER, tenants={}, origin=origin)
