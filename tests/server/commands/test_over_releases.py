"""Orders that another release recorded are the same orders (promise 10), by what it recorded.

What is recorded here is never changed: it is in databases, and servers of another release may be
running beside this one. Whoever adds a field to an order leaves it out of what is recorded where
it was not sent (`TenantSpec.as_ordered`, `server.commands.asked.request_key`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from server.commands import Commands, OrderTerms
from server.errors import InvalidInput
from server.model.actor import Actor, Role
from server.model.identifiers import TenantId
from server.model.spec import TenantSpec
from server.model.states import StepState
from server.model.undo import UndoOptions
from server.store.tables import REQUESTS
from server.validation import RawSpec
from tests.server.commands.desk import JANE, NAME, OPTIONAL, Desk
from tests.server.commands.site import a_company, with_site
from tests.server.store.scene import NOON

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

TENANT = TenantId("01900000-0000-7000-8000-000000000001")
ADMIN = Actor(name="jane", role=Role.ADMIN)
TERMS = OrderTerms(request_id="one", reason="agreed", expected_revision=7)
WHOLE = RawSpec(
    company_name='L\'Épicerie "Ça va" \\ 北京',
    country_code="FR",
    currency="EUR",
    chart_template="Plan Comptable",
    include_demo_data=True,
    pos_store_enabled=False,
    till_user="till@example.com",
    engine_id="other",
    payment_methods=("M-Pesa", "Cheque"),
    opening_amount=1500.5,
)
# What 0.1.0 recorded of a Start, and every version since.
STARTS = [
    pytest.param(
        RawSpec(company_name=NAME),
        "",
        "926174fdd4c15b5017fbaea677ff64f2ec4a0de4fc8c12608b41405721183b02",
        id="a name",
    ),
    pytest.param(
        RawSpec(
            company_name=NAME,
            country_code="ke",
            currency="KES",
            include_demo_data=False,
            pos_store_enabled=True,
            payment_methods=("Cash", "M-Pesa"),
            opening_amount=-0.0,
        ),
        "",
        "926174fdd4c15b5017fbaea677ff64f2ec4a0de4fc8c12608b41405721183b02",
        id="defaults that are sent",
    ),
    pytest.param(
        WHOLE, TENANT, "e13e01cfc6953ed603bc5fa36c1e3b8b41a7465b86012746941e9c031d0a58a0", id="all"
    ),
]


async def recorded(desk: Desk, method: str, tenant_id: str, body_hash: str) -> None:
    """Leave what a server of another release recorded of an order of Jane's."""
    row = {"caller": "jane", "method": method, "request_id": "one", "created_at": NOON}
    row |= {"tenant_id": tenant_id, "body_hash": body_hash}
    await desk.scene.database.in_transaction(
        lambda connection: connection.execute(insert(REQUESTS).values(row))
    )


@pytest.mark.parametrize(("raw", "wanted", "body_hash"), STARTS)
async def test_a_start_that_another_release_recorded_is_the_same_order(
    desk: Desk, raw: RawSpec, wanted: str, body_hash: str
) -> None:
    tenant_id = await desk.commands.start(JANE, raw, tenant_id=wanted)
    await recorded(desk, "StartProvisioning", tenant_id, body_hash)
    before = await desk.scene.everything()
    again = await desk.commands.start(JANE, raw, tenant_id=wanted, request_id="one")
    assert again == tenant_id
    assert await desk.scene.everything() == before
    other = RawSpec(company_name=raw.company_name, chart_template="Another")
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.start(JANE, other, tenant_id=wanted, request_id="one")
    assert caught.value.code == "REQUEST_ID_REUSED"


@pytest.mark.parametrize(("raw", "wanted", "body_hash"), STARTS)
async def test_what_is_recorded_of_a_start_is_what_other_releases_compare(
    desk: Desk, raw: RawSpec, wanted: str, body_hash: str
) -> None:
    await desk.commands.start(JANE, raw, tenant_id=wanted, request_id="one")
    known = await desk.scene.database.reads.request("jane", "StartProvisioning", "one")
    assert known is not None
    assert known.body_hash == body_hash


def orders(commands: Commands) -> dict[str, tuple[Coroutine[Any, Any, object], str]]:
    """Every order on a tenant or a site, and what has always been recorded of it."""
    plain = "eb1e4f3d43b98cbf0b5eee46d4a8115953337db229e653cfc63fa465af35908d"
    step = "9854d711c9aa9b0341d9ff46987221f730dd28a11932f8663286dd45b3426365"
    sold = UndoOptions(even_if_sold=True)
    return {
        "Continue": (
            commands.continue_(JANE, TENANT, TERMS),
            "dea6dc17883331247ffad57b991924bcad69b7a6654ba59286846faac3fa5768",
        ),
        "Retry": (commands.retry(JANE, TENANT, TERMS, step_key=OPTIONAL), step),
        "SkipStep": (commands.skip_step(JANE, TENANT, TERMS, step_key=OPTIONAL), step),
        "Cancel": (commands.cancel(JANE, TENANT, TERMS), plain),
        "Release": (commands.release(JANE, TENANT, TERMS), plain),
        "AdoptCompany": (commands.adopt_company(JANE, TENANT, TERMS), plain),
        "Deprovision": (
            commands.deprovision(JANE, TENANT, TERMS, options=sold),
            "34fefedbd878927290c61fe02fd3d88611a524ecbf025c69ec0dbf368e661e34",
        ),
    }


async def test_an_order_that_another_release_recorded_is_the_same_order(desk: Desk) -> None:
    await desk.start(tenant_id=TENANT)
    await desk.end(TENANT, {OPTIONAL: StepState.FAILED})
    for method, (order, body_hash) in orders(with_site(desk, a_company())).items():
        await recorded(desk, method, TENANT, body_hash)
        before = await desk.scene.everything()
        # Its revision is over: only as a repetition is it not refused.
        assert await order == TENANT
        assert await desk.scene.everything() == before


async def test_an_accepted_site_that_another_release_recorded_is_the_same_order(
    desk: Desk,
) -> None:
    await desk.scene.gate()
    body_hash = "48cc99044a12956504c92092ed2fb64c1e6c99765e6efe98e723048b14a61bb4"
    await recorded(desk, "AcceptSite", "", body_hash)
    before = await desk.scene.everything()
    done = await desk.commands.accept_site(ADMIN, "main", reason="agreed", request_id="one")
    assert done.accepted
    assert await desk.scene.everything() == before


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecOfALaterRelease(TenantSpec):
    """A spec with one more field, which those who do not know it can't send."""

    language: str = "en"


def test_a_field_that_comes_later_is_recorded_only_if_it_was_sent() -> None:
    before = TenantSpec(company_name=NAME, country_code="KE", currency="KES", engine_id="main")
    later = SpecOfALaterRelease(
        company_name=NAME, country_code="KE", currency="KES", engine_id="main"
    )
    assert later.as_ordered() == before.as_ordered()
    sent = replace(later, language="fr").as_ordered()
    assert sent == f"{before.as_ordered()[:-1]}, language='fr')"
