"""What the steps that work in the tenant's Company have in common: they say if it is gone."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from server.erpnext.company import refuse_if_gone
from server.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from server.model.step_context import Step, StepContext

# A step's probe or apply, which have different arguments.
Half = TypeVar("Half", bound="Callable[..., Coroutine[Any, Any, Any]]")


def in_company(half: Half) -> Half:
    """Let a step's probe or apply, if it stops for good, look whether the Company is gone.

    Args:
        half: The step's `probe` or `apply`.

    Returns:
        The same, which raises COMPANY_VANISHED or COMPANY_RENAMED, with a hold, in place of the
        step's own permanent error if that is why.
    """

    @wraps(half)
    async def looks(step: Step, context: StepContext, *found: Any) -> Any:  # Any: as the half's own
        try:
            return await half(step, context, *found)
        except EngineError as error:
            await refuse_if_gone(context, error)
            raise

    return cast("Half", looks)
