"""The line before a site's slot: it takes no places, and who was ordered first goes first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.executor import line as line_module
from server.executor.line import LineIsLong
from server.executor.slots import Slots
from server.model.identifiers import TenantId
from tests.server.executor.scene import COMPANY, PATIENCE_SECONDS
from tests.server.executor.test_takeover import replace_worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.executor.scene import Shop

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def few_seats_and_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tenants fill the line, and a busy machine must not make anybody late."""
    monkeypatch.setattr(line_module, "SEATS", 4)
    monkeypatch.setattr(line_module, "COMING_SECONDS", PATIENCE_SECONDS)


def place(number: int) -> tuple[datetime, str]:
    return (NOON + timedelta(seconds=number), f"run-{number}")


async def stand(
    line: line_module.Line, number: int, had: list[int], arrived: Callable[[], None] = lambda: None
) -> None:
    async with line.turn(place(number), arrived=arrived):
        had.append(number)
        await asyncio.sleep(0)


async def test_turns_go_by_order_whoever_came_first() -> None:
    line, had = Slots().of("a site"), list[int]()
    async with line.turn(place(99)):
        waiting = [asyncio.create_task(stand(line, number, had)) for number in (7, 3, 5)]
        await asyncio.sleep(0)
        assert line.seated == 3
    await asyncio.gather(*waiting)
    assert had == [3, 5, 7]
    assert not line.taken


async def test_the_last_one_gives_its_seat_to_an_earlier_one() -> None:
    line, had = Slots().of("a site"), list[int]()
    async with line.turn(place(0)):
        seated = [
            asyncio.create_task(stand(line, 10 + number, had))
            for number in range(line_module.SEATS)
        ]
        await asyncio.sleep(0)
        assert not line.seats(place(50))
        earlier = asyncio.create_task(stand(line, 1, had))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(LineIsLong):
            await seated[-1]
    await asyncio.gather(earlier, *seated[:-1])
    assert had[0] == 1
    assert len(had) == line_module.SEATS


async def test_one_who_goes_before_the_last_is_called_up_though_all_seats_are_taken() -> None:
    """Else whoever comes by as a seat is free would keep away those who wait longer."""
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    assert lines.room("a site") == (line_module.SEATS, None)
    async with line.turn(place(0)):
        seated = [
            asyncio.create_task(stand(line, 10 + number, had))
            for number in range(line_module.SEATS)
        ]
        await asyncio.sleep(0)
        last = 10 + line_module.SEATS - 1
        assert lines.room("a site") == (1, place(last)[0])
        came = lines.expect("a site", place(5), called_up=True)
        assert lines.room("a site") == (0, None)
        came()
        came()
        assert lines.room("a site") == (1, place(last)[0])
    await asyncio.gather(*seated)


async def test_who_was_ordered_earlier_and_is_on_its_way_is_waited_for() -> None:
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    came = {number: lines.expect("a site", place(number)) for number in (1, 2, 3)}
    later = asyncio.create_task(stand(line, 2, had, came[2]))
    await asyncio.sleep(0)
    assert (line.taken, line.seated) == (False, 1)
    first = asyncio.create_task(stand(line, 1, had, came[1]))
    await asyncio.gather(first, later)
    assert had == [1, 2]  # and nobody waits for one that was ordered later
    came[3]()


async def test_one_that_goes_another_way_is_not_waited_for() -> None:
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    came = lines.expect("a site", place(1))
    later = asyncio.create_task(stand(line, 2, had))
    await asyncio.sleep(0)
    assert had == []
    came()
    await later
    assert had == [2]


async def test_one_that_tries_again_in_a_moment_keeps_its_place() -> None:
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    before = lines.expect("a site", place(1))
    line.expect(place(1), pause=0.5)
    before()  # its task has ended, and it is not here yet
    later = asyncio.create_task(stand(line, 2, had))
    await asyncio.sleep(0)
    came = lines.expect("a site", place(1))
    await stand(line, 1, had, came)
    await later
    assert had == [1, 2]


async def test_one_whose_reads_hang_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_module, "COMING_SECONDS", 0.05)
    lines, had = Slots(), list[int]()
    lines.expect("a site", place(1))
    await stand(lines.of("a site"), 2, had)
    assert had == [2]


async def test_one_that_gave_its_place_back_goes_before_those_who_came_later() -> None:
    """The slot is free and its place in line is the first; it must only be called up."""
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    async with line.turn(place(0)):
        line.gave_place_back(place(1))
        lines.handed_back = False
        later = asyncio.create_task(stand(line, 2, had))
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (line.taken, line.seated, lines.handed_back) == (False, 1, True)
    # It is not seen in the line of the database as long as it is about to leave.
    line.called_up((), nobody_else=True, before=None, leaving={"run-1"})
    assert not line.taken
    came = lines.expect("a site", place(1), called_up=True)
    await stand(line, 1, had, came)
    await later
    assert had == [1, 2]


async def test_one_that_gave_its_place_back_and_is_gone_is_not_waited_for() -> None:
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    for number in (1, 3, 5):
        line.gave_place_back(place(number))
    later = [asyncio.create_task(stand(line, number, had)) for number in (2, 4, 6)]
    await asyncio.sleep(0)
    assert had == []
    # Another process called the first one up; of the others nobody stands there before noon + 5.
    line.called_up((place(1),), nobody_else=False, before=None, leaving=())
    await later[0]
    line.called_up((), nobody_else=True, before=place(5)[0], leaving=())
    await later[1]
    assert had == [2, 4]
    line.called_up((), nobody_else=True, before=None, leaving=())
    await later[2]


async def test_those_whom_nobody_calls_up_keep_the_others_once_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many they are: a site that takes no work calls nobody up."""
    monkeypatch.setattr(line_module, "COMING_SECONDS", 0.05)
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    for number in range(1000):
        line.gave_place_back(place(number))
    async with asyncio.timeout(PATIENCE_SECONDS / 2):
        await stand(line, 2000, had)
    monkeypatch.setattr(line_module, "COMING_SECONDS", PATIENCE_SECONDS)
    await stand(line, 3000, had)
    assert had == [2000, 3000]


async def test_where_all_seats_are_taken_few_are_prepared_at_a_time() -> None:
    lines, had = Slots(), list[int]()
    line = lines.of("a site")
    async with line.turn(place(0)):
        assert lines.may_begin("a site") is None
        seated = [asyncio.create_task(stand(line, number, had)) for number in range(1, 5)]
        await asyncio.sleep(0)
        assert lines.may_begin("a site") == 2
        came = [lines.expect("a site", place(number)) for number in (7, 8)]
        assert lines.may_begin("a site") == 0
        came[0]()
        assert lines.may_begin("a site") == 1
    await asyncio.gather(*seated)
    assert lines.may_begin("a site") is None


async def test_who_is_refused_by_the_database_hears_that_the_slot_is_free() -> None:
    line = Slots().of("a site")
    heard = line.heard
    waiting = asyncio.create_task(line.news(heard, longest=PATIENCE_SECONDS))
    await asyncio.sleep(0)
    assert not waiting.done()
    line.freed()
    await asyncio.wait_for(waiting, PATIENCE_SECONDS / 2)
    # What was said before it listened is no reason to wait for a moment.
    said_before = line.news(heard, longest=PATIENCE_SECONDS)
    with pytest.raises(StopIteration):
        said_before.send(None)
    await line.news(line.heard, longest=0.01)  # nobody says anything
    assert line.heard == heard + 1


async def test_one_that_is_cancelled_leaves_the_line_in_order() -> None:
    line, had = Slots().of("a site"), list[int]()
    async with line.turn(place(0)):
        first, second = (asyncio.create_task(stand(line, number, had)) for number in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
    await second
    assert had == [2]


async def test_who_cannot_have_the_slot_lets_an_earlier_one_try() -> None:
    """Two processes would else wait for each other."""
    line, had = Slots().of("a site"), list[int]()
    async with line.turn(place(5)) as turn:
        earlier = asyncio.create_task(stand(line, 1, had))
        await asyncio.sleep(0)
        await turn.let_earlier_go()
        assert had == [1]
        assert line.taken
    await earlier
    assert not line.taken


async def test_the_waiting_of_one_site_takes_no_places_of_another(still: Shop) -> None:
    """More runs than places and seats wait for a slot; their places are free all the same."""
    await still.drive(max_runs=2)
    await still.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    count = 2 + line_module.SEATS + 3
    tenants = [await still.order(f"Branch {number} Traders") for number in range(count)]

    async def all_wait() -> bool:
        waits = [await still.waits_for(tenant) for tenant in tenants]
        return waits.count("SITE_SLOT") == count - 1

    await still.until(all_wait)
    rows = still.sql("SELECT state, worker_id IS NULL FROM runs WHERE waiting_code = 'SITE_SLOT'")
    assert rows.count(("WAITING", 1)) >= count - 1 - line_module.SEATS
    assert rows.count(("RUNNING", 0)) <= line_module.SEATS

    still.site.hurry()
    await still.must_complete(*tenants)
    for tenant in tenants:
        # To wait was no try, and no attempt of its own.
        assert (await still.outcomes(tenant))[COMPANY] == ["APPLIED"]
        assert {step.tries for step in (await still.record(tenant)).steps} == {1}
    made = [each["name"] for each in (await still.look())["documents"]["Company"]]
    ours = [name for name in made if name.startswith("Branch")]
    assert ours == sorted(ours), "who was ordered first goes first"


async def test_who_stood_in_line_when_its_worker_was_replaced_lost_nothing(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    tenants = [
        await shop.order(f"Branch {number} Traders") for number in range(line_module.SEATS + 3)
    ]
    away = "SELECT tenant_id FROM runs WHERE state = 'WAITING' AND waiting_code = 'SITE_SLOT'"

    async def handed_back() -> bool:
        return len(shop.sql(away)) == 2

    await shop.until(handed_back)
    one = TenantId(shop.sql(away)[0][0])
    first, _ = await replace_worker(shop)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Company", 2)
    shop.site.hurry()
    await shop.must_complete(*tenants)
    await first.executor.stop()

    assert (await shop.outcomes(one))[COMPANY] == ["APPLIED"]
    workers = {attempt.worker_id for attempt in await shop.attempts(one)}
    assert len(workers) == 2
