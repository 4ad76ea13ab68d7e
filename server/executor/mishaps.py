"""Errors that the executor itself meets at a step, as engine errors; and errors' evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import EngineError
from server.model.records import FOR_OPERATORS
from server.model.states import ErrorClass, GateState, Order
from server.model.unreadable import SPEC_UNREADABLE, why_unreadable

if TYPE_CHECKING:
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.step_context import EngineHealth, Found


def class_of(health: EngineHealth) -> ErrorClass:
    """Return the error class for an engine that takes no work."""
    if health.state is GateState.MISCONFIGURED:
        return ErrorClass.ENGINE_MISCONFIGURED
    return ErrorClass.ENGINE_DOWN


def asking(error: EngineError) -> EngineError:
    """Turn a step's error that the engine is down into one on which the prober decides."""
    return EngineError(
        ErrorClass.TRANSIENT,
        error.code,
        error.message,
        public=error.public,
        status=error.status,
        exc_type=error.exc_type,
        engine_message=error.engine_message,
        retry_after_seconds=error.retry_after_seconds,
        ask_prober=True,
    )


def too_late(kind: StepType) -> EngineError:
    """Return the error of a step that was cut off at its deadline."""
    return EngineError(
        ErrorClass.UNKNOWN_OUTCOME,
        "STEP_DEADLINE",
        f"{kind.title} took longer than {kind.deadline_seconds:.0f} s and was cut. What was "
        "made is found by the next probe.",
        ask_prober=True,
    )


def demand_readable(driven: DrivenRun) -> None:
    """Make sure that no step compares or makes anything by a spec that is partly defaults.

    A removal needs no spec, and passes.

    Raises:
        EngineError: SPEC_UNREADABLE, with a hold.
    """
    tenant = driven.tenant
    if tenant.spec_damage and driven.run.order is not Order.DEPROVISION:
        raise EngineError(ErrorClass.PERMANENT, SPEC_UNREADABLE, why_unreadable(tenant), hold=True)


def not_done(kind: StepType, found: Found) -> EngineError:
    """Return the error of a step whose second look found that something is still missing.

    Args:
        kind: The step.
        found: What the second look saw.
    """
    return EngineError(
        ErrorClass.TRANSIENT,
        "NOT_DONE_AFTER_APPLY",
        f"{kind.title}: the engine took the requests, yet this is missing: "
        + "; ".join(str(each) for each in found.missing),
    )


def bug(error: Exception) -> EngineError:
    """Return the error for a bug met at a step; of the exception it names only the type."""
    return EngineError(
        ErrorClass.TRANSIENT,
        "INTERNAL_ERROR",
        f"The step ran into a bug of the provisioner ({type(error).__name__}). It is tried again; "
        "the server's log has the traceback.",
    )


def evidence(error: EngineError) -> dict[str, str]:
    """Return what an attempt keeps of an error besides its code and message.

    Returns:
        Facts by name, without the empty ones. What may name other tenants is kept under
        `FOR_OPERATORS`, and shown only to those who may see all tenants.
    """
    facts = {
        "status": str(error.status) if error.status else "",
        "exc_type": error.exc_type,
        "engine_message": "" if error.public else error.engine_message,
        # It may name other tenants: only for those who may see all of them.
        FOR_OPERATORS: error.message if error.public else "",
        **error.evidence,
    }
    return {key: value for key, value in facts.items() if value}
