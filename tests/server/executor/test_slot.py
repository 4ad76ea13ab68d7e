"""A site's one slot: tree documents of one site are asked for one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.server.executor.scene import PATIENCE_SECONDS, now

if TYPE_CHECKING:
    from tests.server.executor.scene import Shop

TREES = {"Company", "Warehouse", "Account"}


async def test_one_tree_document_at_a_time_and_no_deadlock(shop: Shop) -> None:
    await shop.faults(latency_ms=5)
    engine, send = shop.store.engine, shop.store.engine.send
    out, most = 0, 0

    async def counted(request):  # type: ignore[no-untyped-def]  # as it is
        nonlocal out, most
        if request.method != "POST" or request.doctype not in TREES:
            return await send(request)
        out += 1
        most = max(most, out)
        try:
            return await send(request)
        finally:
            out -= 1

    engine.send = counted  # type: ignore[method-assign]  # the test looks on
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(6)]
    await shop.must_complete(*tenants)

    assert most == 1
    refused = [
        row
        for row in (await shop.look())["requests"]
        if row["method"] == "POST" and row["status"] >= 400
    ]
    assert refused == []
    waits = [
        operation.runs[0].run.waiting_for.code
        for operation, _ in shop.store.written
        if operation.runs and operation.runs[0].run.waiting_for
    ]
    assert "SITE_SLOT" in waits
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_a_run_waits_while_another_process_holds_the_slot(shop: Shop) -> None:
    """The slot outlives its holder until the time of what was out is over."""
    shop.sql(
        "UPDATE engines SET slot_tenant_id = 'somebody', slot_doctype = 'Company',"
        " slot_name = 'Other', slot_expires_at = ?",
        now().replace(year=2100).strftime("%Y-%m-%d %H:%M:%S.%f"),
    )
    tenant = await shop.order()
    await shop.until_waiting(tenant, "SITE_SLOT")
    assert shop.site.arrivals("POST", "Company") == 0

    shop.sql("UPDATE engines SET slot_expires_at = '2000-01-01 00:00:00.000000'")
    await shop.must_complete(tenant)
    assert PATIENCE_SECONDS
