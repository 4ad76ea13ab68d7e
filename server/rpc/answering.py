"""Ends every call, whatever its method, either well or with exactly one failure."""

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

# Streams have time limits of their own (`streams`); a status is answered from memory, and so often
# that the cost of a timer would be felt.
_WITHOUT_END = frozenset({"StreamLogs", "WatchStatus", "GetStatus"})
# The longest that a client's gRPC library waits before it repeats a call.
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
    """What all services have in common: finding out who calls, and ending the call.

    What a method of the contract takes, promises and answers is said there (proto/provisioner/v1).
    One that fails ends with `failures.abort`, which raises.
    """

    _identify: Identify
    # Calls answered, by rpc and status code, for metrics; for all services of the process.
    calls: ClassVar[Counter[tuple[str, str]]] = Counter()
    # Records in the audit that an order was refused at the edge; None if there is no audit.
    note_refusal: Callable[[Actor, str, str], Awaitable[None]] | None = None
    # Counts each caller's calls; None if they are not limited.
    rate: CallRate | None = None

    async def _answer(
        self, context: Context, method: str, work: Callable[[Actor], Awaitable[Answer]]
    ) -> Answer:
        """Do the work for the caller, and end the call well or with one failure.

        A CancelledError is let through: gRPC leaks if a handler swallows it (grpc/grpc#43360).
        """
        # None if the caller set no deadline, although its declared type says otherwise.
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
        # Outside the handlers, because abort ends the call by raising.
        return await failures.abort(context, failure, again=_has_time(context, left))

    async def _admit(self, actor: Actor, method: str) -> None:
        try:
            admit(actor, method)
        except NotAllowed as error:
            if self.note_refusal is not None:
                await self.note_refusal(actor, method, error.code)
            raise


def _has_time(context: Context, began_with: float | None) -> bool:
    """Tell whether the caller has time to get the same answer once more.

    A client's gRPC repeats a call within the same deadline. If the call took long, the repetition
    would end with that deadline, and the caller would not hear why it failed.
    """
    left: float | None = context.time_remaining()
    if began_with is None or left is None:
        return True
    took = began_with - left
    return left > took + min(took, _BACKOFF_SECONDS)
