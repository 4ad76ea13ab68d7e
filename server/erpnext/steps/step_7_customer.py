"""step_7: the walk-in customer, one for each tenant, although customers belong to no Company.

`name` in the body makes the POST repeatable (recording 06-customer-create-with-name). Older 15.x
ignore it and name a customer after its `customer_name`, with a number if that is taken. For them
the unique name is also sent as `customer_name`, and the look falls back to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import company_of, demand_company, waits_for_company
from server.erpnext.making import make_named
from server.erpnext.masters import CUSTOMER_GROUP, ROOT_TERRITORY
from server.erpnext.requests import make, rows
from server.erpnext.seeing import (
    OWNERSHIP_FIELDS,
    compared,
    differing,
    flag,
    rows_of,
    seen,
    text,
)
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.erpnext.steps.step_1_platform_setup import STEP_KEY as SETUP_KEY
from server.erpnext.versions import keeps_name
from server.model.difference import Difference
from server.model.step_context import Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.erpnext.site import Site
    from server.model.step_context import StepContext

TITLE = "Walk-In Customer"


class WalkInCustomer:
    """The customer for sales to somebody unknown."""

    key = "step_7_customer"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look by name, then by the title from which an older version made the name.

        Returns:
            As outputs, the name of the `customer`.

        Raises:
            EngineError: DOCUMENT_DIFFERS if it is disabled; or the engine could not be asked.
        """
        company = await company_of(context)
        if company is None:
            return waits_for_company("Customer", TITLE)
        name = company.names.customer
        site = await site_of(context)
        row = await _find(context, company, site)
        if row is None:
            return Found(done=False, missing=(Difference(doctype="Customer", name=name),))
        if flag(row, "disabled"):
            raise differing(
                Code.DOCUMENT_DIFFERS,
                compared("Customer", text(row, "name"), (("disabled", "1", "0"),)),
                "Enable it, then retry.",
            )
        return Found(
            done=True,
            documents=(seen("Customer", row, site.zone),),
            outputs={"customer": text(row, "name")},
        )

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:  # noqa: ARG002 - the protocol's
        """Make it, unless somebody has since the look (an older version would make two).

        Raises:
            EngineError: COMPANY_MISSING or NAMED_OTHERWISE; or as `write`.
        """
        company = await demand_company(context)
        name = company.names.customer
        site = await site_of(context)
        keeps = keeps_name(site.frappe_version)
        if not keeps and await _find(context, company, site) is not None:
            return
        setup = context.outputs(SETUP_KEY)
        body: JsonObject = {
            "name": name,
            "customer_name": TITLE if keeps else name,
            "customer_type": "Individual",
            "customer_group": setup.get("customer_group", CUSTOMER_GROUP),
            "territory": setup.get("territory", ROOT_TERRITORY),
        }
        intent = Intent(doctype="Customer", name=name, slot=True, repeatable=keeps)
        if keeps:
            await make_named(context, intent, make("Customer", name, body))
        else:
            await context.write(intent, make("Customer", name, body))


async def _find(context: StepContext, company: Company, site: Site) -> JsonObject | None:
    name = company.names.customer
    # A site that keeps `name` has the customer under it, even one made before an upgrade.
    fields = ("name",) if keeps_name(site.frappe_version) else ("name", "customer_name")
    for field in fields:
        answer = await context.read(
            rows(
                "Customer",
                (field, "=", name),
                fields=(*OWNERSHIP_FIELDS, "customer_name", "customer_group", "disabled"),
                limit=1,
                order_by="creation asc",
            )
        )
        if found := rows_of(answer):
            return found[0]
    return None
