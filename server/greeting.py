"""What `serve` says once it is up: where it listens, who may call, what to type next.

Pure functions. Each printed command works as it is when pasted into another terminal, in order.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from server.settings import Address

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.settings import EnginesConfig, Settings

# The address that the command line calls unless it is told otherwise.
_DEFAULT_ADDRESS = "127.0.0.1:50051"
# Addresses that mean all interfaces when listening, but that nobody can call.
_CALLED_AS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - they are replaced


def greeting(
    settings: Settings,
    engines: EnginesConfig,
    *,
    grpc_port: int,
    http_port: int,
    has_users: bool,
    database_options: str,
    demo: bool,
) -> list[str]:
    """Return the lines of the greeting.

    Args:
        settings: The settings of the server.
        engines: The configured engines.
        grpc_port: The port that gRPC really listens on.
        http_port: The port that HTTP really listens on.
        has_users: Whether there are users who could sign in.
        database_options: The options for a command on the database (`database_options`).
        demo: Whether this terminal shows a first tenant next.
    """
    grpc = Address(host=settings.grpc_address.host, port=grpc_port)
    http = Address(host=settings.http_address.host, port=http_port)
    lines = [
        f"Tenant provisioner: gRPC at {grpc}, HTTP at {http}.",
        f"Database: {settings.safe_database_url}",
    ]
    lines.extend(
        f"Engine {engine.id}: {engine.url or engine.blueprint}"
        for engine in engines.engines.values()
    )
    if not engines.engines:
        file = settings.engines_file
        remedy = (
            "set PROVISIONER_ENGINES_FILE"
            if file is None
            else f"{file} has none; add one as [engines.main]"
        )
        lines.append(f"No engine is configured: {remedy} (see README.md).")
    if settings.is_exposed and settings.insecure:
        lines.append("--insecure: others may reach this server, and it does not protect itself.")
    address = address_option(grpc)
    if settings.auth:
        lines += _signing_in(settings, address, database_options, has_users=has_users)
    else:
        lines.append("PROVISIONER_AUTH=off: everyone on this machine is an administrator.")
    lines.extend(compat_switches(settings))
    call = "Call next" if not demo else "In another terminal"
    lines.append(f"{call}: provisioner start 'Baraka Stores' --watch{address}")
    return lines


def called(address: Address) -> str:
    """Return the address at which to call a server that listens at `address`.

    Args:
        address: Where it listens; "every address of this machine" is called at the loopback one.
    """
    return str(replace(address, host=_CALLED_AS.get(address.host, address.host)))


def address_option(address: Address) -> str:
    """Return the option that leads a command to a server that listens there.

    Returns:
        With a blank in front; "" if it is where commands call by default.
    """
    callee = called(address)
    return "" if callee == _DEFAULT_ADDRESS else f" --address {shlex.quote(callee)}"


def database_options(config: Path | None, overrides: Mapping[str, str], settings: Settings) -> str:
    """Return the options that lead another command to this process's database.

    None are needed for settings in the environment: it is the same in the next terminal, or the
    reader knows that it is not.

    Args:
        config: The settings file, or None.
        overrides: Settings given as options.
        settings: The settings that came of both; a password in the url is not shown.

    Returns:
        With a blank in front; "" if none are needed.
    """
    if "database_url" in overrides:
        return f" --database-url {shlex.quote(settings.safe_database_url)}"
    return "" if config is None else f" --config {shlex.quote(str(config))}"


def compat_switches(settings: Settings) -> list[str]:
    """Return lines that name each right old clients have, so that nobody grants one unknowingly."""
    if not settings.compat:
        return []
    lines = ["PROVISIONER_COMPAT=on: tokens last 7 days, and members may resume their own tenant."]
    if not settings.opens_to_old_clients:
        return [
            *lines,
            "PROVISIONER_COMPAT=on, but others may reach this server: nothing without signing in.",
        ]
    return [
        *lines,
        "PROVISIONER_COMPAT=on: anyone here may register tenants and invite people over HTTP.",
        "PROVISIONER_COMPAT=on: anyone here may read any tenant's status and log over HTTP.",
        "PROVISIONER_COMPAT=on: admin@moran.com may sign in with the old scripts' password.",
    ]


def _signing_in(
    settings: Settings, address: str, database_options: str, *, has_users: bool
) -> list[str]:
    tls = "" if settings.tls_cert_file is None else " --tls-ca FILE"
    if settings.tls_client_ca_file is not None:
        tls += " --client-cert FILE --client-key FILE"
    lines = ["Authentication is on."]
    if not has_users:
        add = f"provisioner users add EMAIL --role admin{database_options}"
        lines.append(f"No users yet. Add the first one: {add}")
    return [*lines, f"Sign in: provisioner login EMAIL{address}{tls}"]
