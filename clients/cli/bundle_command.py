"""The command `bundle`: everything about a tenant in one file, for whoever is asked to help."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from clients.cli import requests
from clients.cli.tenant_commands import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    Address,
    Json,
    Tenant,
    Timeout,
    call,
)

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog="""\b
Examples:
  provisioner bundle "$ID"
  provisioner bundle "$ID" --output ticket-4711.json --no-engine
"""
)
def bundle(
    *,
    tenant: Tenant,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: bundle-TENANT.json."),
    ] = None,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Look at the database only.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Write everything about a tenant into one file.

    It holds the status, the whole log, the diagnosis and the findings.

    Everything that looks like a secret is left out. Only its owner can read the file.
    """
    return call(
        requests.Bundle(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            file=str(output or f"bundle-{tenant}.json"),
            skip_engine=no_engine,
        )
    )
