"""What the scenarios order from, and read of, an installation."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1.tenant_pb2 import TenantSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.installation import Installation

PATIENCE_SECONDS = 150.0
# How often rows are looked at while another process changes them.
_LOOK_SECONDS = 0.01


async def until(holds: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Return once something holds of what other processes do."""
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(_LOOK_SECONDS)


async def order(shop: Installation, name: str, request_id: str) -> str:
    """Order a tenant as a careful caller does: again, with the same id, until it is heard."""
    spec = TenantSpec(company_name=name, till_user="till@example.com")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                async with ProvisionerClient(f"127.0.0.1:{shop.grpc_port}") as client:
                    status = await client.start_provisioning(spec, request_id=request_id)
                    return status.tenant_id
            except Unreachable:
                await asyncio.sleep(_LOOK_SECONDS)


def states(shop: Installation) -> Counter[str]:
    """Count the tenants by stored state."""
    return Counter(dict(shop.sql("SELECT state, count(*) FROM tenants GROUP BY state")))


def all_completed(shop: Installation, count: int) -> bool:
    return states(shop) == {"COMPLETED": count}


def belongings(site: dict[str, Any], company: str) -> dict[str, list[str]]:
    """Return the names of one Company's documents by doctype; payment rows by their means."""
    held = site["documents"]
    found = {
        doctype: sorted(each["name"] for each in documents if each.get("company") == company)
        for doctype, documents in held.items()
    }
    found["Company"] = [each["name"] for each in held["Company"] if each["name"] == company]
    found["Mode of Payment Account"] = [
        row["parent"]
        for mode in held["Mode of Payment"]
        for row in mode["accounts"]
        if row["company"] == company
    ]
    return {doctype: names for doctype, names in found.items() if names}


def check_each_once(site: dict[str, Any], companies: list[str]) -> None:
    """Every Company has the same documents as every other, and each of them once."""
    shapes = set()
    for company in companies:
        found = belongings(site, company)
        for doctype, names in found.items():
            assert len(names) == len(set(names)), (company, doctype, names)
        shapes.add(tuple(sorted((doctype, len(names)) for doctype, names in found.items())))
    assert len(shapes) == 1, shapes
    shape = dict(shapes.pop())
    assert shape["Company"] == shape["POS Profile"] == shape["POS Opening Entry"] == 1
    assert shape["Mode of Payment Account"] == 2
    held = site["documents"]
    for doctype in ("Price List", "Customer"):
        counts = Counter(each["name"] for each in held[doctype])
        assert max(counts.values()) == 1, counts
    # What the site has without us: Standard Selling and Standard Buying.
    assert len(held["Price List"]) == len(companies) + 2
    assert len(held["Customer"]) == len(companies)


def check_record(shop: Installation) -> None:
    """What must hold for the record of every tenant at rest."""
    for tenant, log_seq in shop.sql("SELECT id, log_seq FROM tenants"):
        cursors = [
            row[0]
            for row in shop.sql(
                "SELECT cursor FROM log_entries WHERE tenant_id = ? ORDER BY cursor", tenant
            )
        ]
        assert cursors == list(range(1, log_seq + 1))
    assert shop.sql("SELECT id FROM attempts WHERE outcome IS NULL OR ended_at IS NULL") == []
    assert shop.sql("SELECT DISTINCT state FROM steps") == [("COMPLETED",)]
    assert shop.sql("SELECT count(*) FROM resources WHERE state = 'INTENDED'") == [(0,)]
    assert shop.sql("SELECT DISTINCT slot_tenant_id FROM engines") == [(None,)]
