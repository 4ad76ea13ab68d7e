"""The files of a certificate are looked at over and over, and taken when they can be shown."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from structlog.testing import capture_logs

from server.errors import SettingsError
from server.rpc.certificates import demand_taken
from server.settings import Settings, TlsFiles, load_tls
from tests.support.certificates import FAR_OFF, Pair, ServerFiles, pair, self_signed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import trustme


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


def _for_clients_only() -> Pair:
    use = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH])
    key = ec.generate_private_key(ec.SECP256R1())
    return self_signed(key, use, algorithm=hashes.SHA256())


def _too_short() -> Pair:
    return self_signed(rsa.generate_private_key(65537, 1024), algorithm=hashes.SHA256())  # noqa: S505 - it is to be refused


@pytest.mark.parametrize("make", [_for_clients_only, _too_short])
def test_what_clients_would_not_take_is_told_before_it_is_served(
    tmp_path: Path, make: Callable[[], Pair]
) -> None:
    files = ServerFiles.of(tmp_path, make())
    with pytest.raises(SettingsError, match=r"clients do not take it.*Have one issued for servers"):
        load_tls(Settings(**files.settings))


def test_a_certificate_without_other_names_is_called_by_its_common_name(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files = ServerFiles.of(tmp_path, self_signed(key, algorithm=hashes.SHA256()))
    tls = load_tls(Settings(**files.settings))
    assert tls is not None
    assert (tls.names, tls.ends) == (("prov.example.com",), FAR_OFF)
