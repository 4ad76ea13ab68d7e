"""Users, their memberships, keys for machines, and the record of who ordered what."""

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

# What every user of the old API begins with; nothing here judges by it.
KYC_TIER = "KYC-T1"

# Digits and capitals without I, L, O and U, which people misread.
_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@unique
class MembershipStatus(Word):
    """Whether a member may come in."""

    ACTIVE = "ACTIVE"
    INVITED = "INVITED"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A person who can sign in.

    Attributes:
        code: What people call him by in old clients: USR-KE-26-7Q2MD.
        has_password: False until one is set: he was invited.
        role: Of all tenants if `all_tenants`; otherwise the most he may do anywhere, and
            his memberships say where.
        token_epoch: Tokens given out under an earlier one count no more.
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
        """Whether he may do everything, in the old API's word."""
        return self.all_tenants and self.role is Role.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """That a user belongs to a tenant; `role` is the old API's word, or free text."""

    user_id: str
    tenant_id: str
    role: str
    status: MembershipStatus
    created_at: datetime
    invitation_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUser:
    """A user who is not there yet; the hash of his password, None if he has none."""

    user: User
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A machine's key, without its secret.

    Attributes:
        tenants: Those it is good for; None is all of them.
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
    """Who ordered what, on whom, from where, and what became of it.

    Attributes:
        target: A tenant's id, a user's address, a key's name; "" where there is none.
        outcome: OK, or the code of the refusal.
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
    """The people who come with a new tenant, and are there with it or not at all.

    Attributes:
        users: Those nobody knew.
        memberships: In the new tenant.
        entries: What the audit says of them.
    """

    users: tuple[NewUser, ...]
    memberships: tuple[Membership, ...]
    entries: tuple[AuditEntry, ...]


DONE = "OK"

# Words of the old API that mean something; it takes others, too.
MEMBER_ROLES = ("OWNER", "ADMIN", "MANAGER", "CASHIER", "VIEWER")
_FULL = {"OWNER": Role.ADMIN, "ADMIN": Role.ADMIN, "MANAGER": Role.OPERATOR}


def role_of_member(word: str, *, compat: bool) -> Role:
    """Return what a member of this (old) role may do with his tenant.

    Args:
        word: OWNER, ADMIN, MANAGER, CASHIER, VIEWER, or free text as old clients send it.
        compat: The old API let every active member drive his tenant on, whatever his role.
    """
    role = _FULL.get(word.strip().upper())
    if role is not None:
        return role
    return Role.OPERATOR if compat else Role.VIEWER


def tenants_of(
    user: User, memberships: Mapping[str, str], *, compat: bool
) -> dict[str, Role] | None:
    """Return the tenants a user sees and his role in each; None is all of them.

    Args:
        user: The user; his own role is the most he may do anywhere.
        memberships: His active ones: tenant id to role.
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
    """Make a code for people: `new_code("USR", "KE", 2026)` is like USR-KE-26-7Q2MD."""
    letters = "".join(secrets.choice(_CODE_LETTERS) for _ in range(5))
    return f"{kind}-{country_code}-{year % 100:02d}-{letters}"


def fold_email(email: str) -> str:
    """Return an address as it is compared."""
    return email.strip().casefold()
