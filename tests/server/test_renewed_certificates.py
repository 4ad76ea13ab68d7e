"""A renewed certificate is shown without a restart; one that is wrong is not, and that is told."""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from structlog.testing import capture_logs

from server.app import App
from server.errors import SettingsError
from server.settings import Address, EnginesConfig, Settings
from tests.support.certificates import (
    FAR_OFF,
    LONG_AGO,
    Pair,
    ServerFiles,
    ed25519_pair,
    p521_pair,
    pair,
    self_signed,
    shown_at,
    unknown_to_grpc,
)
from tests.support.certificates import replace as replace_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_FREE = Address(host="127.0.0.1", port=0)
_SERVING = health_pb2.HealthCheckResponse.SERVING


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
    files.put(unknown_to_grpc())


def _unknown_to_clients(files: ServerFiles, _: Pair, __: trustme.CA) -> None:
    files.put(ed25519_pair())


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
    return self_signed(key, signs, ends=LONG_AGO, algorithm=hashes.SHA256()).certificate


async def test_a_server_starts_with_a_certificate_that_is_over_and_says_so(
    tmp_path: Path, authority: trustme.CA
) -> None:
    old = pair(authority, not_after=LONG_AGO)
    async with serving(tmp_path, ServerFiles.of(tmp_path, old)) as server:
        # Tenants go on, and so do callers who take it.
        assert await server.shows() == (old.shown, old.shown)
        assert server.told() == ["tls.served", "tls.over"]


@pytest.mark.parametrize("make", [unknown_to_grpc, ed25519_pair, p521_pair])
async def test_a_key_that_grpc_does_not_take_is_told_at_the_start(
    tmp_path: Path, make: Callable[[], Pair]
) -> None:
    """Of one kind as an address in use; of the others not at all, and every client hung up."""
    with pytest.raises(SettingsError, match=r"PROVISIONER_TLS_CERT_FILE: gRPC does not take"):
        async with serving(tmp_path, ServerFiles.of(tmp_path, make())):
            raise AssertionError("it started")
