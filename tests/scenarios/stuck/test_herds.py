"""Many at one error, two reconcilers on one database: one goes first, the others follow it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.model.states import TenantState
from tests.scenarios.stuck.town import WHOLE

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.scenarios.stuck.town import Fault, Town

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def stopped_at(town: Town, names: list[str], fault: Fault) -> list[TenantId]:
    """Order shops that all stop at one error of the site."""
    await town.faults({**fault, "times": None})
    shops = [await town.order(name) for name in names]
    assert {await town.rest(shop) for shop in shops} == {TenantState.FAILED}
    await town.faults()
    return shops


async def two_reconcilers(town: Town) -> None:
    await asyncio.gather(town.sweep(), town.sweep())


async def driven(town: Town, shops: list[TenantId]) -> list[TenantId]:
    """Return whom the reconcilers drove on, once for each order."""
    runs = await town.sql("SELECT tenant_id FROM runs WHERE actor = 'reconciler'")
    return sorted(row["tenant_id"] for row in runs if row["tenant_id"] in shops)


async def herd(town: Town, shops: list[TenantId]) -> list[tuple[int, str, str | None]]:
    found = await town.sql("SELECT * FROM findings WHERE cause = 'HERD'")
    return [
        (row["tenants"], row["severity"], row["ended_as"])
        for row in found
        if row["tenant_id"] in shops
    ]


async def test_of_many_at_a_passing_error_one_goes_first_whoever_sweeps(town: Town) -> None:
    names = [f"Herd {number}" for number in range(4)]
    shops = await stopped_at(
        town, names, {"method": "POST", "doctype": "Warehouse", "exc_type": "QueryDeadlockError"}
    )

    await two_reconcilers(town)
    (canary,) = await driven(town, shops)
    assert await town.rest(canary) is TenantState.COMPLETED
    await two_reconcilers(town)
    ends = [await town.rest(shop) for shop in shops]
    await two_reconcilers(town)

    assert ends == [TenantState.COMPLETED] * 4
    assert await driven(town, shops) == sorted(shops), "one order each, though two gave it"
    assert await herd(town, shops) == [(4, "MAY_CLEAR", "HEALED")]
    assert [await town.belongings(name) for name in names] == [WHOLE] * 4


async def test_many_at_an_error_for_a_person_follow_the_one_he_brought_through(
    town: Town,
) -> None:
    names = [f"Refused {number}" for number in range(4)]
    shops = await stopped_at(
        town,
        names,
        {
            "method": "POST",
            "doctype": "POS Profile",
            "exc_type": "MandatoryError",
            "message": "write_off_account is mandatory",
        },
    )

    await two_reconcilers(town)
    await two_reconcilers(town)
    alone = await driven(town, shops)
    calls = await town.sql("SELECT body FROM outbox WHERE kind = 'needs_person'")
    await town.continue_(shops[0])
    assert await town.rest(shops[0]) is TenantState.COMPLETED
    # One pass notices who came through, the next one drives on the others.
    await two_reconcilers(town)
    await two_reconcilers(town)
    ends = [await town.rest(shop) for shop in shops]
    await two_reconcilers(town)

    assert alone == []
    assert len([call for call in calls if any(shop in call["body"] for shop in shops)]) == 1
    assert ends == [TenantState.COMPLETED] * 4
    assert await driven(town, shops) == sorted(shops[1:])
    assert await herd(town, shops) == [(4, "PERSON", "HEALED")]
    assert [await town.belongings(name) for name in names] == [WHOLE] * 4
