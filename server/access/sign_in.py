"""Gives a token for an e-mail address and a password.

An unknown e-mail address, a user without a password, a disabled user and a wrong password get the
same answer after the same work. Tries are counted by account, known or not, and by network address,
before any hash is computed. If tries that are under way fill the limit, the next one waits for
their results: a test suite whose scripts all sign in at once has made no wrong try.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server.access.passwords import LEGACY_PASSWORD
from server.access.throttle import Throttle
from server.access.trail import entry
from server.errors import NotSignedIn, StoreUnavailable, Throttled
from server.limits import (
    MAX_EMAIL,
    MAX_PASSWORD,
    SIGN_IN_SECONDS,
    SIGN_INS_PER_ACCOUNT,
    SIGN_INS_PER_ADDRESS,
)
from server.model.access import fold_email
from server.model.actor import Actor, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from server.access.passwords import Passwords
    from server.access.tokens import IssuedToken, Tokens
    from server.model.access import User
    from server.store.access import AccessStore

_log = structlog.get_logger(__name__)

# The user that the old scripts sign in as, most of them with LEGACY_PASSWORD.
LEGACY_ADMIN = "admin@moran.com"
OTHER_LEGACY_SIGN_IN = (LEGACY_ADMIN, "admin")
# What the audit says instead of it.
_NO_ADDRESS = "not an address"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """Who signed in, and their new token."""

    user: User
    token: IssuedToken


class SignIn:
    """Lets users in."""

    def __init__(
        self,
        store: AccessStore,
        passwords: Passwords,
        tokens: Tokens,
        *,
        now: Callable[[], datetime],
        clock: Callable[[], float],
        old_clients: bool = False,
    ) -> None:
        """Take the parts it needs.

        Args:
            store: The users' rows.
            passwords: Verifies passwords.
            tokens: Makes tokens.
            now: Returns the current time.
            clock: A clock in seconds.
            old_clients: Whether this server is for old scripts, and for this machine only.
        """
        self._store = store
        self._passwords = passwords
        self._tokens = tokens
        self._now = now
        self._old_clients = old_clients
        self._by_account = Throttle(SIGN_INS_PER_ACCOUNT, SIGN_IN_SECONDS, clock)
        self._by_address = Throttle(SIGN_INS_PER_ADDRESS, SIGN_IN_SECONDS, clock)
        self._ended = asyncio.Event()

    async def sign_in(self, email: str, password: str, *, origin: str) -> SignedIn:
        """Give a user a token.

        Args:
            email: The e-mail address as it was typed.
            password: The password as it was typed.
            origin: The interface and the caller's address, such as "http 10.1.2.3".

        Returns:
            The user and a token for all that the user sees.

        Raises:
            NotSignedIn: the e-mail address or the password is wrong; the error does not say which.
            Throttled: there were too many tries; even the right password is refused.
            StoreUnavailable: the database can't be read now, or the audit's row can't be written.
        """
        self._store.demand_there()
        account = fold_email(email)[:MAX_EMAIL]
        tries = ((self._by_account, account), (self._by_address, origin))
        await self._begin(tries, origin)
        wrong = True
        try:
            user = await self._known(account, email, password, origin)
            wrong = False
        except StoreUnavailable:
            # The caller learned nothing about the password, and it may have been right.
            wrong = False
            raise
        finally:
            for throttle, key in tries:
                throttle.end(key, wrong=wrong)
            self._ended.set()
            self._ended = asyncio.Event()
        noted = entry(
            Actor(name=user.email, role=user.role, origin=origin),
            self._now(),
            action="SignIn",
            target=user.email,
        )
        await self._store.note(noted)
        return SignedIn(user=user, token=self._tokens.identity(user))

    async def _known(self, account: str, email: str, password: str, origin: str) -> User:
        user = await self._store.user_by_email(account)
        stored = None if user is None else await self._store.password_hash(user.id)
        tried = password[: MAX_PASSWORD + 1]
        if self._old_clients and (account, password) == OTHER_LEGACY_SIGN_IN:
            # One of the old scripts uses a shorter password than all the others.
            tried = LEGACY_PASSWORD
        good = await self._passwords.matches(stored, tried)
        if user is None or not good or user.disabled_at is not None:
            # Every user's address has an @. What has none may be a password, typed a line too soon.
            name, target = (
                (email.strip()[:MAX_EMAIL], account) if "@" in account else (_NO_ADDRESS,) * 2
            )
            who = Actor(name=name, role=Role.VIEWER, origin=origin)
            await self._store.note(
                entry(who, self._now(), action="SignIn", target=target, outcome="BAD_CREDENTIALS")
            )
            raise NotSignedIn("Incorrect email or password", code="BAD_CREDENTIALS")
        return user

    async def _begin(self, tries: Sequence[tuple[Throttle, str]], origin: str) -> None:
        while (wait := max(throttle.wait_seconds(key) for throttle, key in tries)) > 0:
            if any(throttle.is_used_up(key) for throttle, key in tries):
                _log.warning("sign_in.throttled", origin=origin, wait_seconds=round(wait))
                raise Throttled(
                    f"Too many tries to sign in. Try again in {wait:.0f} s.",
                    retry_after_seconds=wait,
                )
            await self._ended.wait()
        for throttle, key in tries:
            throttle.begin(key)
