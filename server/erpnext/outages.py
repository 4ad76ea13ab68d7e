"""Rules for answers that are about the whole engine: away, stopped, closed to us, or failing.

Most of them have the prober asked before anything is concluded: one tenant's error never closes
the gate by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.roles import role_for
from server.erpnext.verdicts import Judgement, error
from server.model.states import ErrorClass

if TYPE_CHECKING:
    from server.erpnext.reply import Case
    from server.errors import EngineError

# Without a Retry-After we do not know the window of ERPNext's rate limit; a minute is usual
# (recording 11-rate-limit). A wish for more than ten minutes is not obeyed blindly, and "come
# again at once" (a proxy whose date is over) would be said again at once, without end.
_RATE_LIMIT_SECONDS = 60.0
_SHORTEST_RATE_LIMIT = 1.0
_LONGEST_RETRY_AFTER = 600.0
# Reads are answered while a site is being upgraded, so another process's prober says "up".
_READ_ONLY_SECONDS = 60.0

# pymysql: no connection (2002, 2003), gone (2006), lost during the query (2013), too many (1040,
# 1203), shutting down (1053). Other numbers are faults in the request (1054, 1292, …).
_DATABASE_AWAY = frozenset({2002, 2003, 1040, 1203, 1053})
_DATABASE_LOST = frozenset({2006, 2013})
# Deadlock (1213), lock wait timeout (1205), and, from MariaDB 11.6 on, their relative "record
# has changed since last read" (1020).
_DATABASE_RACE = frozenset({1020, 1205, 1213})


def credentials(case: Case) -> Judgement:
    """401, 403 without a user, 400: the engine does not accept the token.

    Source: recordings 01-logged-user-unknown-key, 01-logged-user-wrong-secret,
    01-logged-user-no-token and 01-logged-user-malformed-authorization.
    """
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_CREDENTIALS_REFUSED,
        "was refused: the engine does not accept our API key and secret.",
        ask_prober=True,
    )


def permission(case: Case) -> Judgement:
    """403: a role is missing, or there is no user at all.

    Returns:
        ROLE_MISSING with the role's name (recording 01-permissions-system-manager-only); or what
        `credentials` says, if the request came as a guest (recording
        01-versions-guest-and-plain-user).
    """
    guest = "Guest" in case.words or "Login to access" in case.words
    if guest or case.request.path.endswith("frappe.auth.get_logged_user"):
        # The token did not arrive, or the user does not exist any more.
        return credentials(case)
    subject = case.request.doctype or case.request.path
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ROLE_MISSING,
        f"is not allowed for the API user: give it the role {role_for(subject)} ({subject}). If it "
        "has that role, see what narrows it in ERPNext: Role Permissions Manager, User "
        "Permissions.",
    )


def rate_limited(case: Case) -> Judgement:
    """429: wait as long as the engine asks, between a second and ten minutes; else one minute.

    The pause is for the whole site: ERPNext counts the time of all of its callers together
    (recording 11-rate-limit).
    """
    wish = _RATE_LIMIT_SECONDS if case.retry_after is None else case.retry_after
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_RATE_LIMITED,
        "came over the site's rate limit.",
        retry_after_seconds=min(max(wish, _SHORTEST_RATE_LIMIT), _LONGEST_RETRY_AFTER),
        whole_site=True,
    )


def stopped(case: Case) -> Judgement:
    """503: maintenance; nothing was done (recording 11-maintenance-mode)."""
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_MAINTENANCE,
        "was not accepted: the site is in maintenance mode.",
        ask_prober=True,
        retry_after_seconds=_wish(case),
    )


def read_only(case: Case) -> Judgement:
    """503 to a write while reads are allowed; nothing was done.

    Source: recording 11-maintenance-mode-reads-allowed.
    """
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_MAINTENANCE,
        "was not accepted: the site is read-only during maintenance.",
        ask_prober=True,
        retry_after_seconds=_wish(case) or _READ_ONLY_SECONDS,
    )


def database(case: Case) -> Judgement:
    """The database failed: it is away, was lost during the query, or refuses the request.

    Returns:
        ENGINE_DOWN if nothing can have been stored; OUTCOME_UNKNOWN for a write whose connection
        may have been lost in the middle; what `deadlock` or `fault` say for other numbers.

    Source: recording 11-mariadb-down (2003).
    """
    number = case.database_error
    if number in _DATABASE_RACE:
        return deadlock(case)
    if number and number not in _DATABASE_AWAY | _DATABASE_LOST:
        return fault(case)
    # Without tracebacks there is no number; "lost during the query" is the safe assumption.
    if case.is_write and number not in _DATABASE_AWAY:
        return unknown_outcome(case)
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_DOWN,
        "failed: the engine has no connection to its database.",
        ask_prober=True,
    )


def deadlock(case: Case) -> Judgement:
    """Two writers met; ours was rolled back completely, and may be repeated.

    Source: recordings 12-concurrent-companies and 12-concurrent-other-calls.
    """
    return error(
        case,
        ErrorClass.RACE,
        Code.ENGINE_DEADLOCK,
        "met another writer in the database and was rolled back whole.",
    )


def fault(case: Case) -> Judgement:
    """A fault that the same request would meet again.

    Source: the README of the recordings, "How a client should take each answer".
    """
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ENGINE_FAULT,
        f"made the engine fail with {case.exc_type}; repeating it would too. "
        "See the site's Error Log.",
    )


def server_error(case: Case) -> Judgement:
    """A 5xx without a known error type.

    Returns:
        OUTCOME_UNKNOWN for a write that was not answered by ERPNext, ENGINE_DOWN for such a read;
        ENGINE_UNEXPECTED_ANSWER for ERPNext's own. After such a page a Company was not there
        (recording 11-db-connection-cut), and a document to be deleted was gone (recording
        11-redis-queue-down-delete).
    """
    if case.is_foreign:
        # A DELETE with such an answer had been carried out (recording
        # 11-redis-queue-down-delete), and a gateway says with JSON of its own that it gave up
        # waiting.
        if case.is_write:
            return unknown_outcome(case)
        return error(
            case,
            ErrorClass.TRANSIENT,
            Code.ENGINE_DOWN,
            f"got an error of the web server ({case.status}).",
            ask_prober=True,
            retry_after_seconds=_wish(case),
        )
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.ENGINE_UNEXPECTED_ANSWER,
        not_known(case),
        ask_prober=case.status == 503,  # noqa: PLR2004 - Service Unavailable
    )


def not_known(case: Case) -> str:
    """Say of an answer that no rule is for who gave it: a web server gives no error type.

    Returns:
        The rest of a sentence whose subject is the request.
    """
    if case.is_foreign:
        return (
            f"was refused by a web server ({case.status}), not by ERPNext: look at what stands in "
            "front of the site."
        )
    return f"got an answer that is not known ({case.status} {case.exc_type or 'without a type'})."


def _wish(case: Case) -> float | None:
    """Return the seconds that the engine asked for, up to the longest that we obey."""
    return None if case.retry_after is None else min(case.retry_after, _LONGEST_RETRY_AFTER)


def unknown_outcome(case: Case) -> EngineError:
    """A write whose answer is not ERPNext's: it may have been carried out.

    A DELETE that was answered with a web server's 500 had been (recording
    11-redis-queue-down-delete).
    """
    return error(
        case,
        ErrorClass.UNKNOWN_OUTCOME,
        Code.OUTCOME_UNKNOWN,
        f"was answered with {case.status} and nothing from ERPNext; look before it is sent again.",
        ask_prober=True,
    )
