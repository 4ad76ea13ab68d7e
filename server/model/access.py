"""Users, their memberships, keys for machines, and the audit record of who ordered what."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import unique
from typing import TYPE_CHECKING

from server.model.actor import Role
from server.model.states import Word

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

# What every user of the old API starts with; nothing here depends on it.
KYC_TIER = "KYC-T1"

# Digits and capitals without I, L, O and U, which people misread.
_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@unique
class MembershipStatus(Word):
    """Whether a member has joined."""

    ACTIVE = "ACTIVE"
    INVITED = "INVITED"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who can sign in.

    Attributes:
        code: Identifies the user to people in old clients, such as USR-KE-26-7Q2MD.
        full_name: None if nobody gave one.
        has_password: False until one is set, that is, for a user who was only invited.
        role: If `all_tenants`, the role for every tenant; otherwise the most the user may do
            anywhere, while memberships say where.
        kyc_tier: A word that old clients show; nothing here depends on it.
        token_epoch: Tokens issued under an earlier epoch are no longer valid.
        disabled_at: Since when the user is not let in; None if the user is.
    """

    id: str
    code: str
    email: str
    full_name: str | None
    has_password: bool
    role: Role
    all_tenants: bool
    kyc_tier: str
    token_epoch: int
    disabled_at: datetime | None
    created_at: datetime

    @property
    def is_super_admin(self) -> bool:
        """Whether the user may do everything, as the old API calls it."""
        return self.all_tenants and self.role is Role.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """The fact that a user belongs to a tenant.

    Attributes:
        role: A word of the old API (`MEMBER_ROLES`), or free text (`role_of_member`).
        invitation_code: The code that an invited user shows; None if the user was not invited.
    """

    user_id: str
    tenant_id: str
    role: str
    status: MembershipStatus
    created_at: datetime
    invitation_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user to be added, with the hash of their password, or None if they have none."""

    user: User
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A machine's key, without its secret.

    Attributes:
        role: The most it may do.
        tenants: Ids of the tenants it is valid for; None for all of them.
        created_by: The name of the actor who made it.
        revoked_at: None if it was not revoked.
    """

    id: str
    name: str
    role: Role
    tenants: frozenset[str] | None
    created_by: str
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who ordered what, about whom, from where, and with which result.

    Attributes:
        actor: The actor's name (`Actor.name`).
        origin: Where the call came from (`Actor.origin`).
        action: The method's name, or what was done on the database's machine.
        target: A tenant's id, a user's address or a key's name; "" if there is none.
        outcome: OK, or the code of the refusal.
        request_id: The order's; "" if it had none.
        reason: In the words of who ordered it; "" if none was given.
    """

    id: str
    at: datetime
    actor: str
    role: str
    origin: str
    action: str
    target: str
    outcome: str
    request_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Household:
    """The people who come with a new tenant; they are added together with it, or not at all.

    Attributes:
        users: Those who were not known before.
        memberships: Their memberships in the new tenant.
        entries: The audit entries about them.
    """

    users: tuple[NewUser, ...]
    memberships: tuple[Membership, ...]
    entries: tuple[AuditEntry, ...]


DONE = "OK"

# The words of the old API that mean something; it accepts others, too.
MEMBER_ROLES = ("OWNER", "ADMIN", "MANAGER", "CASHIER", "VIEWER")
_FULL = {"OWNER": Role.ADMIN, "ADMIN": Role.ADMIN, "MANAGER": Role.OPERATOR}


def role_of_member(word: str, *, compat: bool) -> Role:
    """Return what a member with this role of the old API may do with their tenant.

    Args:
        word: OWNER, ADMIN, MANAGER, CASHIER, VIEWER, or free text as old clients send it.
        compat: Whether to do as the old API, which let every active member drive their tenant
            on, whatever their role.
    """
    role = _FULL.get(word.strip().upper())
    if role is not None:
        return role
    return Role.OPERATOR if compat else Role.VIEWER


def tenants_of(
    user: User, memberships: Mapping[str, str], *, compat: bool
) -> dict[str, Role] | None:
    """Return the tenants a user may see and their role in each; None for all tenants.

    Args:
        user: The user; their own role is the most they may do anywhere.
        memberships: Their active memberships: tenant id to role.
        compat: As for `role_of_member`.
    """
    if user.all_tenants:
        return None
    order = list(Role)
    return {
        tenant_id: min(role_of_member(word, compat=compat), user.role, key=order.index)
        for tenant_id, word in memberships.items()
    }


def new_code(kind: str, country_code: str, year: int) -> str:
    """Make a code for people to use: `new_code("USR", "KE", 2026)` is like USR-KE-26-7Q2MD.

    It may be taken: there are 33 million for each kind, country and year.

    Args:
        kind: The letters before the first hyphen.
        country_code: ISO 3166-1 alpha-2, upper case.
        year: The year of the calendar, of which the code has the last two digits.
    """
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(5))
    return f"{kind}-{country_code}-{year % 100:02d}-{letters}"


def fold_email(email: str) -> str:
    """Return an e-mail address in the form in which addresses are compared."""
    return email.strip().casefold()
