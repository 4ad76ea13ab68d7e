"""How a command reaches the service, and as whom: environment first, then the profile.

A profile is what `login` wrote: an address, a token, and whom to trust. Its token is sent to that
address only. The file is in the user's configuration directory, and only its owner can read it; a
file that others can read is refused.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import typer

from clients.cli.private_files import demand_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clients.sdk import Tls

TOKEN = "PROVISIONER_TOKEN"  # noqa: S105 - a name
TLS_CA = "PROVISIONER_TLS_CA"
CLIENT_CERT = "PROVISIONER_CLIENT_CERT"
CLIENT_KEY = "PROVISIONER_CLIENT_KEY"
PROFILE = "PROVISIONER_PROFILE"
# Trust whom this machine trusts.
SYSTEM = "system"

_DEFAULT_PROFILE = "default"
_FILE = "profiles.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """Whom to trust, and what to show a service that asks for a certificate.

    Attributes:
        authorities: A PEM file, "system", or "" for no TLS.
        certificate: The PEM file of this client's own certificate, or "".
        key: The PEM file of its key, or "".
    """

    authorities: str = ""
    certificate: str = ""
    key: str = ""

    def __bool__(self) -> bool:
        """Tell whether to speak TLS."""
        return bool(self.authorities or self.certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Where to call, and as whom.

    Attributes:
        address: The service's `host:port`.
        user: The name of who signed in.
        token: The access token, sent to this address only.
        expires_at: When it stops working, in RFC 3339; "" if that is not known.
        tls_ca: A PEM file, "system", or "" for no TLS.
        client_cert: The PEM file of the client's own certificate, or "".
        client_key: The PEM file of its key, or "".
    """

    address: str
    user: str
    token: str = field(repr=False)
    expires_at: str
    tls_ca: str
    client_cert: str = ""
    client_key: str = ""


def directory() -> Path:
    """Return the directory of the profiles, which need not exist."""
    return Path(platformdirs.user_config_dir("tenant-provisioner"))


def profile_name() -> str:
    """Return the name of the profile that is in use."""
    return os.environ.get(PROFILE) or _DEFAULT_PROFILE


def current() -> Profile | None:
    """Return the profile that is in use; None if nobody signed in with it.

    Raises:
        typer.BadParameter: the file can't be read, or others can read it.
    """
    stored = _read().get(profile_name())
    if stored is None:
        return None
    try:
        return Profile(**stored)
    except TypeError as error:
        raise typer.BadParameter(
            f"{directory() / _FILE} holds no readable profile. Remove it, and sign in again with: "
            "provisioner login"
        ) from error


def save(profile: Profile | None) -> Path:
    """Write the profile that is in use, or remove it.

    Args:
        profile: The profile; None to remove it.

    Returns:
        The file, which only its owner can read.

    Raises:
        typer.BadParameter: the file can't be read or written, or others can read it.
    """
    stored = _read()
    if profile is None:
        stored.pop(profile_name(), None)
    else:
        stored[profile_name()] = asdict(profile)
    return _write(stored)


def token_for(address: str) -> str:
    """Return the token to send to an address; "" for none.

    Raises:
        typer.BadParameter: the environment's has a character that no token has, or the profile
            can't be read.
    """
    told = os.environ.get(TOKEN, "").strip()
    if not (told.isascii() and told.isprintable()):
        # It is not quoted: it may be most of a secret.
        raise typer.BadParameter(
            f"{TOKEN} has a character that no token has: a line break, or one beyond ASCII. Copy "
            "the token again, on one line."
        )
    if told:
        return told
    profile = current()
    return profile.token if profile is not None and profile.address == address else ""


def tls_for(address: str) -> TlsFiles:
    """Return the TLS files to use for an address: from the environment, then from the profile.

    The files themselves are not read (`tls_of`).

    Raises:
        typer.BadParameter: the profile can't be read.
    """
    profile = current()
    if profile is None or profile.address != address:
        profile = Profile(address=address, user="", token="", expires_at="", tls_ca="")
    told = {name: os.environ.get(name, "").strip() for name in (TLS_CA, CLIENT_CERT, CLIENT_KEY)}
    # A certificate and its key come from the same place.
    own = (told[CLIENT_CERT], told[CLIENT_KEY])
    certificate, key = own if any(own) else (profile.client_cert, profile.client_key)
    return TlsFiles(authorities=told[TLS_CA] or profile.tls_ca, certificate=certificate, key=key)


def from_anywhere(file: str) -> str:
    """Return a file's absolute path, for the profile: later commands run in other folders.

    Args:
        file: A path from this folder; "" and "system", which are no files, stay as they are.
    """
    return file if file in {"", SYSTEM} else str(Path(file).absolute())


def tls_of(files: TlsFiles) -> Tls | None:
    """Read the files; None: no TLS.

    Raises:
        typer.BadParameter: one is missing beside the other or can't be read, or others can read the
            key.
    """
    if not files:
        return None
    if bool(files.certificate) != bool(files.key):
        raise typer.BadParameter(
            f"A client's certificate and its key go together. Give --client-cert and --client-key "
            f"(or {CLIENT_CERT} and {CLIENT_KEY})."
        )
    from clients.sdk import Tls  # noqa: PLC0415 - gRPC takes longer than --help may take

    return Tls(
        # A certificate of one's own without an authority: this machine's are trusted.
        authorities=None
        if files.authorities in {"", SYSTEM}
        else _pem(files.authorities, "certificates", "--tls-ca", f'{TLS_CA}, or "{SYSTEM}"'),
        certificate=_pem(files.certificate, "certificate", "--client-cert", CLIENT_CERT)
        if files.certificate
        else None,
        key=_pem(files.key, "key", "--client-key", CLIENT_KEY, private=True) if files.key else None,
    )


def _pem(file: str, what: str, option: str, name: str, *, private: bool = False) -> bytes:
    try:
        with Path(file).open("rb") as handle:
            if private:
                demand_private(Path(file), os.fstat(handle.fileno()), f"The {what} {file!r}")
            text = handle.read()
    except OSError as error:
        raise typer.BadParameter(
            f"Cannot read the {what} {file!r} ({error.strerror}). Name a PEM file with {option} "
            f"or {name}."
        ) from error
    if b"-----BEGIN " not in text:
        raise typer.BadParameter(f"The {what} {file!r} is no PEM file.")
    return text


def _read() -> dict[str, Any]:  # Any: JSON holds what it holds
    file = directory() / _FILE
    try:
        with file.open(encoding="utf-8") as handle:
            demand_private(file, os.fstat(handle.fileno()), f"{file}, which holds the token,")
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
        # The file is replaced at once, so that it is never half-written.
        fresh.replace(file)
    except OSError as error:
        raise typer.BadParameter(f"Cannot write {file} ({error.strerror}).") from error
    return file
