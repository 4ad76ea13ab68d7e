"""The commands that say why: options in, a request out; `diagnosing` carries it out."""

from __future__ import annotations

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
  provisioner diagnose "$ID"
  provisioner diagnose "$ID" --json | jq -r '.causes[0].remedy.command'
"""
)
def diagnose(
    *,
    tenant: Tenant,
    no_engine: Annotated[
        bool, typer.Option("--no-engine", help="Look at the database only.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Explain why a tenant is where it is, and what to do. Shows the evidence.

    Only reads. Works for a tenant in any state, also one that runs or waits. Ends with 1 if a
    person must act.
    """
    return call(
        requests.Diagnose(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            skip_engine=no_engine,
        )
    )
