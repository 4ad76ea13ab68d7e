"""What the scenarios order from, and read of, an installation."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.support.waiting import until

if TYPE_CHECKING:
    from tools.installation import Installation


async def order(shop: Installation, name: str, request_id: str) -> str:
    """Order a tenant as a careful caller does: again, with the same id, until it is heard."""
    spec = TenantSpec(company_name=name, till_user="till@example.com")

    async def heard() -> str:
        async with ProvisionerClient(f"127.0.0.1:{shop.grpc_port}") as client:
            return (await client.start_provisioning(spec, request_id=request_id)).tenant_id

    return await until(heard, trying=(Unreachable,))


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


def made_twice(site: dict[str, Any], companies: list[str]) -> list[str]:
    """Say what of the Companies is there twice, or not at all; all must have the same."""
    found = []
    shapes = Counter[tuple[tuple[str, int], ...]]()
    for company in companies:
        documents = belongings(site, company)
        for doctype, names in documents.items():
            found += [f"{company}: {doctype} {name}" for name in _repeated(names)]
        shapes[tuple(sorted((doctype, len(names)) for doctype, names in documents.items()))] += 1
    if len(shapes) > 1:
        found.append(f"they differ: {shapes}")
    for shape in map(dict, shapes):
        found += [
            f"{shape.get(doctype, 0)} of {doctype}, not {count}"
            for doctype, count in _ONCE
            if shape.get(doctype, 0) != count
        ]
    held = site["documents"]
    # What the site has without us: Standard Selling and Standard Buying.
    for doctype, usual in (("Price List", 2), ("Customer", 0)):
        names = [each["name"] for each in held[doctype]]
        found += [f"{doctype} {name}" for name in _repeated(names)]
        if len(names) != len(companies) + usual:
            found.append(f"{len(names)} of {doctype}: {sorted(names)}")
    return found


# Of each Company.
_ONCE = (
    ("Company", 1),
    ("POS Profile", 1),
    ("POS Opening Entry", 1),
    ("Mode of Payment Account", 2),
)


def _repeated(names: list[str]) -> list[str]:
    return [name for name, count in Counter(names).items() if count > 1]


def check_each_once(site: dict[str, Any], companies: list[str]) -> None:
    """Every Company has the same documents as every other, and each of them once."""
    assert made_twice(site, companies) == []


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
