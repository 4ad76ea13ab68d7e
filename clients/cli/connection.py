"""How a command reaches the service, and as whom: environment first, then the profile.

A profile is what `login` wrote: an address, a token, and whom to trust. Its token goes to
that address only. It lies in the user's configuration directory, for its owner only; a
file that others can read is not read.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN = "PROVISIONER_TOKEN"  # noqa: S105 - a name
TLS_CA = "PROVISIONER_TLS_CA"
PROFILE = "PROVISIONER_PROFILE"
# Trust whom this machine trusts.
SYSTEM = "system"

_DEFAULT_PROFILE = "default"
_FILE = "profiles.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where to call, and as whom.

    Attributes:
        tls_ca: A PEM file, "system", or "" for no TLS.
    """

    address: str
    user: str
    token: str = field(repr=False)
    expires_at: str
    tls_ca: str


def directory() -> Path:
    """Return where profiles lie."""
    return Path(platformdirs.user_config_dir("tenant-provisioner"))


def profile_name() -> str:
    """Return the name of the profile that is in use."""
    return os.environ.get(PROFILE) or _DEFAULT_PROFILE


def current() -> Profile | None:
    """Return the profile that is in use, or None."""
    stored = _read().get(profile_name())
    if stored is None:
        return None
    try:
        return Profile(**stored)
    except TypeError as error:
        raise typer.BadParameter(
            f"{directory() / _FILE} holds no profile that can be read. Remove it, and sign in "
            "again with: provisioner login"
        ) from error


def save(profile: Profile | None) -> Path:
    """Write the profile that is in use, or remove it; return the file."""
    stored = _read()
    if profile is None:
        stored.pop(profile_name(), None)
    else:
        stored[profile_name()] = asdict(profile)
    return _write(stored)


def token_for(address: str) -> str:
    """Return the token to send to an address; "" for none."""
    told = os.environ.get(TOKEN, "").strip()
    if told:
        return told
    profile = current()
    return profile.token if profile is not None and profile.address == address else ""


def tls_ca_for(address: str) -> str:
    """Return whom to trust at an address: a PEM file, "system", or "" for no TLS."""
    told = os.environ.get(TLS_CA, "").strip()
    if told:
        return told
    profile = current()
    return profile.tls_ca if profile is not None and profile.address == address else ""


def from_anywhere(tls_ca: str) -> str:
    """Return whom to trust as a profile keeps it: later commands run in other folders."""
    return tls_ca if tls_ca in {"", SYSTEM} else str(Path(tls_ca).absolute())


def authorities(tls_ca: str) -> bytes | None:
    """Return the certificates to trust, in PEM; None: the machine's own."""
    if tls_ca == SYSTEM:
        return None
    try:
        return Path(tls_ca).read_bytes()
    except OSError as error:
        raise typer.BadParameter(
            f"Cannot read the certificates {tls_ca!r} ({error.strerror}). Name a PEM file with "
            f'--tls-ca or {TLS_CA}, or "{SYSTEM}".'
        ) from error


def _read() -> dict[str, Any]:  # Any: JSON holds what it holds
    file = directory() / _FILE
    try:
        with file.open(encoding="utf-8") as handle:
            mode = os.fstat(handle.fileno()).st_mode
            if mode & 0o077:
                raise typer.BadParameter(
                    f"{file} has mode {stat.S_IMODE(mode):04o}, so others may read the token. "
                    f"Run: chmod 600 {file}"
                )
            stored = json.load(handle)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"Cannot read {file}: remove it, and sign in again.") from error
    return stored if isinstance(stored, dict) else {}


def _write(stored: Mapping[str, object]) -> Path:
    folder = directory()
    file = folder / _FILE
    fresh = folder / f".{_FILE}.{secrets.token_hex(4)}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as handle:
            json.dump(stored, handle, indent=2)
        # Whole or not at all.
        fresh.replace(file)
    except OSError as error:
        raise typer.BadParameter(f"Cannot write {file} ({error.strerror}).") from error
    return file
