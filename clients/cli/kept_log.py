"""A tenant's log from its beginning, or from where it is still kept.

Old entries are deleted by age, so an old tenant's log may have lost its beginning. The service
then answers DATA_LOSS, but whoever asks for the whole log wants what is left of it.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from clients.sdk import CursorTooOld

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager

    from clients.sdk import ProvisionerClient, ProvisionerError
    from provisioner.v1.provisioning_pb2 import LogEntry


def kept_log(
    client: ProvisionerClient,
    tenant_id: str,
    *,
    after: int = 0,
    follow: bool = False,
    on_cut: Callable[[int], None] | None = None,
) -> AbstractAsyncContextManager[AsyncGenerator[LogEntry, None]]:
    """Read a log from its oldest entry, or from after a given one.

    Args:
        client: An open client.
        tenant_id: The tenant whose log to read.
        after: Start after this entry and miss none; 0 for everything that is kept.
        follow: Continue as it grows.
        on_cut: Called with the oldest cursor if that is not the first.

    Raises:
        ProvisionerError: as reading raises it.
    """
    return aclosing(_entries(client, tenant_id, after, follow=follow, on_cut=on_cut))


def oldest_kept(error: ProvisionerError) -> int | None:
    """Return the oldest cursor that is kept, if the error names it."""
    told = error.metadata.get("oldest_cursor", "")
    return int(told) if isinstance(error, CursorTooOld) and told.isdecimal() else None


async def _entries(
    client: ProvisionerClient,
    tenant_id: str,
    after: int,
    *,
    follow: bool,
    on_cut: Callable[[int], None] | None,
) -> AsyncGenerator[LogEntry, None]:
    whole = not after
    while True:
        async with client.stream_logs(tenant_id, after_cursor=after, follow=follow) as log:
            try:
                async for entry in log:
                    yield entry
            except CursorTooOld as error:
                oldest = oldest_kept(error)
                # Once some of it was read, an entry deleted since is a gap.
                if not whole or log.cursor != after or oldest is None or oldest <= after + 1:
                    raise
            else:
                return
        after = oldest - 1
        if on_cut is not None:
            on_cut(oldest)
