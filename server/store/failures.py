"""What went wrong with a database, in words that say what to do, and whether to try again.

Drivers name their errors after themselves. Here they become one question with three
answers: the connection was lost and nothing was written; nobody knows whether it was
written; or the database refused it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# What a driver raises; asyncpg's refused connections come as an OSError.
DRIVER_ERRORS = (SQLAlchemyError, OSError)

# PostgreSQL's classes and codes of a connection that ends, or of a transaction that was
# rolled back for no fault of its own: sent again, it may well go through.
_LOST = ("08", "57P", "53300", "25P03", "40001", "40P01")

# First match wins. The words are SQLite's and PostgreSQL's own.
_REMEDIES = (
    (
        ("database or disk is full", "no space left", "could not extend file"),
        "Free space on the disk the database is on; it goes on by itself then.",
    ),
    (
        ("readonly database", "read-only transaction", "unable to open database file"),
        "Let the user this runs as write the file and its folder, or the database take writes.",
    ),
    (
        ("disk i/o error",),
        "See that its disk has room, is not read-only and does not fail (dmesg, mount, df).",
    ),
    (
        ("connect call failed", "refused", "not known", "no such file or directory"),
        "See that it runs, and that host and port in PROVISIONER_DATABASE_URL are right.",
    ),
    (
        ("no answer came in time",),
        "See that it is not overloaded or stopped, and that the network passes packets.",
    ),
    (
        ("database is locked",),
        "Another process has been writing the same file for long: end it, or wait for it.",
    ),
    (
        ("file is not a database", "malformed"),
        "The file is damaged or none of ours: restore a backup.",
    ),
    (
        ("log_entries",),
        "The tenant's log_seq is behind its log, so its row was damaged from outside: correct it "
        'by SQL, see "A damaged row" in docs/operations.md.',
    ),
    (
        ("prepared statement",),
        "If a pooler in transaction mode is in between, add pooler=transaction to "
        "PROVISIONER_DATABASE_URL's query.",
    ),
    (
        ("too many clients", "too many connections", "remaining connection slots"),
        "Raise max_connections, or put a pooler in between.",
    ),
    (
        ("permission denied",),
        "Let the owner of what it names GRANT it to the user in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("password authentication", "no password supplied", "does not exist"),
        "See user, password and database name in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("must be owner",),
        "Give this command as the role that owns the tables: name it in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("lock timeout", "lock_timeout"),
        "Another transaction holds a lock: see pg_stat_activity and pg_locks for who it is.",
    ),
)


class OtherSchema(StoreUnavailable):
    """Another version changed the schema under this process; nothing was written."""


class ConnectionLost(StoreUnavailable):
    """The connection went before anything was written: sent again, it does no harm."""


class CommitUnknown(StoreUnavailable):
    """The answer to COMMIT was lost.

    Attributes:
        written: Asks the database whether it was committed, waiting until that is settled.
        result: What the work gave, which counts if it was.
    """

    def __init__(
        self,
        message: str,
        *,
        written: Callable[[], Awaitable[bool]],
        result: Any,  # Any: whatever the work gives
    ) -> None:
        super().__init__(message)
        self.written = written
        self.result = result


def detail(error: BaseException) -> str:
    """Say in one line what the database said, and what to do about it."""
    source: BaseException = error
    if isinstance(error, StoreUnavailable):
        source = error.__cause__ or error
    if isinstance(source, DBAPIError) and source.orig is not None:
        # The adapter prints its own class before the driver's words.
        source = source.orig.__cause__ or source.orig
    elif not isinstance(source, (*DRIVER_ERRORS, StoreUnavailable)):
        # A bug of ours: its words may hold what a caller sent.
        return type(source).__name__
    # Further lines quote the statement and its values.
    text = str(source).partition("\n")[0].strip()
    if not text:
        slow = isinstance(source, TimeoutError)
        text = "no answer came in time" if slow else type(source).__name__
    low = text.lower()
    remedy = next((hint for words, hint in _REMEDIES if any(word in low for word in words)), "")
    return f"{text.rstrip('.')}. {remedy}".rstrip()


@contextmanager
def refusals(
    what: str = "The database can't write now", *, but: tuple[type[Exception], ...] = ()
) -> Iterator[None]:
    """Let what a driver raises meanwhile be heard as a refusal that says what to do.

    Args:
        what: Could not be done.
        but: Errors that go through as they are.

    Raises:
        StoreUnavailable: instead of the driver's error, which may quote what was written.
    """
    try:
        yield
    except but:
        raise
    except DRIVER_ERRORS as error:
        raise StoreUnavailable(f"{what}: {detail(error)}") from error


def is_lost(error: BaseException) -> bool:
    """Tell whether a transaction failed with its connection, not by its own fault."""
    if isinstance(error, OSError):  # a TimeoutError is one
        return True
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or code.startswith(_LOST)
