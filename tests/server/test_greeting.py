"""What `serve` says when it is up: its commands work as they stand, in their order."""

from __future__ import annotations

from pathlib import Path

from server.greeting import database_options, greeting
from server.settings import EnginesConfig, Settings

URL = "sqlite+aiosqlite:////srv/my tenants.db"


def said(*, has_users: bool = True, options: str = "", **given: object) -> list[str]:
    settings = Settings.model_validate({"database_url": URL, **given})
    return greeting(
        settings,
        EnginesConfig(default="main", engines={}),
        grpc_port=50051,
        http_port=4000,
        has_users=has_users,
        database_options=options,
        demo=False,
    )


def test_without_users_the_first_is_added_then_signs_in_then_orders() -> None:
    lines = said(has_users=False, options=" --config prod.toml")
    assert lines[-4:] == [
        "Authentication is on.",
        "No users yet. Add the first one: provisioner users add EMAIL --role admin"
        " --config prod.toml",
        "Sign in: provisioner login EMAIL",
        "Call next: provisioner start 'Baraka Stores' --watch",
    ]
    assert not any("users add" in line for line in said())


def test_what_is_served_to_all_is_called_by_an_address_and_with_tls() -> None:
    lines = said(
        grpc_address="[::]:50052",
        tls_cert_file="server.pem",
        tls_key_file="server.key",
    )
    # The port is the one it came to be, not the one that was asked for; a shell may act on [].
    assert "Sign in: provisioner login EMAIL --address '[::1]:50051' --tls-ca FILE" in lines
    assert lines[-1].endswith(" --watch --address '[::1]:50051'")


def test_where_clients_show_certificates_the_sign_in_says_so() -> None:
    """The one that was named was hung up on."""
    lines = said(
        tls_cert_file="server.pem", tls_key_file="server.key", tls_client_ca_file="clients.pem"
    )
    login = "Sign in: provisioner login EMAIL --tls-ca FILE --client-cert FILE --client-key FILE"
    assert login in lines


def test_an_address_of_ipv6_is_said_as_it_must_be_given() -> None:
    lines = said(grpc_address="[::1]:50052", http_address="[::1]:0", auth=False)
    assert lines[0] == "Tenant provisioner: gRPC at [::1]:50051, HTTP at [::1]:4000."
    assert lines[-1].endswith(" --watch --address '[::1]:50051'")


def test_a_command_on_the_database_is_led_to_the_one_that_is_served() -> None:
    settings = Settings.model_validate({"database_url": URL})
    given = {"database_url": URL}
    assert database_options(None, {}, settings) == ""
    assert database_options(Path("prod.toml"), {}, settings) == " --config prod.toml"
    assert database_options(None, given, settings) == f" --database-url '{URL}'"


def test_without_engines_it_is_said_where_one_is_to_be_put() -> None:
    assert "No engine is configured: set PROVISIONER_ENGINES_FILE (see README.md)." in said()
    given = said(engines_file="/srv/engines.toml")
    assert (
        "No engine is configured: /srv/engines.toml has none; add one as [engines.main]"
        " (see README.md)." in given
    )
