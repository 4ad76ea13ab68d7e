"""What holds for Skip, Cancel, Release, Adopt and Deprovision alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, OrderTerms
from server.errors import NotAllowed
from server.model.actor import RECONCILER
from server.model.states import StepState
from tests.server.commands.desk import JANE, OPTIONAL, PLAIN, VIEWER, WHY, Desk
from tests.server.commands.site import a_company, with_site

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


def _all(commands: Commands) -> list[Callable[[Any, str, OrderTerms], Coroutine[Any, Any, Any]]]:
    return [
        lambda who, tenant, terms: commands.skip_step(who, tenant, terms, step_key=OPTIONAL),
        commands.cancel,
        commands.release,
        commands.adopt_company,
        lambda who, tenant, terms: commands.deprovision(who, tenant, terms, options=PLAIN),
    ]


async def test_the_healer_and_those_who_may_only_look_give_none_of_these_orders(
    desk: Desk,
) -> None:
    """Promise 8: none of these is the reconciler's to give."""
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    before = await desk.scene.everything()
    for order in _all(desk.commands):
        for who in (RECONCILER, VIEWER):
            with pytest.raises(NotAllowed):
                await order(who, tenant_id, WHY)
    assert await desk.scene.everything() == before


async def test_an_order_repeated_with_its_request_id_is_the_same_order(desk: Desk) -> None:
    """Promise 10."""
    commands = with_site(desk, a_company())
    for number, order in enumerate(_all(commands)):
        tenant_id = await desk.start(f"Shop {number}")
        await desk.end(tenant_id, {OPTIONAL: StepState.FAILED})
        terms = OrderTerms(request_id=f"order-{number}", reason="once")
        await order(JANE, tenant_id, terms)
        before = await desk.scene.everything()
        await order(JANE, tenant_id, terms)
        assert await desk.scene.everything() == before
