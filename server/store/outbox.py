"""Messages that wait for delivery: claimed for a while, so that only one of many couriers sends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, delete, literal_column, or_, select, update

from server.store.failures import refusals
from server.store.tables import OUTBOX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import Connection

_WAITING = "delivered_at IS NULL"
_MOST_ERROR = 400
# A receiver that was away for long leaves a hundred thousand: deleted at once, they would hold
# SQLite's writer for a second. Pages go by id, because a page of those that are old would be looked
# for among all that stay.
PAGE_ROWS = 500
# If one count outgrew its column, PostgreSQL would refuse the claim, and none of its messages would
# be sent.
_MOST_TRIES = 1_000_000
_ONE_MORE = case((OUTBOX.c.tries < _MOST_TRIES, OUTBOX.c.tries + 1), else_=_MOST_TRIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that is to be sent.

    Attributes:
        body: The JSON text to be sent.
        tries: How often it was claimed, including this time.
    """

    id: str
    kind: str
    body: str
    tries: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """What a page of messages lost.

    Attributes:
        given_up: Each message that never arrived, with its last error.
        after: The id after which the next page begins; None after the last one.
    """

    given_up: Sequence[tuple[str, str]]
    after: str | None


class Outbox:
    """The messages of one store.

    Every method raises `StoreUnavailable` if the database can't be read or written.
    """

    def __init__(
        self,
        in_transaction: Callable[[Callable[[Connection], Any]], Any],  # Any: as `Database`'s
    ) -> None:
        self._in_transaction = in_transaction

    async def claim(
        self, now: datetime, *, hold: timedelta, longest: timedelta, limit: int
    ) -> Sequence[Message]:
        """Claim messages that are due; nobody else gets them until `hold` is over.

        So if a courier dies with them, they are sent again, with the same ids.

        Args:
            now: The current time.
            hold: For how long to claim them.
            longest: A message that is due further ahead than this is due now: the clock was set
                back since.
            limit: The most messages to claim.
        """

        def take(connection: Connection) -> list[Message]:
            waiting = (
                select(OUTBOX.c.id)
                .where(literal_column(_WAITING))
                .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
            )
            # Two ranges of the index, one after the other: a look that asks for both at once
            # reads all the messages that wait in between.
            ids: list[Any] = []
            for due in (OUTBOX.c.due_at <= now, OUTBOX.c.due_at > now + longest):
                if len(ids) < limit:
                    more = waiting.where(due).limit(limit - len(ids))
                    ids += connection.execute(more).scalars()
            if not ids:
                return []
            taken = connection.execute(
                update(OUTBOX)
                # Checked again under the row's lock, since another courier may have been faster.
                # One by one, since an id in SQLite may be bytes, which no list takes as text.
                .where(
                    or_(*(OUTBOX.c.id == each for each in ids)),
                    or_(OUTBOX.c.due_at <= now, OUTBOX.c.due_at > now + longest),
                    literal_column(_WAITING),
                )
                .values(due_at=now + hold, tries=_ONE_MORE)
                .returning(OUTBOX.c.id, OUTBOX.c.kind, OUTBOX.c.body, OUTBOX.c.tries)
            )
            return [
                Message(id=row.id, kind=row.kind, body=row.body, tries=row.tries) for row in taken
            ]

        return await self._run(take)  # type: ignore[no-any-return]  # as `take` returns it

    async def delivered(self, message_id: str, at: datetime) -> None:
        """Record that a message arrived; it stays until it is old (`forget`).

        Args:
            message_id: The message.
            at: When it arrived.
        """
        await self._run(
            lambda connection: connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.id == message_id)
                .values(delivered_at=at, last_error="")
            )
        )

    async def failed(self, message_id: str, *, due_at: datetime, error: str) -> None:
        """Record why a message did not arrive; of one that arrived meanwhile, nothing is changed.

        Args:
            message_id: The message.
            due_at: When it is to be sent again.
            error: Why it did not arrive; long texts are cut.
        """
        await self._run(
            lambda connection: connection.execute(
                update(OUTBOX)
                .where(OUTBOX.c.id == message_id, literal_column(_WAITING))
                .values(due_at=due_at, last_error=error[:_MOST_ERROR])
            )
        )

    async def forget(self, before: datetime, *, after: str) -> Forgotten:
        """Delete, from the next page of messages, what arrived or was written before a time.

        Args:
            before: The time.
            after: The id after which the page begins; "" for the first page.
        """

        def delete_old(connection: Connection) -> Forgotten:
            page = select(OUTBOX.c.id).where(OUTBOX.c.id > after).order_by(OUTBOX.c.id)
            ids = list(connection.execute(page.limit(PAGE_ROWS)).scalars())
            if not ids:
                return Forgotten(given_up=[], after=None)
            of_page = and_(OUTBOX.c.id > after, OUTBOX.c.id <= ids[-1])
            connection.execute(delete(OUTBOX).where(of_page, OUTBOX.c.delivered_at < before))
            gone = connection.execute(
                delete(OUTBOX)
                .where(of_page, literal_column(_WAITING), OUTBOX.c.created_at < before)
                .returning(OUTBOX.c.id, OUTBOX.c.last_error)
            )
            return Forgotten(
                given_up=[(row.id, row.last_error or "") for row in gone],
                after=ids[-1] if len(ids) == PAGE_ROWS else None,
            )

        found: Forgotten = await self._run(delete_old)
        return found

    async def _run(self, work: Callable[[Connection], Any]) -> Any:  # Any: what the work returns
        with refusals():
            return await self._in_transaction(work)
