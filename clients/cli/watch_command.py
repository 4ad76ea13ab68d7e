"""The command `watch`: options in, a request out; `watching` carries it out."""

from __future__ import annotations

import typer

from clients.cli import requests, tenant_commands

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog="""\b
Examples:
  provisioner watch "$ID"
  provisioner watch "$ID" --json | jq -r '[.state, .current_step] | @tsv'
"""
)
def watch(
    *,
    tenant: tenant_commands.Tenant,
    address: tenant_commands.Address = "127.0.0.1:50051",
    timeout: tenant_commands.Timeout = 10.0,
    as_json: tenant_commands.Json = False,
) -> int:
    """Show a tenant's status at each change, until it is at rest.

    Reconnects by itself. With --json it prints one status per line. Ends with 0 if the tenant is
    then COMPLETED or DEPROVISIONED, otherwise with 1.
    """
    return tenant_commands.call(
        requests.Watch(address=address, timeout_seconds=timeout, as_json=as_json, tenant=tenant)
    )
