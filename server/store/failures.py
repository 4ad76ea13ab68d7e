"""What went wrong with a database, in words that say what to do, and whether to try again.

Each driver has its own errors. Here they become one question with three answers: the connection
was lost and nothing was written; nobody knows whether it was written; or the database refused it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from server.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

# What drivers raise; a connection refused comes from asyncpg as an OSError.
DRIVER_ERRORS = (SQLAlchemyError, OSError)

_FULL = "53300"
# From a standby, and from a primary that was told to take no writes.
_READ_ONLY = "25006"
_LOCKED = "55P03"
# The disk is full, or fails.
_NO_ROOM = frozenset({"53100", "58030"})
# PostgreSQL's classes and codes for a connection that ends, or a transaction that was rolled back
# through no fault of its own and may well go through when it is sent again.
_LOST = ("08", "57P", _FULL, "25P03", "40001", "40P01", _READ_ONLY)

READ_ONLY = (
    "It is a standby, or default_transaction_read_only is on. Name the primary in "
    "PROVISIONER_DATABASE_URL, or turn that off; then it goes on by itself."
)

# The first match wins. The words are SQLite's and PostgreSQL's own.
_REMEDIES = (
    (
        ("database or disk is full", "no space left", "could not extend file"),
        "Free space on the disk the database is on; a server that runs goes on by itself then.",
    ),
    (
        ("readonly database", "unable to open database file"),
        "Let the user this runs as write the file and its folder.",
    ),
    (("read-only transaction",), READ_ONLY),
    (
        ("disk i/o error",),
        "Check that its disk has room, is not read-only and is not failing (dmesg, mount, df).",
    ),
    (
        ("connect call failed", "refused", "not known"),
        "Check that it runs, and that host and port in PROVISIONER_DATABASE_URL are right.",
    ),
    (
        ("no such file or directory",),
        "Check that it runs, that the folder of its socket in PROVISIONER_DATABASE_URL is right, "
        "and that the files named by PGSSLROOTCERT, PGSSLCERT, PGSSLKEY and PGSSLCRL in the "
        "environment exist.",
    ),
    (
        ("[errno 13]",),
        "Let the user this runs as reach the folder of its socket, and read the files that "
        "PGSSLROOTCERT, PGSSLCERT, PGSSLKEY and PGSSLCRL in the environment name.",
    ),
    (
        ("pem lib", "no certificate or crl found", "is a directory", "key values mismatch"),
        "PGSSLROOTCERT, PGSSLCERT and PGSSLKEY in the environment must name PEM files: "
        "certificates of authorities, this client's certificate, and the key that belongs to it.",
    ),
    (
        ("no answer came in time",),
        "Check that it is not overloaded or suspended, and that the network works.",
    ),
    (
        ("database is locked",),
        "Another process has been writing to the same file for a long time: end it, or wait for "
        "it.",
    ),
    (
        ("file is not a database", "malformed"),
        "The file is damaged, or is not one of ours: restore a backup.",
    ),
    (
        ("prepared statement",),
        "If a pooler in transaction mode is in between, add pooler=transaction to "
        "PROVISIONER_DATABASE_URL's query.",
    ),
    (
        ("too many connections for role", "too many connections for database"),
        "Raise its limit (ALTER ROLE or ALTER DATABASE ... CONNECTION LIMIT), or put a pooler in "
        "between.",
    ),
    (
        ("too many clients", "too many connections", "remaining connection slots"),
        "Raise max_connections, or put a pooler in between.",
    ),
    (
        ("has no equivalent in encoding",),
        "Move the database, by pg_dump, into one made with ENCODING 'UTF8' TEMPLATE template0.",
    ),
    (
        ("no schema has been selected",),
        "No schema of the user's search_path exists, or it may not use it: CREATE SCHEMA, GRANT "
        "USAGE, CREATE on it, or ALTER ROLE ... SET search_path.",
    ),
    (
        ("rejected ssl upgrade",),
        "That server doesn't speak TLS: turn ssl on there, or leave ssl= out of "
        "PROVISIONER_DATABASE_URL.",
    ),
    (
        ("no pg_hba.conf entry",),
        "Let pg_hba.conf admit this host, user and database; where it says `no encryption`, only "
        "with TLS: add ssl=require or ssl=verify-full to PROVISIONER_DATABASE_URL's query.",
    ),
    (
        ("is not valid for",),
        "Name PostgreSQL's host in PROVISIONER_DATABASE_URL as its certificate does, or write "
        "ssl=verify-ca, which looks at no name.",
    ),
    (
        ("certificate has expired", "certificate is not yet valid"),
        "Renew PostgreSQL's certificate, or set this host's clock right.",
    ),
    (
        ("valid client certificate", "alert unknown ca", "alert bad certificate"),
        "Name a certificate that PostgreSQL's ssl_ca_file signed, and its key, in PGSSLCERT and "
        "PGSSLKEY in the environment.",
    ),
    (
        ("`sslmode` parameter",),
        "Write one of these into PGSSLMODE in the environment.",
    ),
    (
        ("certificate verify failed", "root certificate file"),
        "Put the authority that signed PostgreSQL's certificate into the file that the "
        "environment's PGSSLROOTCERT names; it is read again by itself.",
    ),
    (
        ("permission denied",),
        "Let the owner of what it names GRANT it to the user in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("password authentication", "no password supplied"),
        "Check user and password in PROVISIONER_DATABASE_URL. If passfile= in it or PGPASSFILE "
        "names a file, that must have mode 0600 and a line for this host, port, database and user; "
        "it is read again by itself.",
    ),
    (
        ("does not exist",),
        "Check user, password and database name in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("must be owner",),
        "Run this command as the role that owns the tables: name it in PROVISIONER_DATABASE_URL.",
    ),
    (
        ("statement timeout",),
        "Give the user in PROVISIONER_DATABASE_URL a longer statement_timeout (ALTER ROLE ... "
        "SET), or see in pg_stat_activity what makes the database slow.",
    ),
    (
        ("lock timeout", "lock_timeout"),
        "Another transaction holds a lock: pg_stat_activity and pg_locks show whose it is.",
    ),
    (
        ("log_entries",),
        "The tenant's log_seq is behind its log, so its row was damaged from outside: correct it "
        'by SQL: see "A damaged row" in docs/operations.md.',
    ),
)


class OtherSchema(StoreUnavailable):
    """Another version changed the schema under this process; nothing was written."""


class ConnectionLost(StoreUnavailable):
    """The connection was lost before anything was written: sending it again does no harm."""


class AnswerLost(StoreUnavailable):
    """The answer to COMMIT was lost, and nobody can tell whether it was written."""


class CommitUnknown(StoreUnavailable):
    """The answer to COMMIT was lost.

    Attributes:
        written: Asks the database whether it was committed, and waits until that is settled; raises
            `ConnectionLost` while the database can't tell.
        result: What the work returned, which is valid if it was.
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
    """Say in one line what the database said, and what to do about it.

    Args:
        error: What a driver or SQLAlchemy raised, or an error of ours that was raised from it.

    Returns:
        The database's own words without the statement and its values, then the remedy if one is
        known. For a bug of ours only the name of the error, whose text might quote what was sent.
    """
    source: BaseException = error
    if isinstance(error, StoreUnavailable):
        source = error.__cause__ or error
    if isinstance(source, DBAPIError) and source.orig is not None:
        # The adapter prints its own class before the driver's words.
        source = source.orig.__cause__ or source.orig
    elif not isinstance(source, (*DRIVER_ERRORS, StoreUnavailable)) and not _code(source):
        # A bug of ours, whose message may contain what a caller sent.
        return type(source).__name__
    # The lines after the first quote the statement and its values.
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
    """Turn the errors that a driver raises in the block into a refusal that says what to do.

    Args:
        what: What the message says could not be done.
        but: Errors that are raised as they are.

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
    """Tell whether a transaction failed with its connection or through no fault of its own.

    It may then be sent again: nothing of it was written, unless it failed at the COMMIT.
    PostgreSQL's codes are in https://www.postgresql.org/docs/current/errcodes-appendix.html
    """
    if isinstance(error, OSError):  # a TimeoutError is one
        return True
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _code(error).startswith(_LOST)


def is_read_only(error: BaseException) -> bool:
    """Tell whether PostgreSQL takes no writes, on this connection at least."""
    return _code(error) == _READ_ONLY


def is_full(error: BaseException) -> bool:
    """Tell whether PostgreSQL gives no further connection."""
    return _code(error) == _FULL


def is_without_room(error: BaseException) -> bool:
    """Tell whether PostgreSQL's disk is full, or fails."""
    return _code(error) in _NO_ROOM


def is_locked(error: BaseException) -> bool:
    """Tell whether PostgreSQL did not grant a lock in time, because somebody holds it."""
    return _code(error) == _LOCKED


def _code(error: BaseException) -> str:
    """Return PostgreSQL's code from an error of SQLAlchemy or the driver; "" if it has none."""
    found = getattr(getattr(error, "orig", error), "sqlstate", None)
    return found if isinstance(found, str) else ""
