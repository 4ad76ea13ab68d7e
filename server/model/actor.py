"""Who gives an order, and what each role may do: deny by default.

An actor sees all tenants, or only those it is a member of. Whatever concerns the whole fleet
(making tenants, sweeps, users) is reserved for actors that see all of it.
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
    """What a caller may do. Each role includes the one before it."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


@unique
class Right(Word):
    """What a caller may be allowed to do.

    About a tenant: READ (status, log, lists), ORDER (drive it on, skip a step, cancel), REMOVE
    (deprovision it), OVERRULE (adopt a Company, release a hold or a lease: this may affect what
    belongs to somebody else). About the fleet: CREATE tenants, READ_FLEET and ORDER_FLEET
    (sweeps, findings, engines), ADMINISTER (users, members, keys, and which site is the right
    one).
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
# What a member may do with their tenant. Its site is shared, so whatever might affect other
# tenants is reserved for those who see all of them; giving up the books is for its own admin.
MEMBER_RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.READ}),
        Role.OPERATOR: frozenset({Right.READ, Right.ORDER}),
        Role.ADMIN: frozenset({Right.READ, Right.ORDER, Right.REMOVE}),
    }
)

RECONCILER_NAME = "reconciler"
# The name of a caller who has not signed in, where old clients may do without.
ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks.

    Attributes:
        name: A user's e-mail address, "key:NAME" for a machine, "local" if authentication is
            off, "anonymous", or "reconciler".
        role: What it may do; for a member of some tenants, the highest of its roles.
        tenants: The tenants it sees, and its role in each; None for all tenants.
        origin: Where the call came from: "grpc 10.1.2.3", "http 10.1.2.3" or "sweep"; "" if not
            known.
        creates: Whether it may make tenants although it does not see all of them (old clients).
        user_id: The id of a user; "" for everybody else.
    """

    name: str
    role: Role
    tenants: Mapping[str, Role] | None = field(default=None, hash=False)
    origin: str = ""
    creates: bool = False
    user_id: str = ""

    @property
    def scope(self) -> frozenset[str] | None:
        """Ids of the tenants it sees; None for all. Every list must be limited to these."""
        return None if self.tenants is None else frozenset(self.tenants)

    def sees(self, tenant_id: str) -> bool:
        """Tell whether it may know of a tenant."""
        return self.tenants is None or tenant_id in self.tenants

    def may(self, right: Right, tenant_id: str | None = None) -> bool:
        """Tell whether the actor has a right.

        Args:
            right: The right in question.
            tenant_id: The tenant it is about; None asks whether there is any such tenant.
        """
        if right is Right.CREATE and self.creates:
            return True
        if self.tenants is None:
            return right in RIGHTS[self.role]
        if tenant_id is None:
            # Somebody who is not a member of any tenant yet may ask for their (empty) list.
            roles = self.tenants.values() or (self.role,)
            return any(right in MEMBER_RIGHTS[role] for role in roles)
        role = self.tenants.get(tenant_id)
        return role is not None and right in MEMBER_RIGHTS[role]

    @property
    def is_person(self) -> bool:
        """Whether this is a person, or a program on a person's behalf, and not the reconciler."""
        return self.name != RECONCILER_NAME


LOCAL = Actor(name="local", role=Role.ADMIN)
# Promise 7: the reconciler has no private powers; it gives orders as an operator does.
RECONCILER = Actor(name=RECONCILER_NAME, role=Role.OPERATOR, origin="sweep")


def passer_by(origin: str) -> Actor:
    """Return an actor that has not signed in, and sees nothing.

    Args:
        origin: As `Actor.origin`.
    """
    return Actor(name=ANONYMOUS, role=Role.VIEWER, tenants={}, origin=origin)
