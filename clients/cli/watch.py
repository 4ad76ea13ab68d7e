"""Follows a tenant until it is at rest, showing each status that the service sends.

The statuses are the truth; the log is shown beside them and may fail without ending the watch.
Neither does a service that is away for a while (a restart, a takeover) end it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from clients.cli import standing
from clients.cli.kept_log import kept_log
from clients.sdk.errors import ProvisionerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clients.cli.screens import Screen
    from clients.sdk import ProvisionerClient
    from provisioner.v1.tenant_pb2 import TenantStatus


# With the pauses of a stream this bridges about 45 s: a restart of the service, and a takeover.
_MAX_LOST = 14
# The last log lines are written just before the state that ends the watch.
_LAST_LINES_SECONDS = 2.0


async def watch(
    client: ProvisionerClient,
    first: TenantStatus,
    screen: Screen,
    *,
    with_log: bool,
) -> TenantStatus:
    """Show a tenant on `screen` until it is at rest, and return its last status.

    Args:
        client: An open client.
        first: The status to begin with.
        screen: Where to show it; entered already.
        with_log: Whether to show the log of this run beside it.

    Raises:
        ProvisionerError: The service refused, or stayed away too long.
    """
    screen.status(first)
    if standing.at_rest(first):
        return first
    log = asyncio.create_task(_show_log(client, first, screen)) if with_log else None
    try:
        last = first
        async for last in told(client, first.tenant_id, screen):
            screen.status(last)
        if log is not None:
            await asyncio.wait({log}, timeout=_LAST_LINES_SECONDS)
    finally:
        if log is not None:
            log.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await log
    return last


async def told(
    client: ProvisionerClient, tenant_id: str, screen: Screen
) -> AsyncIterator[TenantStatus]:
    """Yield each status until the tenant is at rest; say so if the connection is lost.

    Raises:
        ProvisionerError: The service refused, or stayed away too long.
    """

    def lost() -> None:
        screen.note(f"Lost {client.address}, asking again. The tenant is not affected.")

    async with client.watch_status(tenant_id, max_failures=_MAX_LOST, on_lost=lost) as statuses:
        async for status in statuses:
            yield status
            if standing.at_rest(status):
                return


async def _show_log(client: ProvisionerClient, first: TenantStatus, screen: Screen) -> None:
    """Show the log from where the run begins, without those of earlier runs."""
    begun = not first.run_id
    try:
        async with kept_log(client, first.tenant_id, follow=True) as log:
            async for entry in log:
                begun = begun or entry.run_id == first.run_id
                if begun:
                    screen.log(entry)
    except ProvisionerError as error:
        screen.note(f"The log can't be read ({error.code}); the watch goes on without it.")
