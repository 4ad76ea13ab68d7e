"""Marks the orders that are recorded in the audit, with their outcome."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from server.access.trail import entry
from server.commands.asked import OrderTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from server.commands.desk import OrderDesk
    from server.model.actor import Actor

# Any: an order with any arguments and any answer, both of which stay as they are.
Order = TypeVar("Order", bound="Callable[..., Coroutine[Any, Any, Any]]")


def audited(action: str, *, of_all: bool = False) -> Callable[[Order], Order]:
    """Mark an order: a method of an order desk whose first argument is the actor.

    Args:
        action: What the audit calls it: the name of its rpc.
        of_all: Whether it is about all tenants, even if it writes to them one by one.
    """

    def mark(order: Order) -> Order:
        @wraps(order)
        async def carry_out(desk: OrderDesk, actor: Actor, *args: Any, **kwargs: Any) -> object:
            terms = _terms(args, kwargs)
            noted = entry(
                actor,
                desk._now(),
                action=action,
                target=_target(args, kwargs),
                request_id=terms.request_id,
                reason=terms.reason,
            )
            async with desk._database.audited(noted, of_all=of_all):
                return await order(desk, actor, *args, **kwargs)

        # For the test that no order is left unmarked.
        carry_out.__dict__["audited"] = action
        return cast("Order", carry_out)

    return mark


# Any: the arguments of any order.
def _terms(args: tuple[Any, ...], kwargs: dict[str, Any]) -> OrderTerms:
    for value in (*args, *kwargs.values()):
        if isinstance(value, OrderTerms):
            return value
    return OrderTerms(
        request_id=str(kwargs.get("request_id", "")), reason=str(kwargs.get("reason", ""))
    )


def _target(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    for name in ("tenant_id", "engine_id"):
        if name in kwargs:
            return str(kwargs[name])
    return args[0] if args and isinstance(args[0], str) else ""
