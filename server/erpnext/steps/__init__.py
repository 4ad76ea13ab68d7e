"""The eleven steps of the blueprint `erpnext`, each with its probe and its apply.

A probe only reads. An apply makes what the probe found missing, sends every reference explicitly
(ERPNext silently fills a missing one from the site's defaults, recording 04-warehouse-create-bad)
and repeats nothing. The executor then probes again, and that look decides whether the step is done.
Steps 3 to 9 raise COMPANY_VANISHED or COMPANY_RENAMED, besides what they say themselves, if the
tenant's Company is gone (`in_company`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.steps.step_0_engine_check import EngineCheck
from server.erpnext.steps.step_1_platform_setup import PlatformSetup
from server.erpnext.steps.step_2_company import CompanyStep
from server.erpnext.steps.step_3_chart_of_accounts import ChartOfAccounts
from server.erpnext.steps.step_4_warehouses import Warehouses
from server.erpnext.steps.step_5_settings import SettingsAndPriceList
from server.erpnext.steps.step_6_items import DemoItems
from server.erpnext.steps.step_7_customer import WalkInCustomer
from server.erpnext.steps.step_8_pos_profile import PosProfile
from server.erpnext.steps.step_9_pos_session import Till
from server.erpnext.steps.step_10_post_sale_updates import FinalCheck

if TYPE_CHECKING:
    from server.model.step_context import Step

_BUILDERS: tuple[Step, ...] = (
    EngineCheck(),
    PlatformSetup(),
    CompanyStep(),
    ChartOfAccounts(),
    Warehouses(),
    SettingsAndPriceList(),
    DemoItems(),
    WalkInCustomer(),
    PosProfile(),
    Till(),
)

STEPS: dict[str, Step] = {
    step.key: step for step in (*_BUILDERS, FinalCheck(checked=_BUILDERS[2:]))
}
