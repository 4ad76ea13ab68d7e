"""Turns what a caller sends (a token, a machine's key, or nothing) into an actor.

What was verified is remembered for a few seconds, keyed by a hash: to check a signature and make
two reads would cost more than the call itself. Changes made in this process clear the memory at
once; changes made in another process take effect when a token's time in the memory is over.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.access.api_keys import PREFIX
from server.errors import NotSignedIn
from server.model.access import MembershipStatus, tenants_of
from server.model.actor import LOCAL, Actor, Role

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.access.api_keys import ApiKeys
    from server.access.tokens import Claims, Tokens
    from server.model.access import User
    from server.store.access import AccessStore

# A user who is disabled in another process is locked out here after this time.
REMEMBER_SECONDS = 5.0
_MAX_REMEMBERED = 10_000
_BEARER = "bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verified:
    actor: Actor
    expires_at: float
    checked_at: float


class Authenticator:
    """Finds out who calls."""

    def __init__(
        self,
        store: AccessStore,
        tokens: Tokens,
        keys: ApiKeys,
        *,
        now: Callable[[], datetime],
        compat: bool,
        required: bool,
    ) -> None:
        """Take the parts it needs.

        Args:
            store: The users' rows.
            tokens: Reads tokens.
            keys: Checks keys.
            now: Returns the current time.
            compat: Whether every member may drive their tenant on, as in the old API.
            required: Whether callers must sign in; without authentication everybody is `local`.
        """
        self.required = required
        self._store = store
        self._tokens = tokens
        self._keys = keys
        self._now = now
        self._compat = compat
        # Grows with each `forget`, so that what was read before it is not remembered after it.
        self._forgotten = 0
        self._remembered: OrderedDict[bytes, _Verified] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[_Verified | None]] = {}

    async def actor(self, authorization: str | None, *, origin: str) -> Actor:
        """Return who calls.

        Args:
            authorization: The header (HTTP) or metadata (gRPC) of that name; None if not sent.
            origin: Where the call comes from, for the audit.

        Raises:
            NotSignedIn: nothing was sent, or it is not valid (any more).
            StoreUnavailable: the database can't be read now.
        """
        # The first thing in every call: without a database, everything after it would only wait.
        self._store.demand_there()
        if not self.required:
            known = await self.known(authorization, origin=origin)
            return replace(LOCAL, origin=origin, user_id="" if known is None else known.user_id)
        if not authorization:
            raise NotSignedIn(
                "Nobody is signed in. Sign in with provisioner login EMAIL, or send a token as "
                "authorization: Bearer …"
            )
        known = await self.known(authorization, origin=origin)
        if known is None:
            raise NotSignedIn(
                "This token is not valid, or no longer. Sign in again with: provisioner login "
                "EMAIL",
                code="TOKEN_INVALID",
            )
        return known

    async def known(self, authorization: str | None, *, origin: str) -> Actor | None:
        """Return who calls, if that can be told; this works even if nobody must sign in.

        Args:
            authorization: The header (HTTP) or metadata (gRPC) of that name; None if not sent.
            origin: Where the call comes from, for the audit.

        Returns:
            None if nothing was sent, or nothing that is valid (any more). What was verified counts
            for up to `REMEMBER_SECONDS`.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        credential = _credential(authorization)
        if not credential:
            return None
        digest = hashlib.sha256(credential.encode("utf-8", "replace")).digest()
        now = self._now().timestamp()
        verified = self._remembered.get(digest)
        if verified is None or not _still(verified, now):
            verified = await self._verified(digest, credential)
            if verified is None:
                return None
        if verified.actor.origin != origin:
            # Most callers come from one place, so the next call will not need a new actor.
            verified = replace(verified, actor=replace(verified.actor, origin=origin))
            if digest in self._remembered:
                self._remembered[digest] = verified
        return verified.actor

    def forget(self) -> None:
        """Check every token again from now on, because somebody's rights have changed."""
        self._forgotten += 1
        self._remembered.clear()
        # A call that comes now must not share a check that began before.
        self._under_way.clear()

    @property
    def times_forgotten(self) -> int:
        """How often rights have changed; whoever was let in since the last change still is."""
        return self._forgotten

    async def _verified(self, digest: bytes, credential: str) -> _Verified | None:
        """Verify a token once for all calls that come with it at the same time.

        With the same line, hundreds of streams of one caller find that it must be checked again.
        """
        task = self._under_way.get(digest)
        if task is None:
            task = asyncio.create_task(self._anew(digest, credential), name="verify-token")
            self._under_way[digest] = task
            task.add_done_callback(lambda done: self._done(digest, done))
        return await asyncio.shield(task)

    async def _anew(self, digest: bytes, credential: str) -> _Verified | None:
        forgotten = self._forgotten
        verified = await self._verify(credential, self._now().timestamp())
        if verified is None:
            self._remembered.pop(digest, None)
        elif forgotten == self._forgotten:
            self._remember(digest, verified)
        return verified

    def _done(self, digest: bytes, task: asyncio.Task[_Verified | None]) -> None:
        if self._under_way.get(digest) is task:
            del self._under_way[digest]
        if not task.cancelled():
            # Retrieved here, because perhaps everybody who waited for it has left.
            task.exception()

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        self._remembered[digest] = verified
        self._remembered.move_to_end(digest)
        while len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    async def _verify(self, credential: str, now: float) -> _Verified | None:
        if credential.startswith(PREFIX):
            key = await self._keys.verify(credential)
            if key is None:
                return None
            tenants = None if key.tenants is None else dict.fromkeys(key.tenants, key.role)
            actor = Actor(name=f"key:{key.name}", role=key.role, tenants=tenants)
            return _Verified(actor=actor, expires_at=key.expires_at.timestamp(), checked_at=now)
        claims = self._tokens.read(credential)
        if claims is None:
            return None
        user = await self._store.user(claims.user_id)
        if user is None or user.disabled_at is not None or user.token_epoch != claims.epoch:
            return None
        found = await self._of_user(user, claims)
        if found is None:
            return None
        return _Verified(actor=found, expires_at=claims.expires_at, checked_at=now)

    async def tenants_of(self, user: User) -> dict[str, Role] | None:
        """Return the tenants that a user sees, with the role in each; None means all tenants.

        Memberships to which the user is only invited do not count.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        if user.all_tenants:
            return None
        words = {
            membership.tenant_id: membership.role
            for membership in await self._store.memberships(user.id)
            if membership.status is MembershipStatus.ACTIVE
        }
        return tenants_of(user, words, compat=self._compat)

    async def _of_user(self, user: User, claims: Claims) -> Actor | None:
        tenants = await self.tenants_of(user)
        if claims.tenant_id:
            # The token is for this tenant only, whatever else the user may see.
            role = user.role if tenants is None else tenants.get(claims.tenant_id)
            if role is None:
                return None
            tenants = {claims.tenant_id: role}
        return actor_of(user, tenants)


def actor_of(user: User, tenants: dict[str, Role] | None) -> Actor:
    """Return a user as an actor, with the highest role among the tenants.

    Args:
        user: The user.
        tenants: As `Authenticator.tenants_of` returns them; a user of none is a viewer who sees
            nothing.
    """
    order = list(Role)
    role = user.role
    if tenants is not None:
        role = max(tenants.values(), key=order.index, default=Role.VIEWER)
    return Actor(name=user.email, role=role, tenants=tenants, user_id=user.id)


def _still(verified: _Verified, now: float) -> bool:
    # A clock that was set back must not prolong what is remembered.
    return now < verified.expires_at and 0 <= now - verified.checked_at < REMEMBER_SECONDS


def _credential(authorization: str | None) -> str:
    """Return what follows "Bearer", or ""."""
    if authorization is None or authorization[: len(_BEARER)].lower() != _BEARER:
        return ""
    return authorization[len(_BEARER) :].strip()
