"""A tenant driven up to a step, and that step refused or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.errors import EngineError
from server.model.states import ErrorClass
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine

CHART = "step_3_chart_of_accounts"
WAREHOUSES = "step_4_warehouses"
SETTINGS = "step_5_settings"
ITEMS = "step_6_items"
CUSTOMER = "step_7_customer"
PROFILE = "step_8_pos_profile"
TILL = "step_9_pos_session"
FINAL = "step_10_post_sale_updates"
ORDER = (
    "step_0_engine_check",
    "step_1_platform_setup",
    "step_2_company",
    CHART,
    WAREHOUSES,
    SETTINGS,
    ITEMS,
    CUSTOMER,
    PROFILE,
    TILL,
)


async def up_to(engine: ErpNextEngine, key: str, **changes: object) -> MemoryContext:
    """Drive a tenant up to a step, that one left out."""
    context = MemoryContext(engine=engine, spec=kenyan(**changes))
    await drive(context, *ORDER[: ORDER.index(key)])
    context.sent.clear()
    return context


async def refused(context: MemoryContext, key: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await drive_step(context, key)
    return caught.value


async def stopped(context: MemoryContext, key: str) -> EngineError:
    """Expect a conflict, and that nothing was written because of it."""
    error = await refused(context, key)
    assert error.error_class is ErrorClass.PERMANENT
    assert not context.writes
    return error
