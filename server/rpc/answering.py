"""Ends every call well or with one failure, whichever method it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, TypeVar

import grpc

from server.access.policy import admit
from server.errors import NotAllowed
from server.limits import CALL_SECONDS
from server.rpc import failures
from server.rpc.streams import StreamEnded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.access.call_rate import CallRate
    from server.model.actor import Actor
    from server.rpc.identity import Context, Identify

Answer = TypeVar("Answer")

# Streams have an end of their own (`streams`); a status is answered from memory, and so
# often that a timer would be felt.
_WITHOUT_END = frozenset({"StreamLogs", "WatchStatus", "GetStatus"})
# What a client's gRPC waits at most before it repeats a call.
_BACKOFF_SECONDS = 1.0
TIME_OVER = failures.Failure(
    code=grpc.StatusCode.DEADLINE_EXCEEDED,
    reason="CALL_TIME_OVER",
    message=(
        f"The call took longer than {CALL_SECONDS:g} s, which is the limit for calls without a "
        "deadline. An order given with a request_id can be repeated safely."
    ),
)


class Answering:
    """What the services have in common: who calls, and how a call ends."""

    _identify: Identify
    # Calls answered, by rpc and code, for metrics; of all services of the process.
    calls: ClassVar[Counter[tuple[str, str]]] = Counter()
    # Writes into the audit that an order was refused at the edge; None where nobody listens.
    note_refusal: Callable[[Actor, str, str], Awaitable[None]] | None = None
    # Counts the calls of each caller; None where they are not limited.
    rate: CallRate | None = None

    async def _answer(
        self, context: Context, method: str, work: Callable[[Actor], Awaitable[Answer]]
    ) -> Answer:
        """Do the work for whoever calls, and end the call well or with one failure.

        A CancelledError rises: gRPC leaks where a handler swallows it (grpc/grpc#43360).
        """
        # None where the caller set no deadline, though its type says otherwise.
        left: float | None = context.time_remaining()
        end: asyncio.Timeout | None = None
        if left is not None and left <= 0:
            await failures.abort(context, failures.DEADLINE_PASSED)
        try:
            actor = await self._identify(context)
            if self.rate is not None:
                self.rate.take(actor)
            await self._admit(actor, method)
            if left is not None or method in _WITHOUT_END:
                answer = await work(actor)
            else:
                async with asyncio.timeout(CALL_SECONDS) as end:
                    answer = await work(actor)
        except StreamEnded as ended:
            failure = ended.failure
        except TimeoutError as error:
            over = end is not None and end.expired()
            failure = TIME_OVER if over else failures.failure_of(error, method=method)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            failure = failures.failure_of(error, method=method)
        else:
            self.calls[method, "OK"] += 1
            return answer
        self.calls[method, failure.code.name] += 1
        # Outside of the handlers, for abort ends the call by raising.
        return await failures.abort(context, failure, again=_has_time(context, left))

    async def _admit(self, actor: Actor, method: str) -> None:
        try:
            admit(actor, method)
        except NotAllowed as error:
            if self.note_refusal is not None:
                await self.note_refusal(actor, method, error.code)
            raise


def _has_time(context: Context, began_with: float | None) -> bool:
    """Tell whether the caller has the time to get the same answer once more.

    Repeated by his gRPC within the same deadline, a call that waited for long would end with that
    deadline, and he would not hear why.
    """
    left: float | None = context.time_remaining()
    if began_with is None or left is None:
        return True
    took = began_with - left
    return left > took + min(took, _BACKOFF_SECONDS)
