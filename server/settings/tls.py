"""The server's certificate and key: read together, and refused if they are not a pair.

What was checked is what is served: the bytes are read once, and no library reads the files again.
"""

from __future__ import annotations

import os
import re
import ssl
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.errors import SettingsError
from server.settings.files import read_regular

if TYPE_CHECKING:
    from pathlib import Path

    from server.settings.values import Settings

_MAX_BYTES = 1024 * 1024
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name: we judge the dates ourselves.
_AT_ANY_TIME = ssl.VerifyFlags(0x200000)
# Turns in an in-memory handshake: each side needs two, and one is spare.
_TURNS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """What the server presents, and who must have signed its clients' certificates.

    Attributes:
        certificate: The server's certificate, then those that signed it, as PEM.
        key: Its private key, as PEM; never shown.
        client_ca: The authorities for clients, as PEM; None lets any client connect.
        client_ca_ends: When the last of those authorities expires; None if that is not known.
        names: The names in the certificate.
        begins: When the certificate becomes valid.
        ends: When it expires.
    """

    certificate: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    client_ca_ends: datetime | None
    names: tuple[str, ...]
    begins: datetime
    ends: datetime
    certificate_file: Path
    key_file: Path
    client_ca_file: Path | None

    def context(self) -> ssl.SSLContext:
        """Return what an HTTP server needs to present it."""
        return _context(self.certificate, self.key)

    def lapse(self, now: datetime) -> str:
        """Say what of it is not valid at this time, and the remedy; return "" if all of it is.

        Args:
            now: The time, aware.
        """
        if now >= self.ends:
            return (
                f"PROVISIONER_TLS_CERT_FILE: the certificate in {self.certificate_file} has "
                f"expired: it was valid until {self.ends:%Y-%m-%d %H:%M} UTC. Put a renewed one "
                f"there, and its key into {self.key_file}; a running server takes it within "
                "seconds."
            )
        if now < self.begins:
            return (
                f"PROVISIONER_TLS_CERT_FILE: the certificate in {self.certificate_file} is valid "
                f"only from {self.begins:%Y-%m-%d %H:%M} UTC on. Check this machine's clock; if it "
                "is right, the certificate will be taken then."
            )
        if self.client_ca_ends is not None and now >= self.client_ca_ends:
            return (
                f"PROVISIONER_TLS_CLIENT_CA_FILE: every authority in {self.client_ca_file} has "
                f"expired, the last on {self.client_ca_ends:%Y-%m-%d %H:%M} UTC, so no client is "
                "let in. Put a valid one there; a running server takes it within seconds."
            )
        return ""


def load_tls(settings: Settings) -> Tls | None:
    """Read the files that the settings name; return None if there is no TLS.

    Raises:
        SettingsError: a file can't be read, is no PEM, or others can read the key.
    """
    certificate_file, key_file = settings.tls_cert_file, settings.tls_key_file
    if certificate_file is None or key_file is None:
        return None
    return read_tls(certificate_file, key_file, settings.tls_client_ca_file)


def read_tls(certificate_file: Path, key_file: Path, client_ca_file: Path | None) -> Tls:
    """Read the files; whether they are valid now is for `Tls.lapse` to say.

    They are read once, and tried out on a client in memory; that takes milliseconds.

    Args:
        certificate_file: The server's certificate first, then those that signed it.
        key_file: Its key, without a password.
        client_ca_file: The authorities for clients; None to ask for no certificate.

    Raises:
        SettingsError: a file can't be read, is no PEM, or others can read the key; or the two are
            no pair that clients take.
    """
    certificate = _read(certificate_file, "PROVISIONER_TLS_CERT_FILE")
    key = _read(key_file, "PROVISIONER_TLS_KEY_FILE", private=True)
    try:
        shown = _shown(certificate, key)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _no_pair(certificate_file, key_file, error) from error
    client_ca, client_ca_ends = None, None
    if client_ca_file is not None:
        client_ca, client_ca_ends = _authorities(client_ca_file)
    return Tls(
        certificate=certificate,
        key=key,
        client_ca=client_ca,
        client_ca_ends=client_ca_ends,
        names=_names(shown),
        begins=_time(shown["notBefore"]),
        ends=_time(shown["notAfter"]),
        certificate_file=certificate_file,
        key_file=key_file,
        client_ca_file=client_ca_file,
    )


def _shown(certificate: bytes, key: bytes) -> dict[str, Any]:  # Any: as the ssl module types it
    """Return what a connecting client sees, by connecting one in memory.

    This proves the pair by using it, and is the ssl module's only public way to read a certificate.
    """
    first = _CERTIFICATE.search(certificate)
    server = _context(certificate, key)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Real clients judge who signed it.
    client.check_hostname = False
    client.load_verify_locations(cadata=_ascii(first.group() if first else b""))
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _AT_ANY_TIME
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    caller = client.wrap_bio(back, there)
    sides = (caller, server.wrap_bio(there, back, server_side=True))
    for _ in range(_TURNS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = caller.getpeercert()
    if not shown:
        raise ValueError("the handshake did not end")
    return shown


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return a server's context for what was read; OpenSSL takes nothing but file names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with ExitStack() as stack:
        names = []
        for content in (certificate, key):
            # In memory: a key on disk would be one more copy to guard.
            file = stack.enter_context(os.fdopen(os.memfd_create("tls"), "wb"))
            file.write(content)
            file.flush()
            names.append(f"/proc/self/fd/{file.fileno()}")
        # Otherwise it would ask for a password on a terminal where nobody sits.
        context.load_cert_chain(names[0], names[1], password=lambda: "")
    return context


def _names(shown: dict[str, Any]) -> tuple[str, ...]:  # Any: as the ssl module types it
    named = tuple(str(name) for _, name in shown.get("subjectAltName", ()))
    subject = [part for group in shown["subject"] for part in group]
    return named or tuple(str(value) for kind, value in subject if kind == "commonName")


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _no_pair(certificate_file: Path, key_file: Path, error: Exception) -> SettingsError:
    both = f"PROVISIONER_TLS_CERT_FILE: {certificate_file} and {key_file}"
    # Only the name of an OpenSSL error: the rest means nothing to a reader.
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return SettingsError(
            f"{both} do not belong together: the key is not that of the file's first certificate. "
            "Put both files of one issue there, the server's own certificate before those that "
            "signed it."
        )
    if reason and getattr(error, "library", "") == "SSL":
        return SettingsError(
            f"{both} are a certificate and its key, but clients do not take it ({reason}). Have "
            "one issued for servers, for a key of RSA with 2048 bits or more, or of P-256."
        )
    return SettingsError(
        f"{both} are not a certificate and its key without a password, in PEM "
        f"({reason or type(error).__name__}). Check both files."
    )


def _authorities(file: Path) -> tuple[bytes, datetime | None]:
    content = _read(file, "PROVISIONER_TLS_CLIENT_CA_FILE")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(cadata=_ascii(content))
    except (ssl.SSLError, ValueError) as error:
        raise SettingsError(
            f"PROVISIONER_TLS_CLIENT_CA_FILE: {file} holds no certificate in PEM, or an incomplete "
            "one. Check the file."
        ) from error
    # It lists authorities only, and not a client's own certificate that is trusted directly.
    listed = context.get_ca_certs()
    ends = [_time(str(each["notAfter"])) for each in listed]
    only_authorities = len(ends) == context.cert_store_stats()["x509"]
    return content, max(ends) if ends and only_authorities else None


def _ascii(pem: bytes) -> str:
    # Comments between the certificates may be in any language; Python takes ASCII only.
    return pem.decode("ascii", errors="replace").replace("\ufffd", "?")


def _read(file: Path, what: str, *, private: bool = False) -> bytes:
    content = read_regular(
        file,
        what,
        most=_MAX_BYTES + 1,
        private=private,
        remedy="Name a PEM file that the user of this process can read.",
    )
    # Otherwise half of the file would be served, or half of the authorities trusted.
    if len(content) > _MAX_BYTES:
        raise SettingsError(f"{what}: {file} is larger than 1 MiB. Check that it is the file.")
    return content
