"""What old clients may do is named at the start, and never given to others than this machine."""

from __future__ import annotations

import pytest

from server.greeting import compat_switches
from server.settings import Settings
from server.settings.values import Address

OUTSIDE = Address(host="0.0.0.0", port=4000)  # noqa: S104 - the address that is to be refused


def settings(**given: object) -> Settings:
    return Settings.model_validate({"compat": True, **given})


def test_each_right_is_named() -> None:
    said = "\n".join(compat_switches(settings()))
    for right in ("register", "invite", "status and log", "admin@moran.com", "7 days"):
        assert right in said
    assert compat_switches(settings(compat=False)) == []


@pytest.mark.parametrize(("insecure", "opens"), [(False, False), (True, True)])
def test_nobody_outside_has_them_unless_insecure_says_so(insecure: bool, opens: bool) -> None:
    tls = {"tls_cert_file": "server.pem", "tls_key_file": "server.key"}
    given = settings(http_address=OUTSIDE, insecure=insecure, **tls)
    assert given.opens_to_old_clients is opens
    assert ("register" in "\n".join(compat_switches(given))) is opens


def test_on_loopback_the_switch_alone_decides() -> None:
    assert settings().opens_to_old_clients
    assert not settings(compat=False).opens_to_old_clients
