"""The key that signs tokens: made beside an SQLite file, brought along with PostgreSQL.

Servers that share a database must share the key, or a token of one is nothing to the
other; so with PostgreSQL nobody may make one by himself.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from server.errors import SettingsError
from server.settings import read_secret_file

if TYPE_CHECKING:
    from server.settings import Settings

_WHAT = "PROVISIONER_JWT_KEY_FILE"
# HS256 wants a key as long as its hash (RFC 7518, section 3.2).
_MIN_BYTES = 32


def signing_key(settings: Settings) -> SecretStr:
    """Return the key, making its file where that is allowed.

    Raises:
        SettingsError: there is none and none may be made, or it is weak or open to others.
    """
    file = settings.jwt_key_file
    if settings.database_file is None:
        if file is None:
            if not settings.auth:
                # Nobody needs a token; those given out end with the process.
                return SecretStr(secrets.token_hex(32))
            raise SettingsError(
                f"{_WHAT}: is missing. With PostgreSQL every server needs the same key. Make one "
                "with: (umask 077; openssl rand -hex 32 > jwt.key), and name it."
            )
        return _read(file)
    if file is None:
        # The file itself: a service that came by a link must sign as the one that did not.
        file = Path(f"{os.path.realpath(settings.database_file)}.jwt.key")
    if not file.exists():
        _make(file)
    return _read(file)


def _read(file: Path) -> SecretStr:
    key = read_secret_file(file, _WHAT)
    if len(key.get_secret_value().encode()) < _MIN_BYTES:
        raise SettingsError(
            f"{_WHAT}: {file} holds fewer than {_MIN_BYTES} characters, which can be guessed. Make "
            f"one with: (umask 077; openssl rand -hex 32 > {file})"
        )
    return key


def _make(file: Path) -> None:
    # Whole or not at all: two servers that start together must end with one key.
    fresh = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "w") as handle:
                handle.write(secrets.token_hex(32) + "\n")
                handle.flush()
                os.fsync(handle.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, file)
        finally:
            fresh.unlink()
    except OSError as error:
        raise SettingsError(
            f"{_WHAT}: cannot make {file} ({error.strerror}). Make it with: (umask 077; openssl "
            f"rand -hex 32 > {file}), or name another."
        ) from error
