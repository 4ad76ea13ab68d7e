"""What a store sends to its database, for tests that count statements or ask for their plans."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event

from server.store import pulse

if TYPE_CHECKING:
    from collections.abc import Iterator

    Sent = list[tuple[str, tuple[Any, ...]]]


@contextlib.contextmanager
def statements_sent() -> Iterator[Sent]:
    """Collect the statements that are sent meanwhile, with their parameters.

    By any engine, because short reads have one of their own. The pulse's question is left out: it
    is asked once a second, whatever a test does, and would now and then be one statement more.
    """
    sent: Sent = []

    def remember(_connection: object, _cursor: object, statement: str, *rest: Any) -> None:
        if statement != pulse._QUESTION:
            sent.append((statement, rest[0]))

    event.listen(Engine, "before_cursor_execute", remember)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", remember)
