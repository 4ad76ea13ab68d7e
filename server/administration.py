"""What an administrator does on the machine with the database: users, members, keys, audit.

This is local on purpose: whoever can write to the database needs no sign-in, and the first
administrator can't sign in anywhere yet. Every change has a row in the audit, with the name of the
operating system's user.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.access.api_keys import ApiKeys, is_good
from server.access.passwords import Passwords, weakness
from server.access.policy import admit
from server.access.users import Users
from server.errors import InvalidInput, NotFound, ProvisionerError, StoreUnavailable, Violation
from server.model.access import MEMBER_ROLES
from server.model.actor import LOCAL, Role
from server.program import error_object
from server.settings import ensure_database_directory, load_settings
from server.store.access import AccessStore
from server.store.database import Database
from server.validation import validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from server.model.access import ApiKey, AuditEntry, User

# Any: what is printed as JSON.
Facts = dict[str, Any]

DONE, WRONG_USE, NOT_REACHABLE, NOT_FOUND = 0, 2, 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a command.

    Attributes:
        code: The process's exit code.
        facts: What is printed for scripts; `{"error": …}` if it failed.
        notes: What people are told in addition.
    """

    code: int
    facts: Facts
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """The parts that commands use, on an open database, whose url is without passwords."""

    database_url: str
    users: Users
    keys: ApiKeys
    store: AccessStore


def in_office(
    work: Callable[[Office], Awaitable[Result]],
    *,
    method: str,
    config: Path | None,
    database_url: str | None,
    existing: bool = True,
) -> Result:
    """Open the database, do the work, and return what came of it.

    Args:
        work: The work to do; an error that it raises on purpose becomes the result.
        method: Its method in the table of rights (`server.access.policy`).
        config: The settings file, or None.
        database_url: The database, if it is given as an option.
        existing: Refuse a database that does not exist or is empty (`Database.open`).

    Returns:
        What `work` returned; for an error its exit code, and the error as facts.
    """
    overrides = {} if database_url is None else {"database_url": database_url}

    async def body() -> Result:
        admit(_by(), method)
        async with AsyncExitStack() as stack:
            settings = load_settings(config=config, overrides=overrides, environ=os.environ)
            if not existing:
                ensure_database_directory(settings)
            database = await Database.open(settings.database_url, existing=existing)
            stack.push_async_callback(database.close)
            store = AccessStore(database)
            passwords = Passwords()
            stack.callback(passwords.close)
            return await work(
                Office(
                    database_url=settings.safe_database_url,
                    users=Users(store, passwords, now=_now),
                    keys=ApiKeys(store, now=_now),
                    store=store,
                )
            )

    try:
        return asyncio.run(body())
    except ProvisionerError as error:
        return _failed(error)


async def list_users(office: Office) -> Result:
    """Return all users, and the tenants of which they are members."""
    facts = [
        {**_user(user), "memberships": await _memberships(office, user)}
        for user in await office.users.all()
    ]
    return Result(code=DONE, facts={"users": facts})


async def add_user(
    office: Office,
    *,
    email: str,
    password: str | None,
    full_name: str | None,
    role: str,
    tenants: Sequence[str],
) -> Result:
    """Add a user.

    Args:
        office: The database's users and keys.
        email: The user's e-mail address.
        password: None for a user who can't sign in yet; a weak one is told of, and taken.
        full_name: The user's name; None for none.
        role: What the user may do, in any case of letters.
        tenants: The only tenants the user sees; all, if none is named.

    Raises:
        InvalidInput: a field is wrong.
        NotFound: there is no tenant of a named id.
        AlreadyExists: there is a user with that address.
        StoreUnavailable: the database can't be read or written, here and below.
    """
    members = await _checked_tenants(office, tenants)
    first = not await office.users.all()
    user = await office.users.add(
        _by(),
        email=email,
        password=password,
        full_name=full_name,
        role=_role(role),
        all_tenants=not members,
        # The old API's role in each tenant; the user's own role is still the most they may do.
        memberships=dict.fromkeys(members, "ADMIN"),
    )
    notes = () if password is None else _about(password)
    if first:
        # If the shell names no database, a new one was made just now, which nobody serves.
        notes += (f"The first user of {office.database_url}: serve that one to sign in.",)
    return Result(code=DONE, facts=_user(user), notes=notes)


async def set_password(office: Office, *, email: str, password: str) -> Result:
    """Give a user a new password, which ends the user's sign-ins.

    Args:
        office: The database's users and keys.
        email: The user's e-mail address or id, here and below.
        password: A weak one is told of, and taken.

    Raises:
        InvalidInput: it can't be a password.
        NotFound: there is no such user.
    """
    user = await office.users.find(email)
    await office.users.set_password(_by(), user, password)
    return Result(code=DONE, facts=await _again(office, user), notes=_about(password))


async def set_role(office: Office, *, email: str, role: str, all_tenants: bool | None) -> Result:
    """Change what a user may do, which ends the user's sign-ins.

    Args:
        office: The database's users and keys.
        email: The user.
        role: What the user may do, in any case of letters.
        all_tenants: Whether the user sees all tenants; None leaves that as it is.

    Raises:
        InvalidInput: there is no such role.
        NotFound: there is no such user.
    """
    user = await office.users.find(email)
    everywhere = user.all_tenants if all_tenants is None else all_tenants
    await office.users.set_role(_by(), user, _role(role), all_tenants=everywhere)
    return Result(code=DONE, facts=await _again(office, user))


async def set_disabled(office: Office, *, email: str, disabled: bool) -> Result:
    """Stop letting a user in, or let them in again.

    Args:
        office: The database's users and keys.
        email: The user.
        disabled: Which of the two; either ends the user's sign-ins.

    Raises:
        NotFound: there is no such user.
    """
    user = await office.users.find(email)
    change = office.users.disable if disabled else office.users.enable
    await change(_by(), user)
    return Result(code=DONE, facts=await _again(office, user))


async def join(office: Office, *, email: str, tenant: str, member_role: str) -> Result:
    """Make a user a member of a tenant, or change the role there.

    Args:
        office: The database's users and keys.
        email: The user.
        tenant: The tenant's id.
        member_role: A word of the old API (`MEMBER_ROLES`), in any case of letters.

    Raises:
        InvalidInput: the id or the role is wrong.
        NotFound: there is no such user or tenant.
    """
    word = member_role.strip().upper()
    if word not in MEMBER_ROLES:
        # Old clients may send any text, which then gives little; here it must be a mistake.
        says = f"must be {', '.join(MEMBER_ROLES[:-1])} or {MEMBER_ROLES[-1]}."
        raise InvalidInput((Violation(field="--as", description=says),))
    user = await office.users.find(email)
    (tenant_id,) = await _checked_tenants(office, [tenant])
    await office.users.join(_by(), user, tenant_id, word)
    return Result(code=DONE, facts=await _again(office, user))


async def leave(office: Office, *, email: str, tenant: str) -> Result:
    """End a user's membership of a tenant.

    Args:
        office: The database's users and keys.
        email: The user.
        tenant: The tenant's id; the tenant itself may be gone.

    Raises:
        InvalidInput: the id is wrong.
        NotFound: there is no such user or membership.
    """
    user = await office.users.find(email)
    await office.users.leave(_by(), user, validate_tenant_id(tenant))
    return Result(code=DONE, facts=await _again(office, user))


async def create_key(
    office: Office, *, name: str, role: str, tenants: Sequence[str], days: int
) -> Result:
    """Make a key for a machine, and show it this one time.

    Args:
        office: The database's users and keys.
        name: What lists and the audit call the key.
        role: The most it may do.
        tenants: The only ones it may see; all, if none is named.
        days: After how many days it expires.

    Raises:
        InvalidInput: a field is wrong.
        NotFound: there is no tenant of a named id.
    """
    checked = await _checked_tenants(office, tenants)
    made = await office.keys.create(
        _by(),
        name=name,
        role=_role(role),
        tenants=frozenset(checked) if checked else None,
        days=days,
    )
    return Result(
        code=DONE,
        facts={**_key(made.key), "key": made.text.get_secret_value()},
        notes=("The key is shown this once. Keep it where only the machine can read it.",),
    )


async def list_keys(office: Office) -> Result:
    """Return all keys, without their secrets."""
    return Result(code=DONE, facts={"keys": [_key(key) for key in await office.keys.all()]})


async def revoke_key(office: Office, *, name: str) -> Result:
    """Revoke a key.

    Args:
        office: The database's users and keys.
        name: The key's name or id.

    Raises:
        NotFound: there is no such key that is still valid.
    """
    ended = await office.keys.revoke(_by(), name)
    return Result(code=DONE, facts={"revoked": [_key(key) for key in ended]})


async def read_audit(
    office: Office, *, limit: int, target: str | None, actor: str | None
) -> Result:
    """Return the newest rows of the audit, newest first.

    Args:
        office: The database's users and keys.
        limit: The most rows to return.
        target: Only rows about this tenant, user or key, exactly as it is noted; None for all.
        actor: Only rows of this actor, exactly as it is noted; None for all.
    """
    rows = await office.store.audit(limit=limit, target=target, actor=actor)
    return Result(code=DONE, facts={"audit": [_audit(row) for row in rows]})


def _by() -> Any:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        name = str(os.getuid())
    return replace(LOCAL, origin=f"command line, {name}")


def _now() -> datetime:
    return datetime.now(UTC)


def _role(word: str) -> Role:
    role = Role.parse(word.strip().upper())
    if role is None:
        raise InvalidInput(
            (Violation(field="role", description="must be viewer, operator or admin."),)
        )
    return role


async def _checked_tenants(office: Office, tenants: Sequence[str]) -> list[str]:
    checked: list[str] = [validate_tenant_id(tenant) for tenant in tenants]
    for tenant_id in checked:
        if not await office.store.tenant_exists(tenant_id):
            raise NotFound(f"No tenant {tenant_id}. See them with: provisioner list")
    return checked


def _about(password: str) -> tuple[str, ...]:
    weak = weakness(password)
    return (f"The password {weak}. Choose a long one.",) if weak else ()


async def _again(office: Office, user: User) -> Facts:
    now = await office.users.by_id(user.id)
    return {**_user(now or user), "memberships": await _memberships(office, user)}


async def _memberships(office: Office, user: User) -> list[Facts]:
    return [
        {"tenant_id": each.tenant_id, "role": each.role, "status": each.status.value}
        for each in await office.users.memberships(user.id)
    ]


def _user(user: User) -> Facts:
    return {
        "email": user.email,
        "role": user.role.value,
        "all_tenants": user.all_tenants,
        "full_name": user.full_name,
        "code": user.code,
        "id": user.id,
        "has_password": user.has_password,
        "disabled_at": _time(user.disabled_at),
        "created_at": _time(user.created_at),
    }


def _key(key: ApiKey) -> Facts:
    return {
        "name": key.name,
        "id": key.id,
        "role": key.role.value,
        "tenants": None if key.tenants is None else sorted(key.tenants),
        "good": is_good(key, _now()),
        "created_by": key.created_by,
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "revoked_at": _time(key.revoked_at),
    }


def _audit(row: AuditEntry) -> Facts:
    return {
        "at": _time(row.at),
        "actor": row.actor,
        "role": row.role,
        "origin": row.origin,
        "action": row.action,
        "target": row.target,
        "outcome": row.outcome,
        "request_id": row.request_id,
        "reason": row.reason,
    }


def _time(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _failed(error: ProvisionerError) -> Result:
    code = WRONG_USE
    if isinstance(error, NotFound):
        code = NOT_FOUND
    elif isinstance(error, StoreUnavailable):
        code = NOT_REACHABLE
    return Result(code=code, facts=error_object(error))
