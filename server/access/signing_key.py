"""The key that signs tokens: made next to an SQLite file, but given in the settings for PostgreSQL.

Servers that share a database must share the key, or one would not accept the other's tokens. So
with PostgreSQL no server may make a key of its own.
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
# HS256 needs a key at least as long as its hash (RFC 7518, section 3.2).
_MIN_BYTES = 32


def signing_key(settings: Settings) -> SecretStr:
    """Return the key; its file is made if there is none and that is allowed.

    It may be made beside an SQLite file (mode 0600). With PostgreSQL and without authentication the
    key ends with the process, if no file is named.

    Raises:
        SettingsError: there is no key and none may be made, or it is weak or others can read it.
    """
    file = settings.jwt_key_file
    if settings.database_file is None:
        if file is None:
            if not settings.auth:
                # Nobody needs a token; those that are given out end with the process.
                return SecretStr(secrets.token_hex(32))
            raise SettingsError(
                f"{_WHAT}: is missing. With PostgreSQL every server needs the same key. Make one "
                "with: (umask 077; openssl rand -hex 32 > jwt.key), and name it."
            )
        return _read(file)
    if file is None:
        file = key_beside(settings.database_file)
    if not file.exists():
        _make(file)
    return _read(file)


def key_beside(database: Path) -> Path:
    """Return where the key of an SQLite database is, if the settings name no file.

    It goes by the real path: a service that opened the database through a link must use the same
    key as one that did not.
    """
    return Path(f"{os.path.realpath(database)}.jwt.key")


def _read(file: Path) -> SecretStr:
    key = read_secret_file(file, _WHAT)
    if len(key.get_secret_value().encode()) < _MIN_BYTES:
        raise SettingsError(
            f"{_WHAT}: {file} holds fewer than {_MIN_BYTES} characters, which can be guessed. Make "
            f"one with: (umask 077; openssl rand -hex 32 > {file})"
        )
    return key


def _make(file: Path) -> None:
    # Written completely or not at all, because two servers that start together must end up with
    # the same key.
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
