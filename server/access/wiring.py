"""Puts the parts of this package together, and makes the first administrator."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from server.access.api_keys import ApiKeys
from server.access.authenticator import Authenticator
from server.access.call_rate import CallRate
from server.access.passwords import LEGACY_PASSWORD, Passwords, weakness
from server.access.policy import READING, RULES
from server.access.sign_in import LEGACY_ADMIN, SignIn
from server.access.signing_key import signing_key
from server.access.tokens import Tokens
from server.access.trail import entry
from server.access.users import Users
from server.errors import AlreadyExists, SettingsError
from server.model.actor import Actor, Role
from server.settings import read_secret_file
from server.store.access import AccessStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AsyncExitStack
    from datetime import datetime

    from server.settings import Settings
    from server.store.database import Database

_log = structlog.get_logger(__name__)

_SETUP = Actor(name="setup", role=Role.ADMIN, origin="start-up")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything about who may come in, over one store."""

    users: Users
    keys: ApiKeys
    tokens: Tokens
    sign_in: SignIn
    authenticator: Authenticator
    store: AccessStore
    passwords: Passwords
    now: Callable[[], datetime]
    rate: CallRate

    async def note_refusal(self, actor: Actor, method: str, code: str) -> None:
        """Record in the audit that an order was refused at the edge.

        Refused reads are not recorded, because they are not orders.

        Args:
            actor: Who gave the order.
            method: The rpc's bare name; one without a rule counts as an order.
            code: The code of the refusal.

        Raises:
            StoreUnavailable: the row can't be written.
        """
        if RULES.get(method) not in READING:
            await self.store.note(entry(actor, self.now(), action=method, outcome=code))


async def open_access(
    settings: Settings,
    database: Database,
    stack: AsyncExitStack,
    *,
    now: Callable[[], datetime],
    clock: Callable[[], float] = time.monotonic,
) -> Access:
    """Put the parts together, and make the administrators that the settings ask for.

    Args:
        settings: The process's settings.
        database: The database, already open.
        stack: Closes what is opened here.
        now: Returns the current time.
        clock: A clock in seconds, for limits.

    Raises:
        SettingsError: a key or a password may not be used, with what to do.
        StoreUnavailable: the database does not answer.
    """
    store = AccessStore(database)
    passwords = Passwords()
    stack.callback(passwords.close)
    tokens = Tokens(signing_key(settings), now=now, compat=settings.compat)
    keys = ApiKeys(store, now=now, changed=lambda: authenticator.forget())  # noqa: PLW0108 - made below
    authenticator = Authenticator(
        store, tokens, keys, now=now, compat=settings.compat, required=settings.auth
    )
    users = Users(store, passwords, now=now, changed=authenticator.forget)
    access = Access(
        users=users,
        keys=keys,
        tokens=tokens,
        sign_in=SignIn(
            store,
            passwords,
            tokens,
            now=now,
            clock=clock,
            old_clients=settings.opens_to_old_clients,
        ),
        authenticator=authenticator,
        store=store,
        passwords=passwords,
        now=now,
        rate=CallRate(settings.calls_per_second, clock),
    )
    await _first_administrator(settings, access)
    await _legacy_administrator(settings, access)
    return access


async def _first_administrator(settings: Settings, access: Access) -> None:
    """Make the administrator in the settings; an existing one keeps their password."""
    password = settings.admin_password
    if settings.admin_password_file is not None:
        password = read_secret_file(settings.admin_password_file, "PROVISIONER_ADMIN_PASSWORD_FILE")
    if password is not None:
        _judge_password(settings, password.get_secret_value(), "PROVISIONER_ADMIN_PASSWORD")
    if settings.admin_email is None:
        if password is not None:
            raise SettingsError(
                "PROVISIONER_ADMIN_PASSWORD is given, but not PROVISIONER_ADMIN_EMAIL. Give both."
            )
        return
    if await access.users.by_email(settings.admin_email) is not None:
        return
    if password is None:
        raise SettingsError(
            "PROVISIONER_ADMIN_EMAIL is given, but no password. Give "
            "PROVISIONER_ADMIN_PASSWORD_FILE too."
        )
    await _add(access, settings.admin_email, password.get_secret_value())


async def _legacy_administrator(settings: Settings, access: Access) -> None:
    """Make the administrator that old scripts know, whose password is known to everybody."""
    if settings.is_exposed and not settings.insecure:
        known = await access.users.by_email(LEGACY_ADMIN)
        if known is None or known.disabled_at is not None:
            return
        stored = await access.store.password_hash(known.id)
        if stored is not None and await access.passwords.matches(stored, LEGACY_PASSWORD):
            raise SettingsError(
                f"User {LEGACY_ADMIN} has the password of the old scripts, and others may reach "
                f"this server. Run: provisioner users password {LEGACY_ADMIN} (or: provisioner "
                f"users disable {LEGACY_ADMIN})."
            )
        return
    if settings.compat and await access.users.by_email(LEGACY_ADMIN) is None:
        await _add(access, LEGACY_ADMIN, LEGACY_PASSWORD)


async def _add(access: Access, email: str, password: str) -> None:
    try:
        await access.users.add(
            _SETUP, email=email, password=password, role=Role.ADMIN, all_tenants=True
        )
    except AlreadyExists:
        # Another server, which started at the same moment, was faster.
        return
    _log.info("users.administrator_made", email=email)


def _judge_password(settings: Settings, password: str, what: str) -> None:
    weak = weakness(password)
    if not weak:
        return
    if settings.is_exposed and not settings.insecure:
        raise SettingsError(
            f"{what}: {weak}, and others may reach this server. Choose a long one, or listen on "
            "127.0.0.1."
        )
    _log.warning("settings.weak_password", setting=what, problem=weak)
