"""Shows a tenant after an order, or follows it until it is at rest."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from clients.cli import render, standing
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.screens import screen_for
from clients.cli.watch import watch
from clients.cli.wire_text import plain

if TYPE_CHECKING:
    from clients.cli.exit_codes import ExitCode
    from clients.cli.output import Output
    from clients.sdk import ProvisionerClient
    from provisioner.v1.tenant_pb2 import TenantStatus


def show(status: TenantStatus, output: Output) -> None:
    """Show a tenant's status, as JSON or for people; a broken promise of the service is named."""
    if not output.as_json:
        output.lines(render.status_lines(status))
        return
    output.json(as_object(status))
    if standing.lacks_reason(status):
        output.note(render.defect(status))


async def follow(
    client: ProvisionerClient, status: TenantStatus, output: Output, *, with_log: bool
) -> ExitCode:
    """Follow a tenant until it is at rest, and show its last status.

    Args:
        client: An open client.
        status: The status to begin with.
        output: Where to show it.
        with_log: Whether to show the log beside it; in a terminal only.

    Returns:
        As `standing.exit_code_watched`.

    Raises:
        ProvisionerError: the service refused, or stayed away too long.
    """
    try:
        with screen_for(output, with_log=with_log) as screen:
            last = await watch(client, status, screen, with_log=with_log and output.interactive)
    except asyncio.CancelledError:
        if not output.as_json:
            output.note(
                "Stopped watching; the tenant goes on. Look again with: "
                + plain(pasted(f"provisioner status {shlex.quote(status.tenant_id)} --watch"))
            )
        raise
    show(last, output)
    return standing.exit_code_watched(last)
