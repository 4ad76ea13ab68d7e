"""Users and their memberships: users are made, changed, disabled, but never deleted.

They are kept because the audit names them. Whether the caller may do something is checked before
(`policy`); this module only does it. Every change to a user ends the tokens that the user holds, in
this process at once, and in others as soon as they forget what they verified (`authenticator`).

Every method that reads or writes raises `StoreUnavailable` if the database can't be read or written
(`server.store.access`).
"""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from server.access.passwords import check_password
from server.access.trail import entry
from server.errors import AlreadyExists, InvalidInput, NotFound, StoreUnavailable, Violation
from server.limits import MAX_PERSON_NAME
from server.model.access import KYC_TIER, Membership, MembershipStatus, NewUser, User, new_code
from server.model.actor import Role
from server.model.identifiers import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.access.passwords import Passwords
    from server.model.access import AuditEntry
    from server.model.actor import Actor
    from server.store.access import AccessStore

_EMAIL = re.compile(r"[^@\s<>,;\"\\]{1,64}@[^@\s<>,;\"\\]{1,255}")
_CODE_TRIES = 8


class Users:
    """The users of one store."""

    def __init__(
        self,
        store: AccessStore,
        passwords: Passwords,
        *,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the parts it needs.

        Args:
            store: The users' rows.
            passwords: Hashes passwords.
            now: Returns the current time, in UTC.
            changed: Called after each change: what was verified before must not count any more.
        """
        self._store = store
        self._passwords = passwords
        self._now = now
        self._changed = changed

    async def add(
        self,
        by: Actor,
        *,
        email: str,
        password: str | None,
        full_name: str | None = None,
        role: Role = Role.OPERATOR,
        all_tenants: bool = False,
        memberships: Mapping[str, str] | None = None,
        status: MembershipStatus = MembershipStatus.ACTIVE,
        country_code: str = "KE",
    ) -> User:
        """Add a user.

        Args:
            by: Who adds the user.
            email: The user's e-mail address; two that differ only in case are the same.
            password: The password; None for somebody who is invited and can't sign in yet.
            full_name: The user's name, or None.
            role: What the user may do, with all tenants; as a member, at most this.
            all_tenants: Whether the user needs no memberships.
            memberships: The user's tenants, and the (old) role in each.
            status: The status of these memberships.
            country_code: The country in the user's code.

        Returns:
            The user, with a code that nobody else has.

        Raises:
            InvalidInput: a field is wrong.
            AlreadyExists: USER_EXISTS: there is a user with that e-mail address.
            StoreUnavailable: also if no free code was found.
        """
        new = await self.draw_up(
            email=email,
            password=password,
            full_name=full_name,
            role=role,
            all_tenants=all_tenants,
            country_code=country_code,
        )
        rows = [
            Membership(
                user_id=new.user.id,
                tenant_id=tenant_id,
                role=word,
                status=status,
                created_at=new.user.created_at,
            )
            for tenant_id, word in (memberships or {}).items()
        ]
        return await self._add(by, new, rows, country_code)

    async def draw_up(
        self,
        *,
        email: str,
        password: str | None,
        full_name: str | None,
        role: Role,
        all_tenants: bool = False,
        country_code: str = "KE",
    ) -> NewUser:
        """Return a new user, as `add` makes one, to be written together with something else.

        Whoever writes it must expect that the address or the code is taken.

        Args:
            email: As for `add`.
            password: As for `add`; it is hashed here, which takes some 20 ms.
            full_name: As for `add`; None or "" for no name.
            role: As for `add`.
            all_tenants: As for `add`.
            country_code: As for `add`.

        Raises:
            InvalidInput: a field is wrong.
        """
        address = check_email(email)
        stored = None
        if password is not None:
            stored = await self._passwords.hashed(check_password(password, "password"))
        now = self._now()
        user = User(
            id=new_id(now),
            code=new_code("USR", country_code, now.year),
            email=address,
            full_name=_name(full_name),
            has_password=stored is not None,
            role=role,
            all_tenants=all_tenants,
            kyc_tier=KYC_TIER,
            token_epoch=1,
            disabled_at=None,
            created_at=now,
        )
        return NewUser(user=user, password_hash=stored)

    async def _add(
        self,
        by: Actor,
        new: NewUser,
        memberships: list[Membership],
        country_code: str,
    ) -> User:
        """Store a user under a code that nobody else has."""
        for _ in range(_CODE_TRIES):
            try:
                await self._store.add_user(new, memberships=memberships, entry=added(by, new.user))
            except AlreadyExists as error:
                if error.code != "CODE_TAKEN":
                    raise
                code = new_code("USR", country_code, new.user.created_at.year)
                new = replace(new, user=replace(new.user, code=code))
            else:
                return new.user
        raise StoreUnavailable("No free code was found for the user. Try again.")

    async def find(self, email_or_id: str) -> User:
        """Return the user with an e-mail address or id, disabled or not.

        Args:
            email_or_id: What has an @ is an address.

        Raises:
            NotFound: there is none.
        """
        found = (
            await self._store.user_by_email(email_or_id)
            if "@" in email_or_id
            else await self._store.user(email_or_id)
        )
        if found is None:
            raise NotFound(
                f"No user {email_or_id}. See them with: provisioner users list",
                code="USER_NOT_FOUND",
            )
        return found

    async def by_email(self, email: str) -> User | None:
        """Return the user with an e-mail address, in any case, or None."""
        return await self._store.user_by_email(email)

    async def by_id(self, user_id: str) -> User | None:
        """Return the user with an id, or None."""
        return await self._store.user(user_id)

    async def all(self) -> list[User]:
        """Return all users, sorted by e-mail address."""
        return await self._store.users()

    async def set_password(self, by: Actor, user: User, password: str) -> None:
        """Give a user a password; the user's tokens are no longer valid.

        Args:
            by: Who orders it.
            user: The user; one who was only invited can sign in from then on.
            password: The password, however weak.

        Raises:
            InvalidInput: it can't be a password (`check_password`).
        """
        stored = await self._passwords.hashed(check_password(password, "password"))
        await self._change(by, user, "SetPassword", {"password_hash": stored})

    async def set_role(self, by: Actor, user: User, role: Role, *, all_tenants: bool) -> None:
        """Change what a user may do; the user's tokens are no longer valid.

        Args:
            by: Who orders it.
            user: The user.
            role: As for `add`.
            all_tenants: As for `add`; memberships stay, and count again when it is False.
        """
        values = {"role": role, "all_tenants": all_tenants}
        await self._change(by, user, "SetRole", values, reason=_as(role, all_tenants=all_tenants))

    async def disable(self, by: Actor, user: User) -> None:
        """Stop letting a user in; the user's tokens are no longer valid. Memberships stay."""
        await self._change(by, user, "DisableUser", {"disabled_at": self._now()})

    async def enable(self, by: Actor, user: User) -> None:
        """Let a user in again, with the password that the user had; earlier tokens stay invalid."""
        await self._change(by, user, "EnableUser", {"disabled_at": None})

    async def memberships(self, user_id: str) -> list[Membership]:
        """Return a user's memberships, newest first."""
        return await self._store.memberships(user_id)

    async def members(self, tenant_id: str) -> list[Membership]:
        """Return a tenant's memberships, newest first."""
        return await self._store.members(tenant_id)

    async def join(
        self,
        by: Actor,
        user: User,
        tenant_id: str,
        role: str,
        *,
        status: MembershipStatus = MembershipStatus.ACTIVE,
    ) -> Membership:
        """Make a user a member of a tenant, or change the role; an invitation gets a code.

        Args:
            by: Who orders it.
            user: The user.
            tenant_id: The tenant, which must exist; nobody checks here.
            role: A word of the old API (`role_of_member`).
            status: INVITED does not let the user in yet.

        Returns:
            The membership as it was written.
        """
        membership = self.member(user, tenant_id, role, status=status)
        await self._store.put_membership(membership, entry=joined(by, user, membership))
        self._changed()
        return membership

    def member(
        self,
        user: User,
        tenant_id: str,
        role: str,
        *,
        status: MembershipStatus = MembershipStatus.ACTIVE,
    ) -> Membership:
        """Return a new membership, to be written by others; an invitation gets a code.

        Args:
            user: The user.
            tenant_id: The tenant.
            role: A word of the old API (`role_of_member`).
            status: INVITED does not let the user in yet.
        """
        return Membership(
            user_id=user.id,
            tenant_id=tenant_id,
            role=role,
            status=status,
            created_at=self._now(),
            invitation_code=(
                secrets.token_urlsafe(16) if status is MembershipStatus.INVITED else None
            ),
        )

    def moved_in(self) -> None:
        """Take note that users were written together with their tenant."""
        self._changed()

    async def leave(self, by: Actor, user: User, tenant_id: str) -> None:
        """End a membership.

        Args:
            by: Who orders it.
            user: The user.
            tenant_id: The tenant.

        Raises:
            NotFound: there is none.
        """
        now = self._now()
        noted = entry(by, now, action="RemoveMember", target=tenant_id, reason=user.email)
        if not await self._store.drop_membership(user.id, tenant_id, entry=noted):
            raise NotFound(
                f"{user.email} is no member of tenant {tenant_id}.", code="MEMBERSHIP_NOT_FOUND"
            )
        self._changed()

    async def _change(
        self,
        by: Actor,
        user: User,
        action: str,
        values: Mapping[str, object],
        *,
        reason: str = "",
    ) -> None:
        now = self._now()
        noted = entry(by, now, action=action, target=user.email, reason=reason)
        await self._store.change_user(user.id, now, values, entry=noted)
        self._changed()


def added(by: Actor, user: User) -> AuditEntry:
    """Return the audit's row that says that a user was added, at the time that the user has."""
    return entry(
        by,
        user.created_at,
        action="AddUser",
        target=user.email,
        reason=_as(user.role, all_tenants=user.all_tenants),
    )


def joined(by: Actor, user: User, membership: Membership) -> AuditEntry:
    """Return the audit's row that says that a user became a member, at the membership's time."""
    return entry(
        by,
        membership.created_at,
        action="AddMember",
        target=membership.tenant_id,
        reason=f"{user.email} as {membership.role}",
    )


def _as(role: Role, *, all_tenants: bool) -> str:
    """Say for the audit what a user may do: without its tenants a role alone means nothing."""
    return f"as {role.value}, {'all tenants' if all_tenants else 'members only'}"


def check_email(email: str) -> str:
    """Return an e-mail address without outer blanks.

    It is only seen whether it can be one: something, one @ and something more, in one line.

    Raises:
        InvalidInput: it is not an e-mail address.
    """
    address = email.strip()
    if not _EMAIL.fullmatch(address) or not address.isprintable():
        raise InvalidInput(
            (
                Violation(
                    field="email",
                    description="is not an e-mail address. Give one such as jane@example.com.",
                ),
            )
        )
    return address


def _name(full_name: str | None) -> str | None:
    name = (full_name or "").strip()
    if len(name) > MAX_PERSON_NAME or not name.isprintable():
        raise InvalidInput(
            (
                Violation(
                    field="full_name",
                    description=f"must be a line of at most {MAX_PERSON_NAME} signs.",
                ),
            )
        )
    return name or None
