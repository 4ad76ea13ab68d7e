"""Carries out `watch`: shows each status until the tenant is at rest."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

from clients.cli import render, standing
from clients.cli.json_view import as_object
from clients.cli.pasting import pasted
from clients.cli.screens import screen_for
from clients.cli.watch import told
from clients.cli.wire_text import plain

if TYPE_CHECKING:
    from clients.cli.exit_codes import ExitCode
    from clients.cli.output import Output
    from clients.cli.requests import Watch
    from clients.sdk import ProvisionerClient


async def watch(client: ProvisionerClient, request: Watch, output: Output) -> ExitCode:
    """Show each change, and at the end the tenant's status.

    Returns:
        As `standing.exit_code_watched`.
    """
    # Asked first because it answers at once when the service is away or the tenant unknown;
    # the stream would patiently try again.
    last = await client.get_status(request.tenant)
    try:
        with screen_for(output, with_log=False) as screen:
            async for last in told(client, request.tenant, screen):
                if output.as_json:
                    output.json(as_object(last))
                screen.status(last)
    except asyncio.CancelledError:
        if not output.as_json:
            output.note(
                "Stopped watching; the tenant goes on. Look again with: "
                + plain(pasted(f"provisioner watch {shlex.quote(request.tenant)}"))
            )
        raise
    if not output.as_json:
        output.lines(render.status_lines(last))
    return standing.exit_code_watched(last)
