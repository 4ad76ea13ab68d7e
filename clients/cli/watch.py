"""Follows a tenant until it is at rest, by looking at its status again and again.

Looking is the truth; the log is told beside it and may fail without ending the watch.
A service that goes away for a while (a restart, a takeover) does not end it either.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from clients.cli import standing
from clients.sdk.errors import ProvisionerError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clients.cli.screens import Screen
    from clients.sdk import ProvisionerClient
    from provisioner.v1.tenant_pb2 import TenantStatus

    Pause = Callable[[float], Awaitable[object]]

# Four looks a second look alive to a person and cost the service next to nothing.
_LOOK_SECONDS = 0.25
_LOST_SECONDS = 1.0
# With the channel's own 1.4 s of tries and the pause this bridges about 45 s.
_MAX_LOST = 20
# The last log lines are written just before the state that ends the watch.
_LAST_LINES_SECONDS = 2.0


async def watch(
    client: ProvisionerClient,
    first: TenantStatus,
    screen: Screen,
    *,
    with_log: bool,
    pause: Pause = asyncio.sleep,
) -> TenantStatus:
    """Show a tenant on `screen` until it is at rest, and return its last status.

    Args:
        client: An open client.
        first: The status to begin with.
        screen: Where to show it; entered already.
        with_log: Whether to show the log of this run beside it.
        pause: Waits between two looks.

    Raises:
        ProvisionerError: The service refused, or stayed away too long.
    """
    screen.status(first)
    if standing.at_rest(first):
        return first
    log = asyncio.create_task(_show_log(client, first, screen)) if with_log else None
    try:
        last = await _until_rest(client, first, screen, pause)
        if log is not None:
            await asyncio.wait({log}, timeout=_LAST_LINES_SECONDS)
    finally:
        if log is not None:
            log.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await log
    return last


async def _until_rest(
    client: ProvisionerClient, first: TenantStatus, screen: Screen, pause: Pause
) -> TenantStatus:
    status, lost = first, 0
    while not standing.at_rest(status):
        await pause(_LOST_SECONDS if lost else _LOOK_SECONDS)
        try:
            status = await client.get_status(first.tenant_id)
        except Unreachable:
            lost += 1
            if lost > _MAX_LOST:
                raise
            if lost == 1:
                screen.note(f"Lost {client.address}, asking again. The tenant is not affected.")
        else:
            lost = 0
            screen.status(status)
    return status


async def _show_log(client: ProvisionerClient, first: TenantStatus, screen: Screen) -> None:
    """Show the log from where the run begins; earlier runs are not what is watched."""
    begun = not first.run_id
    try:
        async with client.stream_logs(first.tenant_id, follow=True) as log:
            async for entry in log:
                begun = begun or entry.run_id == first.run_id
                if begun:
                    screen.log(entry)
    except ProvisionerError as error:
        screen.note(f"The log can't be read ({error.code}); the watch goes on without it.")
