"""The certificate and key of the server: read once, and refused where they are no pair."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.errors import SettingsError
from server.settings.files import demand_private

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings.values import Settings

_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server shows, and by whom its clients must be signed.

    Attributes:
        client_ca: PEM; None: any client may connect.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    certificate_file: Path
    key_file: Path


def load_tls(settings: Settings) -> Tls | None:
    """Read the files of the settings; None where there is no TLS.

    Raises:
        SettingsError: a file can't be read, is no PEM, or others can read the key.
    """
    certificate_file, key_file = settings.tls_cert_file, settings.tls_key_file
    if certificate_file is None or key_file is None:
        return None
    certificate = _read(certificate_file, "PROVISIONER_TLS_CERT_FILE")
    key = _read(key_file, "PROVISIONER_TLS_KEY_FILE", private=True)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            certificate_file,
            key_file,
            # Asked on a terminal otherwise, where nobody sits.
            password=lambda: "",
        )
    except (ssl.SSLError, OSError, ValueError) as error:
        raise SettingsError(
            f"PROVISIONER_TLS_CERT_FILE: {certificate_file} and {key_file} are not a certificate "
            f"and its key without a password, in PEM ({_reason(error)}). Check both files."
        ) from error
    ca = settings.tls_client_ca_file
    return Tls(
        certificate=certificate,
        key=key,
        client_ca=None if ca is None else _authority(ca),
        certificate_file=certificate_file,
        key_file=key_file,
    )


def _authority(file: Path) -> bytes:
    content = _read(file, "PROVISIONER_TLS_CLIENT_CA_FILE")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=content.decode())
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"PROVISIONER_TLS_CLIENT_CA_FILE: {file} holds no certificate in PEM. Check the file."
        ) from error
    return content


def _read(file: Path, what: str, *, private: bool = False) -> bytes:
    try:
        with file.open("rb") as handle:
            if private:
                demand_private(file, os.fstat(handle.fileno()).st_mode, what)
            return handle.read(_MAX_BYTES)
    except OSError as error:
        raise SettingsError(
            f"{what}: cannot read {file} ({error.strerror}). Name a PEM file that the user of this "
            "process can read."
        ) from error


def _reason(error: Exception) -> str:
    # Of OpenSSL's errors only the name: the rest is of no use to a reader.
    return getattr(error, "reason", None) or type(error).__name__
