"""Tenants of the old system come over, each after a look at ERPNext, and the stuck ones heal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.sweep import Sweeper
from server.commands import Commands, EngineEntry, OrderTerms
from server.diagnosis import Diagnoser
from server.diagnosis.surveyed import SurveyedTenant
from server.legacy import Imported, Importer, paragraph
from server.model.actor import LOCAL
from server.model.blueprint import ENGINE_BLUEPRINTS, ERPNEXT
from server.model.identifiers import TenantId
from server.model.legacy import CompanyEvidence, CompanyTraced, recognised
from server.model.states import TenantState
from server.probing import Prober
from server.queries import Queries
from server.standin.naming import fold
from server.store.legacy import read_legacy
from tests.server.executor.scene import WHOLE, Shop, now
from tests.server.legacy.old import make_old, tenant_id
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from pathlib import Path

NAME = "Kijani Stores"
LOST: dict[str, Any] = {
    "number": 1,
    "name": NAME,
    "word": "PARTIAL",
    "onboarding": {"status": "PARTIAL", "provisioning_steps": {}},
}


async def provisioned_before(shop: Shop, folder: Path, *names: str) -> Shop:
    """Have Companies made by what knows nothing of the import; give an empty shop beside."""
    first = Shop(shop.site, folder / "before.db")
    await first.drive()
    try:
        for name in names:
            await first.completed(name, till_user=None)
    finally:
        for store in list(first.stores):
            await first.leave(store)
    return shop


async def brought(shop: Shop, url: str, *, dry_run: bool = False) -> list[Imported]:
    store = shop.store
    entry = EngineEntry(site=store.engine.site, blueprint=ERPNEXT)
    importer = Importer(
        store.database,
        Prober(store.database, {"main": store.engine}, ENGINE_BLUEPRINTS, now=now),
        engines={"main": entry},
        engine_id="main",
        now=now,
    )
    done: list[Imported] = []
    await importer.run(await read_legacy(url), dry_run=dry_run, on_done=done.append)
    return done


async def swept(shop: Shop) -> None:
    store = shop.store
    sweeper = Sweeper(
        store.database,
        shop.commands,
        engines={"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)},
        now=now,
        lease_seconds=2.0,
    )
    await sweeper.sweep()


def asking(shop: Shop) -> tuple[Diagnoser, Queries]:
    store = shop.store
    parts: dict[str, Any] = {
        "engines": {"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)},
        "now": now,
        "lease_seconds": 2.0,
    }
    prober = Prober(store.database, {"main": store.engine}, ENGINE_BLUEPRINTS, now=now)
    return (
        Diagnoser(store.database, probe_all=SurveyedTenant(prober), **parts),
        Queries(store.database, **parts),
    )


async def delete(shop: Shop, doctype: str, name: str) -> None:
    async with plain_client(headers={"Authorization": "token key:secret"}) as client:
        answer = await client.delete(f"{shop.site.url}/api/resource/{doctype}/{name}")
        assert answer.status_code == 202, answer.text


async def old_url(folder: Path, *tenants: dict[str, Any]) -> str:
    folder.mkdir(exist_ok=True)
    url = f"sqlite+aiosqlite:///{folder / 'old.db'}"
    await make_old(url, tenants)
    return url


async def test_the_seeds_case_is_completed_by_an_import_and_one_sweep(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    url = await old_url(tmp_path, LOST)
    before = await shop.documents()

    (imported,) = await brought(shop, url)

    # No till was asked for in the old record: everything else is there.
    assert (imported.imported_as, imported.differs) == (
        "COMPLETED",
        "PARTIAL -> COMPLETED",
    ), imported.why
    tenant = TenantId(tenant_id(1))
    record = await shop.record(tenant)
    assert record.tenant.state is TenantState.COMPLETED
    assert record.tenant.first_completed_at is not None
    assert {step.adopted for step in record.steps if not step.note} == {True}
    assert shop.sql("SELECT count(*) FROM resources WHERE state = 'CREATED'") == [(0,)]
    assert await shop.documents() == before


async def test_what_the_old_run_did_not_do_is_done_by_one_sweep(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    await delete(shop, "POS Profile", "POS KS")
    url = await old_url(tmp_path, LOST)

    (imported,) = await brought(shop, url)

    assert imported.imported_as == "FAILED"
    assert "step_8_pos_profile" in imported.why
    tenant = TenantId(tenant_id(1))
    await swept(shop)
    await shop.must_complete(tenant)
    whole = WHOLE - Counter({"POS Opening Entry": 1})
    assert await shop.belongings(NAME) == whole
    made = shop.sql("SELECT doctype, name FROM resources WHERE state = 'CREATED'")
    assert made == [("POS Profile", "POS KS")]


async def test_a_tenant_without_anything_at_the_engine_is_made_by_one_sweep(
    still: Shop,
    tmp_path: Path,
) -> None:
    await still.drive()
    url = await old_url(tmp_path, LOST)
    (imported,) = await brought(still, url)
    assert (imported.imported_as, imported.why) == (
        "FAILED",
        "The engine holds nothing of it, so it begins anew.",
    )
    await swept(still)
    await still.must_complete(TenantId(tenant_id(1)))
    assert (await still.belongings(NAME))["Company"] == 1


async def test_a_dry_run_says_the_same_and_writes_nothing(
    still: Shop,
    tmp_path: Path,
) -> None:
    await still.drive()
    url = await old_url(tmp_path, LOST)
    foreseen = await brought(still, url, dry_run=True)
    assert still.sql("SELECT count(*) FROM tenants") == [(0,)]
    assert await brought(still, url) == foreseen
    (again,) = await brought(still, url)
    assert again.imported_as == "UNCHANGED"
    assert still.sql("SELECT decision FROM imports") == [("STOPPED",)]


async def test_a_dry_run_counts_those_before_as_imported(still: Shop, tmp_path: Path) -> None:
    """Two of a name, and an id that stands there twice: one of each comes over."""
    await still.drive()
    url = await old_url(tmp_path, LOST, {**LOST, "number": 2, "name": "KIJANI stores"})
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute(
            "INSERT INTO tenants (id, name, engine, country_code) VALUES (?, 'Other', ?, 'KE')",
            (tenant_id(1).upper(), "erpnext"),
        )
    foreseen = await brought(still, url, dry_run=True)
    assert [each.imported_as for each in foreseen] == ["FAILED", "UNCHANGED", "NOT_IMPORTED"]
    assert await brought(still, url) == foreseen

    later = await old_url(tmp_path / "later", {**LOST, "number": 3})
    (foreseen_later,) = await brought(still, later, dry_run=True)
    assert foreseen_later.imported_as == "NOT_IMPORTED"
    assert await brought(still, later) == [foreseen_later]


async def test_words_of_the_old_record_make_no_line_of_their_own(
    still: Shop, tmp_path: Path
) -> None:
    await still.drive()
    url = await old_url(tmp_path, {"number": 1, "name": "A\nImported. 1 COMPLETED"})
    (imported,) = await brought(still, url, dry_run=True)
    first, *others = paragraph(imported, number=1, of=1).splitlines()
    assert "A\\nImported. 1 COMPLETED  (1 of 1)" in first
    assert all(line.startswith("  ") for line in others)


async def test_a_company_of_two_tenants_is_nobodys_until_a_person_decides(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    url = await old_url(tmp_path, LOST, {**LOST, "number": 2, "name": "KIJANI stores"})
    imported = await brought(shop, url)
    assert [each.imported_as for each in imported] == ["HELD", "HELD"]
    assert all(each.following.startswith("provisioner adopt ") for each in imported)
    assert shop.sql("SELECT count(*) FROM bindings") == [(0,)]
    assert shop.sql("SELECT DISTINCT hold_by FROM tenants") == [("imported",)]


async def test_whom_an_import_left_to_a_person_gets_the_command_of_the_import(
    still: Shop, tmp_path: Path
) -> None:
    """Continue would come upon the Company, and stop; a shop whose Company is gone lost no rows."""
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    url = await old_url(
        tmp_path,
        {"number": 1, "name": NAME},
        {"number": 2, "name": "Gone Shop", "word": "PROVISIONED"},
    )
    imported = await brought(shop, url)
    unclear, gone = (TenantId(tenant_id(number)) for number in (1, 2))
    diagnoser, queries = asking(shop)
    diagnosed = {
        tenant: [
            (cause.code, cause.remedy.command)
            for cause in (await diagnoser.diagnose(LOCAL, tenant)).causes
        ]
        for tenant in (unclear, gone)
    }
    assert [each.following for each in imported] == [
        f"provisioner adopt {unclear}",
        f"provisioner diagnose {gone}",
    ]
    assert diagnosed[unclear][0] == ("HELD", f"provisioner adopt {unclear} --watch")
    assert diagnosed[gone] == [("HELD", f"provisioner retry {gone} --step step_2_company --watch")]
    status = await queries.status(LOCAL, unclear)
    assert status.next_command == f"provisioner adopt {unclear}"
    assert status.errors[0].message.endswith(f"move it: provisioner adopt {unclear}")


@pytest.mark.parametrize("word", ["PROVISIONED", "PARTIAL"])
async def test_a_till_that_was_only_drafted_is_named_until_it_is_opened(
    still: Shop, tmp_path: Path, word: str
) -> None:
    """The old system left a draft each time, and called that an opened till (C14)."""
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    url = await old_url(tmp_path, {"number": 1, "name": NAME, "word": word})
    tills = shop.site.site.documents.setdefault("POS Opening Entry", {})
    for name in ("POS-OPE-2026-00001", "POS-OPE-2026-00002"):
        tills[name] = {"name": name, "company": NAME, "docstatus": 0, "creation": name}

    (drafted,) = await brought(shop, url, dry_run=True)
    tills["POS-OPE-2026-00002"]["docstatus"] = 1
    (opened,) = await brought(shop, url, dry_run=True)
    tills["POS-OPE-2026-00002"]["docstatus"] = 0
    (imported,) = await brought(shop, url)

    assert drafted.imported_as == opened.imported_as == "COMPLETED"
    assert drafted.why.endswith(
        "Its till was never opened, only drafted (POS-OPE-2026-00001, POS-OPE-2026-00002): submit "
        "one in ERPNext, and delete the others."
    )
    assert "till" not in opened.why
    assert imported.why == drafted.why
    assert [entry["docstatus"] for entry in tills.values()] == [0, 0]
    (line,) = shop.sql("SELECT message FROM log_entries WHERE message LIKE 'Imported as%'")
    assert "only drafted (POS-OPE-2026-00001" in line[0]


async def test_other_engines_bad_data_and_running_ones_are_left_out_with_a_reason(
    still: Shop,
    tmp_path: Path,
) -> None:
    await still.drive()
    url = await old_url(
        tmp_path,
        {"number": 1, "name": "Odoo Shop", "engine": "odoo"},
        {"number": 2, "name": "A < B"},
        {
            "number": 3,
            "name": "Busy",
            "word": "PROVISIONING",
            "onboarding": {"status": "IN_PROGRESS", "updated_at": now().isoformat()},
        },
        {"number": 4, "name": "Fresh"},
    )
    imported = {each.name: each for each in await brought(still, url)}
    assert imported["Odoo Shop"].imported_as == "SKIPPED"
    assert imported["A < B"].imported_as == "NOT_IMPORTED"
    assert "company_name" in imported["A < B"].why
    assert "stop that first" in imported["Busy"].why
    assert imported["Fresh"].imported_as == "PENDING"
    assert [row[0] for row in still.sql("SELECT company_name FROM tenants")] == ["Fresh"]


async def test_an_engine_that_is_down_guesses_nothing(
    still: Shop,
    tmp_path: Path,
) -> None:
    await still.open()
    url = await old_url(tmp_path, LOST)
    await still.faults(maintenance=True)
    (imported,) = await brought(still, url)
    assert imported.imported_as == "NOT_IMPORTED"
    assert "nothing was decided" in imported.why
    assert still.sql("SELECT count(*) FROM tenants") == [(0,)]


async def test_an_engine_that_is_down_is_not_asked_about_each_tenant(
    still: Shop, tmp_path: Path
) -> None:
    await still.open()
    await still.faults(maintenance=True)
    shops = [{**LOST, "number": each, "name": f"Shop {each}"} for each in range(1, 10)]
    few = await old_url(tmp_path / "few", *shops[:3])
    many = await old_url(tmp_path / "many", *shops)

    async def asked() -> int:
        return sum(row["count"] for row in (await still.look())["requests"])

    before = await asked()
    await brought(still, few)
    for_three = await asked() - before
    imported = await brought(still, many)
    assert await asked() - before == 2 * for_three
    assert [each.imported_as for each in imported] == ["NOT_IMPORTED"] * 9
    assert "nothing was decided" in imported[2].why
    assert "provisioner engines check main" in imported[3].why

    await still.faults()
    assert {each.imported_as for each in await brought(still, few)} == {"FAILED"}


def rename(shop: Shop, old: str, new: str) -> None:
    """Rename a Company as ERPNext does: its abbreviation, and names that end with it, stay."""
    for doctype, held in shop.site.site.documents.items():
        for document in held.values():
            if document.get("company") == old:
                document["company"] = new
            for row in document.get("accounts", []) if doctype == "Mode of Payment" else []:
                if row["company"] == old:
                    row["company"] = new
    companies = shop.site.site.documents["Company"]
    (key,) = [key for key, document in companies.items() if document["name"] == old]
    company = companies.pop(key)
    company["name"] = company["company_name"] = new
    companies[fold(new)] = company


def left_behind(**metadata: object) -> dict[str, Any]:
    """The old record of a run whose notes were lost, but for the copies of its steps."""
    entry = {"status": "completed", "message": "done", "metadata": metadata}
    steps = {"step_4_warehouses": entry}
    return {**LOST, "onboarding": {"status": "PARTIAL", "provisioning_steps": steps}}


async def test_a_company_under_another_name_is_known_by_what_the_old_run_left_in_it(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    rename(shop, NAME, "Kijani Stores (2019) Ltd")
    url = await old_url(
        tmp_path,
        left_behind(warehouse_names=["Main Store - KS", "POS Store - KS"], company_abbr="KS"),
    )

    (imported,) = await brought(shop, url)
    await swept(shop)

    assert imported.imported_as == "COMPLETED", imported.why
    assert "is called 'Kijani Stores (2019) Ltd' (known by Warehouse Main Store - KS" in (
        imported.why
    )
    assert shop.sql("SELECT company_name, state FROM tenants") == [
        ("Kijani Stores (2019) Ltd", "COMPLETED")
    ]
    assert shop.sql("SELECT company_name, abbreviation FROM bindings") == [
        ("Kijani Stores (2019) Ltd", "KS")
    ]
    assert (await shop.belongings(NAME))["Company"] == 0, "no second one beside it"


async def test_a_trace_that_proves_nothing_is_handed_over_and_adopted_under_its_old_name(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, NAME)
    await shop.drive()
    rename(shop, NAME, "Kijani Stores (2019) Ltd")
    url = await old_url(tmp_path, left_behind(company_abbr="KS"))

    (imported,) = await brought(shop, url)
    await swept(shop)
    tenant = TenantId(tenant_id(1))
    held = await shop.record(tenant)
    rename(shop, "Kijani Stores (2019) Ltd", NAME)
    store = shop.store
    commands = Commands(
        store.database,
        engines={"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)},
        default_engine="main",
        now=now,
        adapters={"main": store.engine},
    )
    await commands.adopt_company(LOCAL, tenant, OrderTerms())

    assert imported.imported_as == "HELD"
    assert "leads to 'Kijani Stores (2019) Ltd' (KS)" in imported.why
    assert imported.following == f"provisioner adopt {tenant}"
    assert held.tenant.hold is not None
    assert held.tenant.hold.reason.startswith("IMPORT_OTHER_NAME")
    await shop.must_complete(tenant)
    assert (await shop.belongings(NAME))["Company"] == 1


async def test_a_traced_company_that_another_tenant_is_called_is_nobodys(
    still: Shop,
    tmp_path: Path,
) -> None:
    shop = await provisioned_before(still, tmp_path, "Mto Traders")
    await shop.drive()
    url = await old_url(
        tmp_path,
        left_behind(company_name="Mto Traders", company_abbr="MT"),
        {**LOST, "number": 2, "name": "Mto Traders"},
    )

    imported = {each.name: each for each in await brought(shop, url)}

    assert imported[NAME].imported_as == "HELD"
    assert "Several tenants have this company name" in imported[NAME].why


@pytest.mark.parametrize(
    ("abbreviation", "proofs", "known"),
    [
        ("KS", [("Warehouse A - KS",)], True),
        ("", [("Warehouse A - KS",)], True),
        ("XX", [("Warehouse A - KS",)], False),
        ("KS", [()], False),
        ("KS", [("Warehouse A - KS",), ("its recorded name",)], False),
    ],
    ids=["proven", "no abbreviation kept", "another abbreviation", "unproven", "two"],
)
def test_one_company_must_be_proven(
    abbreviation: str, proofs: list[tuple[str, ...]], known: bool
) -> None:
    traced = [
        CompanyTraced(name=f"C{number}", abbreviation="ks", proofs=each)
        for number, each in enumerate(proofs)
    ]
    found = recognised(CompanyEvidence(abbreviation=abbreviation), traced)
    assert (found is not None) is known
