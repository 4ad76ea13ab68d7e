"""Answers questions about one tenant: GetStatus, WatchStatus, StreamLogs.

Many callers ask the same, so the bytes of a status, or of a page of a log, are made only once.
"""

from __future__ import annotations

import random
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

from provisioner.v1 import provisioning_pb2
from server.access.policy import demand
from server.errors import StoreUnavailable
from server.model.actor import Right
from server.rpc import failures, messages
from server.rpc.answering import Answering
from server.rpc.identity import Introduction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from server.model.actor import Actor
    from server.queries import Answer, Queries
    from server.queries.log_pages import LogPage
    from server.rpc.failures import Failure
    from server.rpc.identity import Context
    from server.rpc.streams import Streams


class Watching(Answering):
    """The part of the service that tells where a tenant stands."""

    streams: Streams
    # Returns a number that grows whenever somebody's rights change.
    changes_of_rights: Callable[[], int] = staticmethod(lambda: 0)
    _queries: Queries

    async def GetStatus(
        self, request: provisioning_pb2.GetStatusRequest, context: Context
    ) -> bytes:
        """Return where a tenant stands."""

        async def get(actor: Actor) -> bytes:
            return wire_of(await self._queries.answer(actor, request.tenant_id))

        return await self._answer(context, "GetStatus", get)

    # Not a generator, as the stubs expect: the end of the stream's time must also interrupt a
    # write that waits for a slow reader, and a generator does not run during one.
    async def StreamLogs(
        self, request: provisioning_pb2.StreamLogsRequest, context: Context
    ) -> None:
        """Send a tenant's log."""

        async def stream(actor: Actor) -> None:
            caller = Introduction.of(context)
            seat = self._seat(caller, request.tenant_id)
            async with (
                self._stream(caller, actor, seat),
                aclosing(
                    self._queries.logs(
                        actor, request.tenant_id, request.after_cursor, follow=request.follow
                    )
                ) as pages,
            ):
                async for page in pages:
                    if seat.is_in_doubt():
                        await seat.ask()
                    await context.write(page_wire(page))

        await self._answer(context, "StreamLogs", stream)

    # Not a generator, for the same reason.
    async def WatchStatus(
        self, request: provisioning_pb2.WatchStatusRequest, context: Context
    ) -> None:
        """Send a tenant's status, and then each change of it."""

        async def watch(actor: Actor) -> None:
            caller = Introduction.of(context)
            seat = self._seat(caller, request.tenant_id)
            async with (
                self._stream(caller, actor, seat),
                aclosing(self._queries.watch(actor, request.tenant_id)) as answers,
            ):
                async for answer in answers:
                    if seat.is_in_doubt():
                        await seat.ask()
                    await context.write(wire_of(answer))

        await self._answer(context, "WatchStatus", watch)

    def _stream(
        self, caller: Introduction, actor: Actor, seat: _Seat
    ) -> AbstractAsyncContextManager[None]:
        """Run a stream while its caller may see the tenant, which is also checked when quiet."""

        async def check() -> Failure | None:
            try:
                await seat.ask()
            except StoreUnavailable:
                # Nobody can tell now: the stream goes on, and before anything is sent the caller
                # is checked again.
                return None
            except Exception as error:  # noqa: BLE001 - whatever it is ends this stream only
                return failures.failure_of(error, method="StreamLogs")
            return None

        return self.streams.one(peer=caller.peer(), caller=actor.name, check=check)

    def _seat(self, caller: Introduction, tenant_id: str) -> _Seat:
        return _Seat(
            lambda: self._identify(caller), tenant_id.lower(), changes=self.changes_of_rights
        )


class _Seat:
    """A stream's right to go on: it may have begun an hour ago, and its caller lost rights since.

    The caller is checked again before the next message if anybody's rights have changed in this
    process, and otherwise at most about once a second: hundreds of streams get the same line.
    """

    def __init__(
        self, who: Callable[[], Awaitable[Actor]], tenant_id: str, *, changes: Callable[[], int]
    ) -> None:
        self._who = who
        self._tenant_id = tenant_id
        self._changes = changes
        self._seen = changes()
        self._asked_again_at = _soon()

    def is_in_doubt(self) -> bool:
        """Tell whether the caller must be checked again."""
        return self._changes() != self._seen or time.monotonic() >= self._asked_again_at

    async def ask(self) -> None:
        """Check that the caller may still see the tenant.

        Raises:
            NotSignedIn, NotFound, NotAllowed: the caller may not; this ends the stream.
        """
        seen = self._changes()
        demand(await self._who(), Right.READ, self._tenant_id)
        self._seen, self._asked_again_at = seen, _soon()


def _soon() -> float:
    # At random, so that not all streams of a tenant ask with the same line.
    return time.monotonic() + random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def page_wire(page: LogPage) -> bytes:
    """Return the bytes of a page of a log, which are made once and kept with the page."""
    if page.wire is None:
        page.wire = messages.log_page(page).SerializeToString()
    return page.wire


def wire_of(answer: Answer) -> bytes:
    """Return the bytes of an answer, which are made once and kept with it.

    WatchStatusResponse has the same as GetStatusResponse.
    """
    if answer.wire is None:
        answer.wire = provisioning_pb2.GetStatusResponse(
            status=messages.tenant_status(answer.status)
        ).SerializeToString()
    return answer.wire
