"""A look knows the abbreviations of other tenants, and reads those alone that it would choose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import true, update

from server.model.blueprint import ERPNEXT
from server.probing import Prober
from server.store.database import Database
from server.store.tables import BINDINGS
from tests.server.erpnext.context import NOON, kenyan
from tests.server.store.growing import fill, tenant, work_of

if TYPE_CHECKING:
    from sqlalchemy import URL

    from server.erpnext.client import ErpNextEngine

NAME = "Mama Njeri Traders"


async def test_a_plan_takes_no_abbreviation_of_others_and_does_not_read_them_all(
    store_url: URL, engine: ErpNextEngine
) -> None:
    store = await Database.open(store_url)
    prober = Prober(store, {"main": engine}, {ERPNEXT.name: ERPNEXT}, now=lambda: NOON)
    spec = kenyan(company_name=NAME)

    async def planned() -> str:
        company = (await prober.spec(spec)).step("step_2_company")
        assert company is not None
        return company.outputs["abbreviation"]

    async def bind(**values: str) -> None:
        of_first = BINDINGS.c.tenant_id == tenant(1) if len(values) > 1 else true()
        await store.in_transaction(
            lambda connection: connection.execute(update(BINDINGS).where(of_first).values(**values))
        )

    free = await planned()
    await fill(store, 0, 300)
    await bind(site=engine.site)
    await bind(site=engine.site, abbreviation=free, abbreviation_fold=free.lower())
    other = await planned()
    few = await work_of(store, planned)
    await fill(store, 300, 6000)
    await bind(site=engine.site)
    many = await work_of(store, planned)
    await store.close()

    assert other == f"{free}2"
    assert many <= 2 * few + 40, (few, many)
