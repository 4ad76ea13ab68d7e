"""Tenants as old clients make and list them, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.access.trail import entry
from server.commands import BeginOptions, Commands, EngineEntry, OrderTerms, chart_of
from server.errors import AlreadyExists, InvalidInput, NotAllowed, NotFound, Refused
from server.model.access import Household, Membership, MembershipStatus, NewUser, User
from server.model.actor import Actor, Role
from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.identifiers import TenantId, new_id
from server.model.spec import TenantSpec
from server.model.states import Order, TenantState
from server.queries.status import status_of
from server.rest.words import LegacyStatus, legacy_status, tenant_code
from server.store.access import AccessStore
from server.store.operations import NewTenant, TenantOperation
from server.store.tenant_pages import TenantFilter, TenantPages
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.store.database import Database

BOSS = Actor(name="boss", role=Role.ADMIN)
STRANGER = Actor(name="anonymous", role=Role.VIEWER, tenants={}, creates=True)
VIEWER = Actor(name="viewer", role=Role.VIEWER)
ENGINES = {"main": EngineEntry(site="site", blueprint=ERPNEXT)}
UNKNOWN = "01900000-0000-7000-8000-000000000000"
BEGAN = datetime(2026, 3, 1, 8, 15, tzinfo=UTC)


class Clock:
    """A time that moves on a second at each look."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def commands(database: Database) -> Commands:
    return Commands(database, engines=ENGINES, default_engine="main", now=Clock())


def new_user(email: str, *, code: str) -> NewUser:
    user = User(
        id=new_id(BEGAN),
        code=code,
        email=email,
        full_name=None,
        has_password=False,
        role=Role.ADMIN,
        all_tenants=False,
        kyc_tier="KYC-T1",
        token_epoch=1,
        disabled_at=None,
        created_at=BEGAN,
    )
    return NewUser(user=user, password_hash=None)


async def elsewhere(commands: Commands, name: str, kind: str = "odoo") -> TenantId:
    return await commands.register_elsewhere(
        STRANGER, name=name, country_code="ke", kind=kind, facts={"category": "Chama"}
    )


async def registered(database: Database, name: str) -> TenantId:
    """Make a tenant that lives here and was not begun, as an import does."""
    tenant_id = TenantId(new_id(BEGAN))
    spec = TenantSpec(company_name=name, country_code="KE", currency="KES", engine_id="main")
    kinds = ERPNEXT.steps_for(spec)
    await database.submit(
        TenantOperation(
            tenant_id=tenant_id,
            at=BEGAN,
            create=NewTenant(spec=spec, site="site"),
            standing=derive(
                stored=TenantState.PENDING, run=None, steps=(), step_types=kinds, at=BEGAN
            ),
        )
    )
    return tenant_id


async def test_a_tenant_of_another_kind_is_known_and_has_no_run(
    database: Database, commands: Commands
) -> None:
    tenant_id = await elsewhere(commands, "  Kijani Stores ")
    live = await database.reads.live(tenant_id)
    assert live is not None
    tenant = live.record.tenant
    assert (tenant.spec.company_name, tenant.spec.country_code) == ("Kijani Stores", "KE")
    assert (tenant.spec.engine_id, tenant.site, tenant.state) == ("odoo", "", TenantState.PENDING)
    assert live.record.run is None
    (entry,) = await database.reads.log_page(tenant_id, after=0, limit=9)
    assert entry.fields["category"] == "Chama"
    # Nothing for a sweep, and nothing that an order could do.
    assert await database.reads.unsettled(BEGAN + timedelta(days=9999), after=None, limit=9) == []
    with pytest.raises(Refused, match="registered for an engine of kind 'odoo'") as caught:
        await commands.continue_(BOSS, tenant_id, OrderTerms())
    wanted = "provisioner start 'Kijani Stores'"
    assert caught.value.facts["next_command"] == wanted
    status = status_of(live, ERPNEXT.steps, BEGAN, 10.0)
    assert [error.code for error in status.errors] == ["ENGINE_ELSEWHERE"]
    # Continue would be refused: what is said is what helps.
    assert status.next_command == wanted
    # Its name is nobody's at our site: another tenant may have it.
    await commands.start(BOSS, RawSpec(company_name="Kijani Stores"))


@pytest.mark.parametrize("engine", ["main", "odoo"])
async def test_who_comes_with_a_tenant_is_there_with_it_or_neither_is(
    database: Database, commands: Commands, engine: str
) -> None:
    """Nor does an address that somebody takes in the same moment leave a tenant to nobody."""
    store = AccessStore(database)
    jane = new_user("jane@example.com", code="USR-KE-26-AAAAA")
    asked: list[TenantId] = []

    async def household(tenant_id: TenantId) -> Household:
        known = await store.user_by_email("jane@example.com")
        if known is None:
            await store.add_user(jane)
            # As she was not known when it was looked.
            known = new_user("Jane@example.com", code="USR-KE-26-BBBBB").user
            assert await database.reads.live(tenant_id) is None
        asked.append(tenant_id)
        member = Membership(
            user_id=known.id,
            tenant_id=tenant_id,
            role="OWNER",
            status=MembershipStatus.ACTIVE,
            created_at=BEGAN,
        )
        new = () if known.id == jane.user.id else (NewUser(user=known, password_hash=None),)
        return Household(
            users=new,
            memberships=(member,),
            entries=(entry(STRANGER, BEGAN, action="AddMember", target=tenant_id),),
        )

    if engine == "main":
        tenant_id = await commands.start(
            STRANGER, RawSpec(company_name="Kijani Stores"), household=household
        )
    else:
        tenant_id = await commands.register_elsewhere(
            STRANGER,
            name="Kijani Stores",
            country_code="ke",
            kind=engine,
            facts={},
            household=household,
        )
    assert (len(asked), asked[-1]) == (2, tenant_id)
    assert [each.user_id for each in await store.members(tenant_id)] == [jane.user.id]
    assert [user.email for user in await store.users()] == ["jane@example.com"]
    noted = [row for row in await store.audit(limit=9) if row.action == "AddMember"]
    assert [row.target for row in noted] == [tenant_id]
    assert (await TenantPages(database).page(TenantFilter(), skip=0, limit=9))[0] == 1


async def test_begin_opens_the_first_run_with_the_options_and_keeps_them(
    database: Database, commands: Commands
) -> None:
    tenant_id = await registered(database, "Kijani Stores")
    options = BeginOptions(include_demo_data=True, chart_template="Standard with Numbers")
    await commands.begin(BOSS, tenant_id, options)
    live = await database.reads.live(tenant_id)
    assert live is not None
    assert live.record.run is not None
    assert live.record.run.order is Order.START
    assert len(live.record.steps) == 11
    spec = live.record.tenant.spec
    assert (spec.include_demo_data, spec.pos_store_enabled) == (True, True)
    assert spec.chart_template == "Standard with Numbers"
    bound = await database.reads.binding(tenant_id)
    assert bound is not None
    assert bound.company_name == "Kijani Stores"
    with pytest.raises(Refused, match="in motion"):
        await commands.begin(BOSS, tenant_id, options)


async def test_a_start_under_the_id_of_a_tenant_elsewhere_names_an_order_that_is_not_refused(
    commands: Commands,
) -> None:
    tenant_id = await elsewhere(commands, "Kijani Stores")
    here = RawSpec(company_name="Kijani Stores", engine_id="main")
    with pytest.raises(AlreadyExists) as differs:
        await commands.start(BOSS, here, tenant_id=tenant_id)
    assert differs.value.code == "SPEC_DIFFERS"
    # Who names no engine means the tenant's own, which is none of this service.
    with pytest.raises(Refused) as refused:
        await commands.start(BOSS, replace(here, engine_id=None), tenant_id=tenant_id)
    assert refused.value.code == "ENGINE_ELSEWHERE"
    for error in (differs.value, refused.value):
        assert error.message.endswith(": provisioner start 'Kijani Stores'")


async def test_begin_is_refused_where_the_name_is_anothers_or_the_options_differ(
    database: Database, commands: Commands
) -> None:
    mine = await registered(database, "Kijani Stores")
    await commands.start(BOSS, RawSpec(company_name="KIJANI stores"))
    with pytest.raises(Refused) as refused:
        await commands.begin(BOSS, mine, BeginOptions())
    assert refused.value.code == "COMPANY_NAME_TAKEN"
    other = await registered(database, "Baraka Stores")
    await commands.begin(BOSS, other, BeginOptions())
    await commands.cancel(BOSS, other, OrderTerms(reason="a test"))
    with pytest.raises(AlreadyExists) as differs:
        await commands.begin(BOSS, other, BeginOptions(include_demo_data=True))
    assert differs.value.code == "SPEC_DIFFERS"
    await commands.begin(BOSS, other, BeginOptions(include_demo_data=False))


async def test_who_may_not_registers_and_begins_nothing(
    database: Database, commands: Commands
) -> None:
    tenant_id = await registered(database, "Kijani Stores")
    with pytest.raises(NotAllowed):
        await commands.begin(VIEWER, tenant_id, BeginOptions())
    with pytest.raises(NotFound):
        await commands.begin(STRANGER, tenant_id, BeginOptions())
    with pytest.raises(NotFound):
        await commands.begin(BOSS, UNKNOWN, BeginOptions())
    with pytest.raises(NotAllowed):
        await commands.register_elsewhere(
            VIEWER, name="Neema Stores", country_code="KE", kind="odoo", facts={}
        )


@pytest.mark.parametrize(
    ("name", "country", "kind", "field"),
    [
        ("", "KE", "odoo", "spec.company_name"),
        ("Neema", "KEN", "odoo", "spec.country_code"),
        ("Neema", "KE", "", "engine"),
        ("Neema", "KE", "o\x1b[", "engine"),
        ("Neema", "KE", "main", "engine"),
        ("Neema", "KE", "o" * 41, "engine"),
    ],
)
async def test_a_wrong_field_registers_nothing(
    commands: Commands, name: str, country: str, kind: str, field: str
) -> None:
    with pytest.raises(InvalidInput) as wrong:
        await commands.register_elsewhere(
            BOSS, name=name, country_code=country, kind=kind, facts={}
        )
    assert [each.field for each in wrong.value.violations] == [field]


async def test_pages_are_newest_first_counted_and_filtered(
    database: Database, commands: Commands
) -> None:
    names = [f"Shop {number}" for number in range(7)]
    ids = [await commands.start(BOSS, RawSpec(company_name=name)) for name in names]
    ids.append(await elsewhere(commands, "Elsewhere"))
    pages = TenantPages(database)
    total, page = await pages.page(TenantFilter(), skip=2, limit=3)
    assert total == 8
    assert [each.name for each in page] == ["Shop 5", "Shop 4", "Shop 3"]
    assert [each.member_count for each in page] == [0, 0, 0]
    assert [each.owner for each in page] == [None] * 3
    total, page = await pages.page(TenantFilter(at_site=False), skip=0, limit=9)
    assert (total, [each.id for each in page]) == (1, [ids[-1]])
    total, page = await pages.page(
        TenantFilter(ids=ids[:2], free=frozenset({TenantState.IN_PROGRESS})), skip=0, limit=9
    )
    assert (total, [each.id for each in page]) == (2, [ids[1], ids[0]])
    total, page = await pages.page(TenantFilter(ids=[]), skip=0, limit=9)
    assert (total, page) == (0, [])
    assert await pages.counts() == {"IN_PROGRESS": 7, "PENDING": 1}
    assert await pages.open_runs() == 7


@pytest.mark.parametrize(
    ("template", "chart"),
    [
        *((None, None), ("", None), ("Kenya", None), ("kenya ", None), ("Uganda", None)),
        *(("Standard", "Standard"), ("Standard with Numbers", "Standard with Numbers")),
    ],
)
def test_a_countrys_name_is_no_chart_of_accounts(template: str | None, chart: str | None) -> None:
    assert chart_of(template) == chart


def test_every_state_has_one_of_the_five_legacy_words() -> None:
    assert {state: legacy_status(state, held=False).value for state in TenantState} == {
        TenantState.PENDING: "NOT_STARTED",
        TenantState.IN_PROGRESS: "IN_PROGRESS",
        TenantState.COMPLETED: "COMPLETED",
        TenantState.PARTIAL: "PARTIAL",
        TenantState.FAILED: "FAILED",
        TenantState.CANCELLED: "FAILED",
        TenantState.DEPROVISIONING: "IN_PROGRESS",
        TenantState.DEPROVISIONED: "NOT_STARTED",
    }
    assert legacy_status(TenantState.COMPLETED, held=True) is LegacyStatus.FAILED
    assert legacy_status(TenantState.IN_PROGRESS, held=True) is LegacyStatus.IN_PROGRESS
    assert legacy_status(TenantState.DEPROVISIONED, held=True) is LegacyStatus.NOT_STARTED


def test_a_tenants_code_is_always_the_same_and_has_no_sign_that_is_misread() -> None:
    codes = [
        tenant_code(f"01900000-0000-7000-8000-{number:012}", "ke", BEGAN) for number in range(500)
    ]
    assert codes[0] == tenant_code("01900000-0000-7000-8000-000000000000", "KE", BEGAN)
    assert all(code.startswith("TEN-KE-26-") for code in codes)
    assert not set("ILOU") & set("".join(code[-5:] for code in codes))
    assert len(set(codes)) == len(codes)
