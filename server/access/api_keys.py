"""Keys for machines: shown once, stored as a hash, limited in time, and revocable.

A key looks like `provisioner_<id>_<secret>`, so that scanners for leaked secrets can recognise it,
and its row can be found without trying every hash.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import SecretStr

from server.access.trail import entry
from server.errors import InvalidInput, NotFound, Violation
from server.model.access import ApiKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.model.actor import Actor, Role
    from server.store.access import AccessStore

PREFIX = "provisioner_"
DEFAULT_DAYS = 90
MAX_DAYS = 730

_KEY = re.compile(r"provisioner_([0-9a-f]{16})_([A-Za-z0-9_-]{43})", re.ASCII)
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made, which is the only time its text can be seen.

    Attributes:
        text: What the machine sends after "Bearer"; only its hash is stored.
    """

    key: ApiKey
    text: SecretStr


class ApiKeys:
    """Makes, lists, checks and revokes keys. Whether the caller may is checked before.

    Every method raises `StoreUnavailable` if the database can't be read or written.
    """

    def __init__(
        self,
        store: AccessStore,
        *,
        now: Callable[[], datetime],
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take the parts it needs.

        Args:
            store: The keys' rows.
            now: Returns the current time, in UTC.
            changed: Called after a key was revoked: what was verified before must not count any
                more.
        """
        self._store = store
        self._now = now
        self._changed = changed

    async def create(
        self,
        by: Actor,
        *,
        name: str,
        role: Role,
        tenants: frozenset[str] | None = None,
        days: int = DEFAULT_DAYS,
    ) -> NewKey:
        """Make a key.

        Args:
            by: Who makes it.
            name: A name for people; as a caller the machine is called `key:NAME`.
            role: What the machine may do.
            tenants: The tenants with which it may do that; None for all of them.
            days: How many days the key is valid, from 1 to `MAX_DAYS`.

        Returns:
            The key with its text, which nobody can ask for again.

        Raises:
            InvalidInput: a field is wrong, or a key with that name is still valid.
            StoreUnavailable: the database can't be read or written.
        """
        now = self._now()
        _check(name, days)
        if any(each.name == name and is_good(each, now) for each in await self._store.api_keys()):
            in_use = f"a key {name} is in use. Revoke it first, or choose another name."
            raise InvalidInput((Violation(field="name", description=in_use),))
        secret = secrets.token_urlsafe(32)
        key = ApiKey(
            # Begins with the time, so that keys are listed in the order in which they were made.
            id=f"{int(now.timestamp()):08x}{secrets.token_hex(4)}",
            name=name,
            role=role,
            tenants=tenants,
            created_by=by.name,
            created_at=now,
            expires_at=now + timedelta(days=days),
            revoked_at=None,
        )
        where = "all tenants" if tenants is None else ", ".join(sorted(tenants))
        noted = f"as {role.value} for {days} days, {where}"
        await self._store.add_api_key(
            key,
            secret_hash=_hash(secret),
            entry=entry(by, now, action="CreateKey", target=f"key:{name}", reason=noted),
        )
        return NewKey(key=key, text=SecretStr(f"{PREFIX}{key.id}_{secret}"))

    async def all(self) -> list[ApiKey]:
        """Return all keys, newest first, without their secrets."""
        return await self._store.api_keys()

    async def revoke(self, by: Actor, name_or_id: str) -> list[ApiKey]:
        """Revoke all keys with a name, or the one with an id.

        Args:
            by: Who revokes them.
            name_or_id: A key's name or id, exactly.

        Returns:
            The keys as they were a moment before, the newest first.

        Raises:
            NotFound: none of them is still valid.
            StoreUnavailable: the database can't be read or written; some may be revoked already.
        """
        now = self._now()
        ended = [
            key
            for key in await self._store.api_keys()
            if name_or_id in {key.name, key.id} and is_good(key, now)
        ]
        if not ended:
            raise NotFound(
                f"No key {name_or_id!r} that is still good. See them with: provisioner users keys "
                "list",
                code="KEY_NOT_FOUND",
            )
        for key in ended:
            await self._store.revoke_api_key(
                key.id, now, entry=entry(by, now, action="RevokeKey", target=f"key:{key.name}")
            )
        self._changed()
        return ended

    async def verify(self, text: str) -> ApiKey | None:
        """Return the key that a machine sent.

        Args:
            text: What followed "Bearer", whatever it is.

        Returns:
            None if it is not one of our keys, its secret is wrong, or it is no longer valid.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        found = await self._store.api_key(match[1])
        if found is None:
            return None
        key, secret_hash = found
        if not hmac.compare_digest(secret_hash, _hash(match[2])):
            return None
        return key if is_good(key, self._now()) else None


def _check(name: str, days: int) -> None:
    violations = []
    if not _NAME.fullmatch(name):
        violations.append(
            Violation(
                field="name", description="must have a-z, 0-9, dot, _ and - only, at most 63."
            )
        )
    if not 1 <= days <= MAX_DAYS:
        violations.append(
            Violation(field="days", description=f"must be a number from 1 to {MAX_DAYS}.")
        )
    if violations:
        raise InvalidInput(tuple(violations))


def is_good(key: ApiKey, now: datetime) -> bool:
    """Tell whether a key is still valid: neither revoked nor expired."""
    return key.revoked_at is None and now < key.expires_at


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
