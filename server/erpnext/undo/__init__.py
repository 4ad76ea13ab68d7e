"""The steps that remove what was made for a tenant, in the order that ERPNext accepts.

A document is removed before what it points to (recordings 00-undo-path and
10-delete-wrong-order). What tenants share (Fiscal Years, Modes of Payment, the root groups)
stays, and so does what people made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.undo.company import Company, CompanyParts
from server.erpnext.undo.final_check import NothingIsLeft
from server.erpnext.undo.items import DemoItems
from server.erpnext.undo.removing import RemoveDocuments
from server.erpnext.undo.tills import Tills
from server.erpnext.undo.trade import TradeCheck
from server.erpnext.undo.transactions import Transactions

if TYPE_CHECKING:
    from server.model.step_context import Step

_STEPS: tuple[Step, ...] = (
    TradeCheck(),
    Transactions(),
    Tills(),
    RemoveDocuments("undo_4_pos_profile", "POS Profile"),
    DemoItems(),
    RemoveDocuments("undo_6_customer", "Customer"),
    RemoveDocuments("undo_7_price_list", "Price List"),
    RemoveDocuments("undo_8_item_group", "Item Group"),
    CompanyParts(),
    Company(),
    NothingIsLeft(),
)

UNDO_STEPS: dict[str, Step] = {step.key: step for step in _STEPS}
