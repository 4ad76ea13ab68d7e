"""Files that settings come from: TOML, and files that hold one secret."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MAX_SHOWN = 60
# A key or a password is one line; anything larger is the wrong file.
_MAX_SECRET_BYTES = 64 * 1024


def read_toml(file: Path, kind: str) -> dict[str, Any]:  # Any: TOML holds what it holds
    """Read a TOML file.

    Args:
        file: The file.
        kind: What messages call it, such as "engines file".

    Raises:
        SettingsError: it can't be read, or is not TOML in UTF-8; the message says what to do.
    """
    try:
        # Some editors start a file with an invisible mark (BOM), which TOML does not allow.
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(
            f"Cannot read the {kind} {file} ({error.strerror}). Make it, or name another."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The {kind} {file} is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"The {kind} {file} is not TOML: {error}. Correct that place."
        ) from error


def known_keys(found: Iterable[str], known: tuple[str, ...], where: str) -> None:
    """Refuse an unknown key.

    Args:
        found: The keys that a table has.
        known: Those it may have.
        where: The file and table, for the message.

    Raises:
        SettingsError: one is unknown; the message suggests the known one that is most like it.
    """
    for key in found:
        if key not in known:
            raise SettingsError(f"{where}: unknown key {shown(key)}. {nearest(key, known)}")


def nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    """Say which known name was probably meant.

    Args:
        name: What was written, of any length.
        known: The names that there are.
        prefix: What a reader writes before each of them.

    Returns:
        A question that suggests one, or a sentence that lists all.
    """
    choices = list(known)
    near = difflib.get_close_matches(name[:_MAX_SHOWN], choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {prefix}{near[0]}?"
    return f"Known are {', '.join(prefix + choice for choice in choices)}."


def demand_private(file: Path, status: os.stat_result, what: str) -> None:
    """Refuse a file that anyone but this process's user could read or change.

    A file that root owns and shares through its group, with mode 0440 or 0640, is private too:
    that is how Kubernetes mounts a secret (fsGroup) and systemd passes a credential. PostgreSQL
    has the same rule for its clients' keys (its manual, "SSL Support", "Client Certificates").

    Args:
        file: What the message calls the file.
        status: The owner and mode of the open file.
        what: What the message calls the file's purpose.

    Raises:
        SettingsError: if others may read or change it.
    """
    handed_over = status.st_uid == 0 and os.geteuid() != 0
    if status.st_mode & (0o037 if handed_over else 0o077):
        remedy = (
            f"Have root run: chmod 640 {file} (a mounted secret: give it mode 0440)"
            if handed_over
            else f"Run: chmod 600 {file}"
        )
        raise SettingsError(
            f"{what}: {file} has mode {stat.S_IMODE(status.st_mode):04o}, so others may read or "
            f"change the secret. {remedy}"
        )


def read_regular(file: Path, what: str, *, most: int, private: bool, remedy: str) -> bytes:
    """Read a regular file; a pipe or a device, which could block the reader for ever, is refused.

    Args:
        file: The file; a symbolic link to one will do.
        what: What the messages call it, such as "PROVISIONER_ADMIN_PASSWORD_FILE".
        most: The most bytes to read; a file that has as many may have more.
        private: Whether it must be private, as `demand_private` says.
        remedy: What to do if it can't be read.

    Raises:
        SettingsError: if it can't be read, is not a regular file, or must be private and is not.
    """
    try:
        # Without blocking: opening a pipe would hang before we could see that it is one.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            # Checked through the open file, so that what was checked is what is read.
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SettingsError(f"{what}: {file} is not a regular file. Name a file.")
            if private:
                demand_private(file, status, what)
            return os.read(descriptor, most)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SettingsError(f"{what}: cannot read {file} ({error.strerror}). {remedy}") from error


def shown(text: str) -> str:
    """Show a value in a message: escaped, and not too long."""
    # repr escapes whatever a terminal or a log would act on.
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def read_secret_file(file: Path, what: str) -> SecretStr:
    """Read a key or a password from a private file.

    Args:
        file: The file; a symbolic link to one will do.
        what: What the messages call it, such as "PROVISIONER_ADMIN_PASSWORD_FILE".

    Returns:
        Its only line, without surrounding blanks.

    Raises:
        SettingsError: if it can't be read, others can read it, or it is not one line of text.
    """
    content = read_regular(
        file,
        what,
        most=_MAX_SECRET_BYTES + 1,
        private=True,
        remedy="Make the file, mode 0600, owned by the user of this process.",
    )
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = "\0"
    if not text:
        raise SettingsError(f"{what}: {file} is empty. Write the key or password into it.")
    if len(content) > _MAX_SECRET_BYTES or not text.isprintable():
        raise SettingsError(f"{what}: {file} is not one line of text. Check that it is the file.")
    return SecretStr(text)
