"""gRPC tries a certificate out before it is served, and asks for it at each new connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from server.errors import SettingsError
from server.rpc.certificates import Certificates, demand_taken
from server.settings import Settings, load_tls
from tests.support.certificates import (
    LONG_AGO,
    Pair,
    ServerFiles,
    pair,
    self_signed,
    unknown_to_grpc,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.settings import Tls

_TRIES = 50


def _p384() -> Pair:
    return self_signed(ec.generate_private_key(ec.SECP384R1()), algorithm=hashes.SHA256())


def _rsa() -> Pair:
    return self_signed(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256())


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
    bad = load_tls(Settings(**ServerFiles.of(tmp_path, unknown_to_grpc()).settings))
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
