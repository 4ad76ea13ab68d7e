"""A site that is not the one it was, or lost many Companies: nothing is written to it."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest

from server.commands import EngineEntry
from server.erpnext.reply import Reply
from server.errors import NotAllowed, NotFound
from server.executor import gates
from server.model.actor import LOCAL, RECONCILER
from server.model.blueprint import ERPNEXT
from server.model.site_identity import SiteVerdict, judge_site
from server.model.states import TenantState
from server.queries import Queries
from tests.server.executor.scene import COMPANY, now
from tests.server.executor.test_live_shops import delete_company

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from server.model.identifiers import TenantId
    from server.model.step_context import Request
    from tests.server.executor.scene import Shop

NAMES = ("Branch 0 Traders", "Branch 1 Traders", "Branch 2 Traders")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (0.02,))


@pytest.mark.parametrize(
    ("stored", "seen", "verdict"),
    [
        (None, None, SiteVerdict.UNKNOWN),
        (None, "monday", SiteVerdict.FIRST_SIGHT),
        ("monday", "monday", SiteVerdict.SAME),
        ("monday", "tuesday", SiteVerdict.CHANGED),
        ("monday", None, SiteVerdict.CHANGED),
    ],
)
def test_a_site_is_judged_by_its_identity(
    stored: str | None, seen: str | None, verdict: SiteVerdict
) -> None:
    assert judge_site(stored, seen) is verdict


def identity(shop: Shop) -> dict[str, str]:
    return shop.site.site.require("UOM", "Nos")


def gate(shop: Shop) -> tuple[object, ...]:
    return shop.sql("SELECT gate, gate_code FROM engines")[0]


async def until_gate(shop: Shop, *wanted: str) -> None:
    async def is_so() -> bool:
        return gate(shop) == wanted

    await shop.until(is_so)


async def test_a_sites_identity_is_kept_from_its_first_sight(shop: Shop) -> None:
    await shop.completed(NAMES[0])
    assert shop.sql("SELECT identity FROM engines") == [(identity(shop)["creation"],)]


async def test_nothing_is_written_to_another_site_under_the_same_address(shop: Shop) -> None:
    first = await shop.completed(NAMES[0])
    old = identity(shop)["creation"]
    identity(shop)["creation"] = "2026-01-01 00:00:00.000000"
    writes = await shop.writes()

    await shop.again(first)
    assert await shop.rest(first) == [TenantState.FAILED]
    record = await shop.record(first)
    assert record.tenant.hold is not None
    assert "not the one it was" in record.tenant.hold.reason
    assert "provisioner accept-site main, then continue" in record.tenant.hold.reason
    assert shop.sql("SELECT error_code FROM tenants") == [("SITE_CHANGED",)]
    await until_gate(shop, "MISCONFIGURED", "SITE_CHANGED")

    # Others wait, and nothing is counted.
    second = await shop.order(NAMES[1])
    await must_wait(shop, second, "SITE_CHANGED")
    assert await shop.writes() == writes

    # The right site is back: work goes on by itself.
    identity(shop)["creation"] = old
    await shop.must_complete(second)
    assert gate(shop) == ("UP", "")


async def test_somebody_elses_answer_is_not_the_identity_of_another_site(shop: Shop) -> None:
    """A gateway that answers for the site with JSON of its own: the tenant was held."""
    await shop.completed(NAMES[0])
    engine, exchange = shop.store.engine, shop.store.engine._exchange
    said = [b'{"data": {"status": "We are back in a few minutes."}}']

    async def answered(client: httpx.AsyncClient, request: Request) -> Reply:
        if request.doctype == "UOM" and said:
            return Reply(status=200, headers={}, body=said.pop())
        return await exchange(client, request)

    engine._exchange = answered  # type: ignore[method-assign]  # the gateway
    await shop.completed(NAMES[1])
    assert said == []
    assert gate(shop) == ("UP", "")


async def test_a_person_accepts_the_new_site(shop: Shop) -> None:
    first = await shop.completed(NAMES[0])
    identity(shop)["creation"] = "2026-01-01 00:00:00.000000"
    await shop.again(first)
    await shop.rest(first)
    await until_gate(shop, "MISCONFIGURED", "SITE_CHANGED")

    with pytest.raises(NotAllowed):
        await shop.commands.accept_site(RECONCILER, "main")
    with pytest.raises(NotFound, match="Configured: main"):
        await shop.commands.accept_site(LOCAL, "other")
    await shop.commands.accept_site(LOCAL, "main")
    await until_gate(shop, "UP", "")
    assert shop.sql("SELECT identity FROM engines") == [(identity(shop)["creation"],)]
    await shop.proceed(first)
    await shop.must_complete(first)


def lose(shop: Shop, *names: str) -> Callable[[], None]:
    """Lose Companies and all that is theirs; return what brings everything back."""
    documents = shop.site.site.documents
    before = copy.deepcopy(dict(documents))
    for name in names:
        delete_company(shop, name)

    def restore() -> None:
        documents.update(before)

    return restore


async def three_vanished(shop: Shop) -> tuple[list[TenantId], Callable[[], None]]:
    tenants = [await shop.completed(name) for name in NAMES]
    restore = lose(shop, *NAMES)
    for tenant in tenants:
        await shop.again(tenant, RECONCILER)
        await shop.rest(tenant)
    return tenants, restore


async def must_wait(shop: Shop, tenant: TenantId, code: str) -> None:
    """Check that a tenant waits for the site's gate, and says so."""
    queries = Queries(
        shop.store.database,
        engines={"main": EngineEntry(site=shop.store.engine.site, blueprint=ERPNEXT)},
        now=now,
        lease_seconds=2.0,
    )
    status = await queries.status(LOCAL, tenant)
    assert status.standing.state is TenantState.IN_PROGRESS
    assert status.waiting_for is not None
    assert status.waiting_for.code.value == "ENGINE_MISCONFIGURED"
    assert code in str(gate(shop))
    assert await shop.attempts(tenant) == []


async def test_two_that_vanished_are_those_tenants_affair(shop: Shop) -> None:
    tenants = [await shop.completed(name) for name in NAMES[:2]]
    lose(shop, *NAMES[:2])
    for tenant in tenants:
        await shop.again(tenant, RECONCILER)
        assert await shop.rest(tenant) == [TenantState.FAILED]
    assert gate(shop) == ("UP", "")
    await shop.completed(NAMES[2])


async def test_three_that_vanished_shut_the_sites_gate_until_they_are_back(shop: Shop) -> None:
    tenants, restore = await three_vanished(shop)
    assert [await shop.state(tenant) for tenant in tenants] == [TenantState.FAILED] * 3
    await until_gate(shop, "MISCONFIGURED", "COMPANIES_VANISHED")
    writes = await shop.writes()
    waiting = await shop.order("Late Traders")
    await must_wait(shop, waiting, "COMPANIES_VANISHED")
    assert await shop.writes() == writes
    # Everybody who waits at the gate reads why it is shut, and whose Companies they are is for
    # operators.
    ((told,),) = shop.sql("SELECT gate_message FROM engines")
    assert told.startswith("3 Companies of tenants are gone")
    assert not [name for name in NAMES if name in told]

    restore()
    await shop.must_complete(waiting)
    assert gate(shop) == ("UP", "")
    # Their tenants are a person's to move, as before.
    assert await shop.state(tenants[0]) is TenantState.FAILED


async def test_a_person_accepts_that_companies_are_gone(shop: Shop) -> None:
    tenants, _ = await three_vanished(shop)
    await until_gate(shop, "MISCONFIGURED", "COMPANIES_VANISHED")
    await shop.commands.accept_site(LOCAL, "main")
    await until_gate(shop, "UP", "")
    await shop.again(tenants[0], step_key=COMPANY)
    await shop.rest(tenants[0])
    assert (await shop.belongings(NAMES[0]))["Company"] == 1
    assert gate(shop) == ("UP", "")
