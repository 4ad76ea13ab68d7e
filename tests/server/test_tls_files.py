"""A renewed certificate is shown without a restart; one that is wrong is not, and that is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from server.app import App
from server.errors import SettingsError
from server.rpc.certificates import Certificates, demand_taken
from server.settings import Address, EnginesConfig, Settings, TlsFiles, load_tls
from tests.support.certificates import (
    FAR_OFF,
    LONG_AGO,
    Pair,
    ServerFiles,
    pair,
    shown_at,
)
from tests.support.certificates import replace as replace_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from server.settings import Tls

_TRIES = 50
_FREE = Address(host="127.0.0.1", port=0)
_SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@dataclass(frozen=True)
class Server:
    """A server whose files are looked at when a test says so."""

    app: App
    files: ServerFiles
    logs: list[Any]

    async def look(self) -> None:
        assert self.app.tls_files is not None
        await self.app.tls_files.look()

    async def shows(self) -> tuple[bytes, bytes]:
        return await shown_at(self.app.grpc_port), await shown_at(self.app.http_port)

    async def metrics(self, trusted: trustme.CA) -> dict[str, float]:
        context = ssl.create_default_context(cadata=trusted.cert_pem.bytes().decode())
        async with httpx.AsyncClient(verify=context, trust_env=False) as web:
            answer = await web.get(f"https://localhost:{self.app.http_port}/metrics")
        rows = (line.split() for line in answer.text.splitlines() if "_tls_" in line)
        return {row[0]: float(row[1]) for row in rows if row[0] != "#"}

    def told(self) -> list[str]:
        return [line["event"] for line in self.logs if line["event"].startswith("tls.")]


@contextlib.asynccontextmanager
async def serving(folder: Path, files: ServerFiles, **more: Any) -> AsyncIterator[Server]:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{folder / 'provisioner.db'}",
        grpc_address=_FREE,
        http_address=_FREE,
        **files.settings,
        **more,
    )
    with capture_logs() as logs:
        async with App(settings, EnginesConfig()) as app:
            yield Server(app=app, files=files, logs=logs)


def _stub(port: int, trusted: trustme.CA, own: Pair | None = None) -> Any:
    credentials = grpc.ssl_channel_credentials(
        trusted.cert_pem.bytes(),
        None if own is None else own.key,
        None if own is None else own.certificate,
    )
    # Channels to one server with the same credentials would share a connection.
    options = (("grpc.use_local_subchannel_pool", 1),)
    channel = grpc.aio.secure_channel(f"localhost:{port}", credentials, options=options)
    return channel, health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("first", ["certificate", "key"])
async def test_a_renewed_pair_is_shown_to_who_connects_and_streams_go_on(
    tmp_path: Path, authority: trustme.CA, first: str
) -> None:
    old, new = pair(authority), pair(authority, not_after=FAR_OFF)
    async with serving(tmp_path, ServerFiles.of(tmp_path, old)) as server:
        assert await server.shows() == (old.shown, old.shown)
        channel, stub = _stub(server.app.grpc_port, authority)
        async with channel:
            watching = stub.Watch(health_pb2.HealthCheckRequest(service="database"))
            assert (await watching.read()).status == _SERVING
            await server.look()
            # In either order; a look between the two finds no pair, and keeps the old one.
            steps: list[Callable[[], None]] = [
                lambda: server.files.put_certificate(new.certificate),
                lambda: server.files.put_key(new.key),
            ]
            for put in steps if first == "certificate" else reversed(steps):
                assert await server.shows() == (old.shown, old.shown)
                put()
                await server.look()
            assert await server.shows() == (new.shown, new.shown)
            # On the connection that was opened with the old one.
            await server.app.core.database.pulse._learn("away for a moment")
            assert (await watching.read()).status != _SERVING
            watching.cancel()
        assert (await server.metrics(authority)) == {
            "provisioner_tls_certificate_not_after_timestamp_seconds": FAR_OFF.timestamp(),
            "provisioner_tls_files_refused": 0.0,
        }
        # The moment between the two files is no alarm.
        assert server.told() == ["tls.served", "tls.served"]
        (said,) = [line for line in server.logs if line["event"] == "tls.served"][1:]
        assert said["names"] == ["localhost", "127.0.0.1"]
        assert said["until"] == FAR_OFF.isoformat()
        server.files.put_key(old.key)
        for _ in range(2):
            await server.look()
        assert (await server.metrics(authority))["provisioner_tls_files_refused"] == 1.0


def _unknown_to_grpc() -> Pair:
    key = ed448.Ed448PrivateKey.generate()
    return _self_signed(key, algorithm=None)


def _ed25519() -> Pair:
    return _self_signed(ed25519.Ed25519PrivateKey.generate(), algorithm=None)


def _p521() -> Pair:
    return _self_signed(ec.generate_private_key(ec.SECP521R1()), algorithm=hashes.SHA256())


def _self_signed(
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


_CERT, _KEY = "PROVISIONER_TLS_CERT_FILE: ", "PROVISIONER_TLS_KEY_FILE: "


def _only_half(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_key(good.key)
    files.certificate.write_bytes(good.certificate[: len(good.certificate) // 3])


def _no_pair(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_certificate(good.certificate)


def _half_a_key(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_certificate(good.certificate)
    files.put_key(good.key[:90])


def _over(files: ServerFiles, _: Pair, authority: trustme.CA) -> None:
    files.put(pair(authority, not_after=LONG_AGO))


def _early(files: ServerFiles, _: Pair, authority: trustme.CA) -> None:
    files.put(pair(authority, not_before=FAR_OFF))


def _gone(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_certificate(good.certificate)
    files.key.unlink()


def _open_to_all(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put(good)
    files.key.chmod(0o644)


def _a_pipe(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_certificate(good.certificate)
    files.key.unlink()
    # Nobody ever writes into it.
    os.mkfifo(files.key, 0o600)


def _too_large(files: ServerFiles, good: Pair, _: trustme.CA) -> None:
    files.put_key(good.key)
    files.put_certificate(good.certificate + b"#" * 1024 * 1024)


def _unknown_kind(files: ServerFiles, _: Pair, __: trustme.CA) -> None:
    files.put(_unknown_to_grpc())


def _unknown_to_clients(files: ServerFiles, _: Pair, __: trustme.CA) -> None:
    files.put(_ed25519())


@pytest.mark.parametrize(
    ("spoil", "setting", "says"),
    [
        (_only_half, _CERT, ("are not a certificate and its key", "Check both files")),
        (_half_a_key, _CERT, ("are not a certificate and its key", "Check both files")),
        (_no_pair, _CERT, ("do not belong together", "Put both files of one issue there")),
        (_over, _CERT, ("has expired: it was valid until 2020-01-02", "Put a renewed one there")),
        (_early, _CERT, ("is valid only from 2900-01-02", "will be taken then")),
        (_gone, _KEY, ("cannot read", "Name a PEM file")),
        (_open_to_all, _KEY, ("has mode 0644", "chmod 600")),
        (_a_pipe, _KEY, ("is not a regular file", "Name a file")),
        (_too_large, _CERT, ("is larger than 1 MiB", "Check that it is the file")),
        (_unknown_kind, _CERT, ("gRPC does not take", "P-256")),
        (_unknown_to_clients, _CERT, ("gRPC does not take", "P-256")),
    ],
)
async def test_what_is_wrong_is_refused_and_told_and_taken_as_soon_as_it_is_right(
    tmp_path: Path,
    authority: trustme.CA,
    spoil: Callable[[ServerFiles, Pair, trustme.CA], None],
    setting: str,
    says: tuple[str, str],
) -> None:
    old, new = pair(authority), pair(authority)
    async with serving(tmp_path, ServerFiles.of(tmp_path, old)) as server:
        spoil(server.files, new, authority)
        for _ in range(3):
            await server.look()
            assert await server.shows() == (old.shown, old.shown)
        assert server.told() == ["tls.served", "tls.refused"]
        told = next(line for line in server.logs if line["event"] == "tls.refused")
        assert told["why"].startswith(setting)
        problem, remedy = says
        assert problem in told["why"]
        assert remedy in told["why"]
        assert server.app.tls_files is not None
        assert server.app.tls_files.refused == told["why"]
        server.files.put(new)
        await server.look()
        assert await server.shows() == (new.shown, new.shown)
        assert server.app.tls_files.refused == ""
        assert server.told() == ["tls.served", "tls.refused", "tls.served"]


async def test_a_key_of_another_kind_leaves_nothing_of_the_old_one(
    tmp_path: Path, authority: trustme.CA
) -> None:
    old = pair(authority, key_type=trustme.KeyType.RSA)
    new = pair(authority, key_type=trustme.KeyType.ECDSA)
    async with serving(tmp_path, ServerFiles.of(tmp_path, old)) as server:
        server.files.put(new)
        await server.look()
        for port in (server.app.grpc_port, server.app.http_port):
            # Who would rather have the old kind finds no trace of it.
            both = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256"
            assert await shown_at(port, tls_1_2_ciphers=both) == new.shown
            with pytest.raises(OSError):  # noqa: PT011 - one alerts, the other hangs up
                await shown_at(port, tls_1_2_ciphers="ECDHE-RSA-AES128-GCM-SHA256")
            # With the name of a server in the call, and without one.
            assert await shown_at(port, server_hostname="localhost") == new.shown


async def test_files_behind_links_are_exchanged_at_once_as_kubernetes_does_it(
    tmp_path: Path, authority: trustme.CA
) -> None:
    old, new = pair(authority), pair(authority)
    for name, content in (("..1", old), ("..2", new)):
        (tmp_path / name).mkdir()
        ServerFiles.of(tmp_path / name, content)
    (tmp_path / "..data").symlink_to("..1")
    for file in ("server.pem", "server.key"):
        (tmp_path / file).symlink_to(Path("..data") / file)
    files = ServerFiles(certificate=tmp_path / "server.pem", key=tmp_path / "server.key")
    async with serving(tmp_path, files) as server:
        await server.look()
        (tmp_path / "..data_tmp").symlink_to("..2")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")
        await server.look()
        assert await server.shows() == (new.shown, new.shown)
        # Removed afterwards, as the kubelet does.
        for file in ("server.pem", "server.key"):
            (tmp_path / "..1" / file).unlink()
        await server.look()
        assert server.told() == ["tls.served", "tls.served"]


async def test_another_authority_of_clients_counts_for_who_connects_from_then_on(
    tmp_path: Path, authority: trustme.CA
) -> None:
    ca = tmp_path / "clients.pem"
    before, after = trustme.CA(), trustme.CA()
    replace_file(ca, before.cert_pem.bytes())
    known, unknown = pair(before, "machine"), pair(after, "machine")

    async def let_in(own: Pair) -> bool:
        channel, stub = _stub(server.app.grpc_port, authority, own)
        async with channel:
            try:
                await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            except grpc.aio.AioRpcError as error:
                return error.code() is not grpc.StatusCode.UNAVAILABLE
        return True

    files = ServerFiles.of(tmp_path, pair(authority))
    async with serving(tmp_path, files, tls_client_ca_file=ca) as server:
        await server.look()
        channel, stub = _stub(server.app.grpc_port, authority, known)
        async with channel:
            await stub.Check(health_pb2.HealthCheckRequest())
            assert not await let_in(unknown)
            # Over for all clients: it would shut everybody out.
            replace_file(ca, _authority_that_is_over())
            await server.look()
            await server.look()
            told = server.logs[-1]
            assert (told["event"], "every authority in" in told["why"]) == ("tls.refused", True)
            replace_file(ca, b"half of it")
            await server.look()
            await server.look()
            assert "holds no certificate in PEM" in server.logs[-1]["why"]
            assert await let_in(known)
            replace_file(ca, "# Gefährten\n".encode() + after.cert_pem.bytes())
            await server.look()
            assert (await let_in(known), await let_in(unknown)) == (False, True)
            await stub.Check(health_pb2.HealthCheckRequest())


def _authority_that_is_over() -> bytes:
    signs = x509.BasicConstraints(ca=True, path_length=None)
    key = ec.generate_private_key(ec.SECP256R1())
    return _self_signed(key, signs, ends=LONG_AGO, algorithm=hashes.SHA256()).certificate


def _files_of(folder: Path, first: Pair, now: list[datetime], **more: Any) -> TlsFiles:
    tls = load_tls(Settings(**ServerFiles.of(folder, first).settings))
    assert tls is not None
    return TlsFiles(tls, now=lambda: now[0], try_out=demand_taken, **more)


async def test_a_certificate_that_begins_later_is_taken_at_its_time(
    tmp_path: Path, authority: trustme.CA
) -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    files = _files_of(tmp_path, pair(authority), now)
    begins = now[0] + timedelta(days=1)
    ServerFiles.of(tmp_path, pair(authority, "next.example.com", not_before=begins))
    await files.look()
    await files.look()
    assert "is valid only from" in files.refused
    now[0] = begins
    await files.look()
    assert (files.served.names, files.refused) == (("next.example.com",), "")


async def test_that_what_is_served_is_over_is_told_once(
    tmp_path: Path, authority: trustme.CA
) -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    ends = now[0] + timedelta(days=1)
    files = _files_of(tmp_path, pair(authority, not_after=ends), now)
    with capture_logs() as logs:
        await files.look()
        assert logs == []
        now[0] = ends
        for _ in range(3):
            await files.look()
    assert [line["event"] for line in logs] == ["tls.over"]
    assert "Put a renewed one there" in logs[0]["why"]


async def test_files_are_looked_at_without_being_asked_and_whatever_a_look_met(
    tmp_path: Path, authority: trustme.CA
) -> None:
    now = [datetime(2030, 1, 1, tzinfo=UTC)]
    files = _files_of(tmp_path, pair(authority), now, look_seconds=0.001)
    changed, failing = asyncio.Event(), [True]
    tried_out = files._try_out

    async def fail_once(tls: Any) -> None:
        if failing:
            failing.pop()
            raise RuntimeError("a bug")
        await tried_out(tls)

    files._try_out = fail_once
    files.on_change(lambda _: changed.set())
    with capture_logs() as logs:
        files.start()
        ServerFiles.of(tmp_path, pair(authority, "next.example.com"))
        await changed.wait()
        await files.stop()
    assert [line["event"] for line in logs] == ["tls.served", "tls.bug", "tls.served"]


async def test_a_server_starts_with_a_certificate_that_is_over_and_says_so(
    tmp_path: Path, authority: trustme.CA
) -> None:
    old = pair(authority, not_after=LONG_AGO)
    async with serving(tmp_path, ServerFiles.of(tmp_path, old)) as server:
        # Tenants go on, and so do callers who take it.
        assert await server.shows() == (old.shown, old.shown)
        assert server.told() == ["tls.served", "tls.over"]


@pytest.mark.parametrize("make", [_unknown_to_grpc, _ed25519, _p521])
async def test_a_key_that_grpc_does_not_take_is_told_at_the_start(
    tmp_path: Path, make: Callable[[], Pair]
) -> None:
    """Of one kind as an address in use; of the others not at all, and every client hung up."""
    with pytest.raises(SettingsError, match=r"PROVISIONER_TLS_CERT_FILE: gRPC does not take"):
        async with serving(tmp_path, ServerFiles.of(tmp_path, make())):
            raise AssertionError("it started")


def _p384() -> Pair:
    return _self_signed(ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA256())


def _rsa() -> Pair:
    return _self_signed(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256())


@pytest.mark.parametrize(
    "make",
    [
        _p384,
        _rsa,
        # Who judges it is not we.
        lambda: pair(trustme.CA(), not_after=LONG_AGO),
        lambda: pair(trustme.CA(), "*.example.com"),
        lambda: pair(trustme.CA().create_child_ca(), "10.0.0.1"),
        lambda: pair(trustme.CA(), "x@example.com", common_name="Größe"),
    ],
)
async def test_what_a_client_of_grpc_is_shown_is_taken_whatever_he_thinks_of_it(
    tmp_path: Path, make: Callable[[], Pair]
) -> None:
    tls = load_tls(Settings(**ServerFiles.of(tmp_path, make()).settings))
    assert tls is not None
    await demand_taken(tls)


async def test_trying_a_pair_out_leaves_no_socket(tmp_path: Path, authority: trustme.CA) -> None:
    """One a look, every five seconds, and after hours nobody could connect any more."""
    good = load_tls(Settings(**ServerFiles.of(tmp_path, pair(authority)).settings))
    bad = load_tls(Settings(**ServerFiles.of(tmp_path, _unknown_to_grpc()).settings))
    assert good is not None
    assert bad is not None
    await demand_taken(good)
    before = _open_files()
    for _ in range(_TRIES):
        await demand_taken(good)
        with pytest.raises(SettingsError):
            await demand_taken(bad)
    # gRPC closes them on threads of its own: the last ones may still be there.
    assert _open_files() - before < _TRIES


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class _TakenAgain(Certificates):
    """Is given another certificate just when gRPC has read what there is."""

    again: Tls | None = None

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name == "_newest" and self.again is not None:
            again, self.again = self.again, None
            self.take(again)
        return found


async def test_a_certificate_taken_while_grpc_asks_is_given_at_the_next_question(
    tmp_path: Path, authority: trustme.CA
) -> None:
    first, second, third = (
        load_tls(Settings(**ServerFiles.of(tmp_path, pair(authority)).settings)) for _ in range(3)
    )
    assert first is not None
    assert second is not None
    certificates = _TakenAgain(first)
    assert certificates._fetch() is None
    certificates.take(second)
    certificates.again = third
    assert certificates._fetch() is not None
    assert certificates._fetch() is not None
    assert certificates._fetch() is None


def _for_clients_only() -> Pair:
    use = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    key = ec.generate_private_key(ec.SECP256R1())
    return _self_signed(key, use, algorithm=hashes.SHA256())


def _too_short() -> Pair:
    return _self_signed(rsa.generate_private_key(65537, 1024), algorithm=hashes.SHA256())  # noqa: S505 - it is to be refused


@pytest.mark.parametrize("make", [_for_clients_only, _too_short])
def test_what_clients_would_not_take_is_told_before_it_is_served(
    tmp_path: Path, make: Callable[[], Pair]
) -> None:
    files = ServerFiles.of(tmp_path, make())
    with pytest.raises(SettingsError, match=r"clients do not take it.*Have one issued for servers"):
        load_tls(Settings(**files.settings))


def test_a_certificate_without_other_names_is_called_by_its_common_name(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files = ServerFiles.of(tmp_path, _self_signed(key, algorithm=hashes.SHA256()))
    tls = load_tls(Settings(**files.settings))
    assert tls is not None
    assert (tls.names, tls.ends) == (("prov.example.com",), FAR_OFF)
