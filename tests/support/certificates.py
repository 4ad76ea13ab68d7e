"""Certificates for tests: an authority, the files of a server, and what a server shows."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

if TYPE_CHECKING:
    from pathlib import Path

    import trustme

LONG_AGO = datetime(2020, 1, 2, tzinfo=UTC)
FAR_OFF = datetime(2900, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate with those that signed it, and its key: PEM, as files hold them."""

    certificate: bytes
    key: bytes

    @property
    def shown(self) -> bytes:
        """What a client sees of it (DER)."""
        leaf = self.certificate.decode().partition("-----END CERTIFICATE-----")
        return ssl.PEM_cert_to_DER_cert(leaf[0] + leaf[1])


def pair(authority: trustme.CA, *names: str, **more: Any) -> Pair:
    """Issue one; for this machine unless names are given."""
    issued = authority.issue_cert(*(names or ("localhost", "127.0.0.1")), **more)
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return Pair(certificate=chain, key=issued.private_key_pem.bytes())


def self_signed(
    key: Any, *more: x509.ExtensionType, ends: datetime = FAR_OFF, algorithm: Any
) -> Pair:
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "prov.example.com")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(LONG_AGO - timedelta(days=1))
        .not_valid_after(ends)
    )
    for extension in more:
        made = made.add_extension(extension, critical=True)
    pem = serialization.Encoding.PEM
    return Pair(
        certificate=made.sign(key, algorithm).public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )


def unknown_to_grpc() -> Pair:
    key = ed448.Ed448PrivateKey.generate()
    return self_signed(key, algorithm=None)


def ed25519_pair() -> Pair:
    return self_signed(ed25519.Ed25519PrivateKey.generate(), algorithm=None)


def p521_pair() -> Pair:
    return self_signed(ec.generate_private_key(ec.SECP521R1()), algorithm=hashes.SHA256())


@dataclass(frozen=True)
class ServerFiles:
    """The files that a server's settings name."""

    certificate: Path
    key: Path

    @classmethod
    def of(cls, folder: Path, first: Pair) -> ServerFiles:
        files = cls(certificate=folder / "server.pem", key=folder / "server.key")
        files.put(first)
        return files

    @property
    def settings(self) -> dict[str, Any]:
        return {"tls_cert_file": self.certificate, "tls_key_file": self.key}

    def put(self, new: Pair) -> None:
        self.put_certificate(new.certificate)
        self.put_key(new.key)

    def put_certificate(self, content: bytes) -> None:
        replace(self.certificate, content)

    def put_key(self, content: bytes) -> None:
        replace(self.key, content)


def replace(file: Path, content: bytes) -> None:
    """Put a file in another's place, as those who renew do."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(file)


async def shown_at(port: int, **more: Any) -> bytes:
    """Connect, and return the certificate that is shown (DER)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    if ciphers := more.pop("tls_1_2_ciphers", ""):
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, **more)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(shown, bytes)
    writer.close()
    return shown
