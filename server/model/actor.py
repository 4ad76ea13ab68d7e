"""Who gives an order, and what each role may do: deny by default."""

from __future__ import annotations

from dataclasses import dataclass
from enum import unique

from server.model.states import Word


@unique
class Role(Word):
    """What a caller may do, each role all that the one before may."""

    VIEWER = "VIEWER"
    OPERATOR = "OPERATOR"
    ADMIN = "ADMIN"


@unique
class Right(Word):
    """What can be asked for."""

    READ = "READ"
    ORDER = "ORDER"
    # REMOVE: deprovision. OVERRULE: adopt a Company, release a hold or a lease: it may touch
    # what is somebody else's.
    REMOVE = "REMOVE"
    OVERRULE = "OVERRULE"


RIGHTS = {
    Role.VIEWER: frozenset({Right.READ}),
    Role.OPERATOR: frozenset({Right.READ, Right.ORDER, Right.REMOVE, Right.OVERRULE}),
    Role.ADMIN: frozenset({Right.READ, Right.ORDER, Right.REMOVE, Right.OVERRULE}),
}

RECONCILER_NAME = "reconciler"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who asks.

    Attributes:
        name: A user's name, "local" where authentication is off, or "reconciler".
        role: What it may do.
    """

    name: str
    role: Role

    def may(self, right: Right) -> bool:
        """Tell whether the actor has a right."""
        return right in RIGHTS[self.role]

    @property
    def is_person(self) -> bool:
        """Whether a person (or a program on a person's behalf) asks, not the healer."""
        return self.name != RECONCILER_NAME


LOCAL = Actor(name="local", role=Role.ADMIN)
# Promise 7: the reconciler has no private powers; it orders as an operator does.
RECONCILER = Actor(name=RECONCILER_NAME, role=Role.OPERATOR)
