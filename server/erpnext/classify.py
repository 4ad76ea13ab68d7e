"""What an answer means: a pure function from a request and its reply to an answer or an error.

ERPNext's error type decides first, then the status: a 417 can be a passing race, a 500 can be
permanent, and a 409 can be about another document (recordings' README, "How a client should
take each answer"). An unknown answer never counts as success, and a write whose answer can't be
read has an unknown outcome: it never counts as failed.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.reply import Reply, read_reply
from server.erpnext.rules import BY_EXC_TYPE, by_status, success
from server.erpnext.verdicts import Judgement, subject_of
from server.errors import EngineError
from server.model.states import ErrorClass

if TYPE_CHECKING:
    from server.model.step_context import Request


class Failure(Enum):
    """How a call ended without an answer.

    Attributes:
        NOT_SENT: No connection was made, so the engine knows nothing of it.
        NO_CONNECTION_FREE: None of our own connections was free in time; nothing was sent.
        TIMED_OUT: It was sent, and no whole answer came within the time limit.
        CUT: It was sent, and the connection ended before the whole answer was there.
        TOO_LARGE: An answer came that is larger than we read.
    """

    NOT_SENT = auto()
    NO_CONNECTION_FREE = auto()
    TIMED_OUT = auto()
    CUT = auto()
    TOO_LARGE = auto()


def judge_reply(request: Request, reply: Reply) -> Judgement:
    """Say what an answer means.

    Args:
        request: What was asked; its `doctype` decides which document "exists" is about.
        reply: What came back.

    Returns:
        The answer, or the error to raise.

    Source: the README of the recordings, "How a client should take each answer".
    """
    case = read_reply(request, reply)
    if 200 <= case.status < 300:  # noqa: PLR2004 - HTTP's range of successes
        return success(case)
    return BY_EXC_TYPE.get(case.exc_type, by_status)(case)


def judge_failure(request: Request, failure: Failure, detail: str) -> EngineError:
    """Say what it means that no answer came.

    Args:
        request: What was asked.
        failure: How the call ended.
        detail: The library's name for it; never its message, which may contain headers.

    Returns:
        The error to raise. Of a write that may have been sent its class is UNKNOWN_OUTCOME: a
        server carries out what a client has given up (recording 11-client-timeout).
    """
    evidence = {"method": request.method, "path": request.path, "failure": detail}
    if failure is Failure.NOT_SENT:
        return EngineError(
            ErrorClass.TRANSIENT,
            Code.ENGINE_UNREACHABLE,
            f"No connection for {subject_of(request)} ({detail}); nothing was sent. "
            "Check the engine's url, network and certificate.",
            ask_prober=True,
            evidence=evidence,
        )
    if failure is Failure.NO_CONNECTION_FREE:
        return EngineError(
            ErrorClass.TRANSIENT,
            Code.CONNECTIONS_EXHAUSTED,
            f"No connection of ours was free for {subject_of(request)}; nothing was sent.",
            evidence=evidence,
        )
    if request.method != "GET":
        return EngineError(
            ErrorClass.UNKNOWN_OUTCOME,
            Code.OUTCOME_UNKNOWN,
            f"{subject_of(request)} was sent and no whole answer came ({detail}); look before "
            "it is sent again.",
            ask_prober=True,
            evidence=evidence,
        )
    if failure is Failure.TOO_LARGE:
        return EngineError(
            ErrorClass.PERMANENT,
            Code.ENGINE_UNEXPECTED_ANSWER,
            f"The answer to {subject_of(request)} is larger than this service reads.",
            evidence=evidence,
        )
    return EngineError(
        ErrorClass.TRANSIENT,
        Code.ENGINE_NO_ANSWER,
        f"{subject_of(request)} was sent and no whole answer came ({detail}).",
        ask_prober=True,
        evidence=evidence,
    )
