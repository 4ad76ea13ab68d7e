"""Passwords, hashed with argon2 off the event loop, in the same time whether or not a user exists.

A hash takes 19 MiB and some 20 ms (OWASP's setting for argon2id): enough to make guessing
expensive, and little enough that two at a time don't starve the runs in the same process.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from server.errors import InvalidInput, Violation
from server.limits import MAX_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

# The administrators' password in old scripts and manuals.
LEGACY_PASSWORD = "admin123"  # noqa: S105 - the very one that must not be used
MIN_PASSWORD = 8

# The first things anybody tries.
_WELL_KNOWN = frozenset(
    {
        *("admin", "admin123", "admin1234", "administrator", "changeme", "change-me", "default"),
        *("letmein", "letmein1", "password", "password1", "password123", "passw0rd", "p@ssw0rd"),
        *("12345678", "123456789", "1234567890", "11111111", "00000000", "qwertyui", "qwerty123"),
        *("secret", "secret123", "provisioner", "erpnext", "frappe", "iloveyou", "welcome1"),
        *("welcome123", "root", "test", "test1234", "abcd1234", "abc12345"),
    }
)
_FEW_SIGNS = 4


def weakness(password: str) -> str:
    """Return why a password is too weak for a server that others can reach; "" if it is not.

    The answer never repeats the password. It continues a sentence that begins with it: "has fewer
    than 8 characters".
    """
    if len(password) < MIN_PASSWORD:
        return f"has fewer than {MIN_PASSWORD} characters"
    if password.casefold() in _WELL_KNOWN:
        return "is one of the first that anybody tries"
    if len(set(password)) < _FEW_SIGNS:
        return "is made of the same few characters"
    return ""


class Passwords:
    """Hashes and verifies passwords, two at a time; must be closed with `close`."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="passwords")

    async def hashed(self, password: str) -> str:
        """Return the hash to store; waits for its turn, and some 20 ms more."""
        return await self._aside(_hasher().hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Tell whether a password is right; takes as long whether or not there is a hash.

        Args:
            stored: The hash; None, or a text that is none, matches nothing.
            password: What was typed; its caller limits the length, with which the time to hash
                grows.
        """
        if stored is None:
            await self._aside(_verify, _dummy_hash(), password)
            return False
        return await self._aside(_verify, stored, password)

    def close(self) -> None:
        """Release the threads."""
        self._threads.shutdown(wait=False)

    async def _aside(self, work: Callable[..., T], *arguments: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def check_password(password: str, field: str) -> str:
    """Return the password, if it can be one: 1 to `MAX_PASSWORD` characters, however weak.

    Args:
        password: The password as it was sent.
        field: What the refusal names as the wrong field.

    Raises:
        InvalidInput: it is empty, too long or has a NUL; the message does not show it.
    """
    if not password or len(password) > MAX_PASSWORD or "\0" in password:
        raise InvalidInput(
            (
                Violation(
                    field=field, description=f"must have 1 to {MAX_PASSWORD} characters, no NUL."
                ),
            )
        )
    return password


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


@cache
def _dummy_hash() -> str:
    return _hasher().hash("nobody's password")


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
