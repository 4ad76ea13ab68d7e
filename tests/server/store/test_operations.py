"""An operation is written whole or not at all, by whoever drives the tenant now."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from server.model.identifiers import AttemptId, RequestKey, TenantId, WorkerId, new_id
from server.model.records import Attempt, Hold
from server.model.states import LogLevel, RunState, TenantState
from server.store.operations import (
    BindingRow,
    Healing,
    LogDraft,
    Outcome,
    Refusal,
    RequestOperation,
    RunRow,
    TenantOperation,
)
from server.store.rows import MAX_FIELD_BYTES, MAX_FIELDS, MAX_MESSAGE_BYTES
from tests.server.store.scene import (
    NOON,
    OTHER_SITE,
    SITE,
    creation,
    later,
    logs,
    whole_change,
)
from tests.server.store.sent import statements_sent

if TYPE_CHECKING:
    from tests.server.store.scene import Scene

KEY = RequestKey(caller="jane", method="Continue", request_id="abc", body_hash="1")


async def test_starting_a_tenant_writes_tenant_run_and_all_its_steps_together(
    scene: Scene,
) -> None:
    """Promise 1."""
    tenant_id = await scene.tenant()
    assert len(scene.commits) == 1
    record = await scene.record(tenant_id)
    assert record.run is not None
    assert len(record.steps) == record.run.total_steps == 10
    assert {step.run_id for step in record.steps} == {record.run.id}
    assert (record.tenant.fencing_token, record.tenant.revision, record.run.token) == (1, 1, 1)
    assert record.tenant.state is TenantState.IN_PROGRESS


async def test_what_was_written_reads_back_as_it_was_given(scene: Scene) -> None:
    operation = creation('Café 🏪 "O\'Brien"', log_count=2)
    await scene.written(operation)
    record = await scene.record(operation.tenant_id)
    assert operation.create is not None
    assert record.tenant.spec == operation.create.spec
    assert record.steps == operation.steps
    assert record.run == replace(operation.runs[0].run, token=1)
    assert record.tenant.created_at == NOON


async def test_the_current_token_writes_every_table_and_raises_the_token(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    change = whole_change(await scene.record(tenant_id), token=1, revision=1)
    assert await scene.submit(change) == Outcome(token=2, revision=2, log_seq=4)
    record = await scene.record(tenant_id)
    assert record.run is not None
    assert (record.tenant.fencing_token, record.run.token, record.run.worker_id) == (
        2,
        2,
        "worker-1",
    )
    assert await scene.cursors(tenant_id) == [1, 2, 3, 4]
    assert len(await scene.database.reads.resources(tenant_id)) == 1
    bound = await scene.database.reads.binding(tenant_id)
    assert bound is not None
    assert bound.abbreviation == "KS"


@pytest.mark.parametrize(("token", "revision"), [(0, None), (2, None), (None, 7), (1, 7), (9, 1)])
async def test_a_stale_token_or_revision_is_refused_and_nothing_is_written(
    scene: Scene, token: int | None, revision: int | None
) -> None:
    """Promise 4."""
    tenant_id = await scene.tenant()
    change = whole_change(await scene.record(tenant_id), token=token, revision=revision)
    before = await scene.everything()
    assert (await scene.submit(change)).refusal is Refusal.REPLACED
    assert await scene.everything() == before


async def test_a_replaced_worker_is_refused_whoever_replaced_it(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, token=1, raise_token=True))
    late = TenantOperation(tenant_id=tenant_id, at=NOON, token=1, log=logs())
    assert (await scene.submit(late)).refusal is Refusal.REPLACED
    assert (await scene.submit(replace(late, token=2))).applied
    assert await scene.cursors(tenant_id) == [1, 2]


async def test_an_operation_on_no_tenant_is_refused(scene: Scene) -> None:
    before = await scene.everything()
    lonely = TenantOperation(tenant_id=TenantId(new_id(NOON)), at=NOON, log=logs())
    assert (await scene.submit(lonely)).refusal is Refusal.REPLACED
    assert await scene.everything() == before


async def test_what_an_operation_does_not_name_stays(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    hold = Hold(reason="Company gone", by="reconciler", since=later(minutes=1))
    await scene.written(
        TenantOperation(
            tenant_id=tenant_id,
            at=NOON,
            hold=hold,
            healing=Healing(count=3, at=later(minutes=2)),
            completed_at=later(minutes=3),
            look_at=later(days=1),
        )
    )
    before = (await scene.record(tenant_id)).tenant
    assert (before.hold, before.heal_count, before.healed_at) == (hold, 3, later(minutes=2))
    await scene.written(
        TenantOperation(tenant_id=tenant_id, at=NOON, completed_at=later(minutes=9))
    )
    after = (await scene.record(tenant_id)).tenant
    # A new revision clears look_at; the first completion is never overwritten.
    assert after == replace(before, look_at=None, revision=3)
    assert after.first_completed_at == later(minutes=3)
    await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, lift_hold=True))
    assert (await scene.record(tenant_id)).tenant.hold is None


async def test_cursors_count_from_one_without_a_gap_under_200_callers(scene: Scene) -> None:
    """Promise 9."""
    tenants = [await scene.tenant(f"Shop {number}", log_count=0) for number in range(4)]
    operations = [
        TenantOperation(tenant_id=tenants[number % 4], at=NOON, token=1, log=logs(number % 3))
        for number in range(200)
    ]
    outcomes = await asyncio.gather(*(scene.written(each) for each in operations))
    for tenant_id in tenants:
        mine = [
            (outcome, operation)
            for outcome, operation in zip(outcomes, operations, strict=True)
            if operation.tenant_id == tenant_id
        ]
        total = sum(len(operation.log) for _, operation in mine)
        assert await scene.cursors(tenant_id) == list(range(1, total + 1))
        assert [outcome.revision for outcome, _ in mine] == list(range(2, 52))
        record = await scene.record(tenant_id)
        assert (record.tenant.log_seq, record.tenant.revision) == (total, 51)


async def test_many_waiting_operations_share_few_transactions(scene: Scene) -> None:
    await asyncio.gather(*(scene.written(creation(f"Shop {number}")) for number in range(100)))
    assert len(scene.commits) <= 2


async def test_a_step_on_postgres_takes_three_round_trips_besides_begin_and_commit(
    postgres_scene: Scene,
) -> None:
    record = await postgres_scene.record(await postgres_scene.tenant())
    run = record.run
    assert run is not None
    step = TenantOperation(
        tenant_id=record.tenant.id,
        at=NOON,
        token=record.tenant.fencing_token,
        runs=(RunRow(run=run, site=SITE),),
        steps=record.steps[:2],
        attempts=(
            Attempt(
                id=AttemptId("01900000-0000-7000-8000-00000000a77e"),
                tenant_id=record.tenant.id,
                run_id=run.id,
                step_key=record.steps[0].key,
                number=1,
                worker_id=WorkerId("worker"),
                started_at=NOON,
                deadline_at=NOON,
            ),
        ),
        log=logs(2),
    )
    with statements_sent() as sent:
        outcome = await postgres_scene.submit(step)
    assert outcome.applied
    # Number and locks, the fence, and all rows: with one run open each takes as long as it is far.
    assert len(sent) == 3


async def test_operations_of_one_tenant_are_written_in_the_order_they_were_given(
    scene: Scene,
) -> None:
    tenant_id = await scene.tenant(log_count=0)
    other = await scene.tenant("Other", log_count=0)
    await asyncio.gather(
        *(
            scene.written(
                TenantOperation(
                    tenant_id=tenant_id if number % 4 else other,
                    at=NOON,
                    log=(LogDraft(level=LogLevel.INFO, event="n", message=str(number)),),
                )
            )
            for number in range(40)
        )
    )
    for each in (tenant_id, other):
        page = await scene.database.reads.log_page(each, after=0, limit=100)
        numbers = [int(entry.message) for entry in page]
        assert numbers == sorted(numbers)


async def test_a_bad_operation_in_a_batch_fails_alone(scene: Scene) -> None:
    await scene.tenant("Kijani Stores")
    outcomes = await asyncio.gather(
        scene.submit(creation("Acme")),
        scene.submit(creation("KIJANI  Stores".replace("  ", " "))),
        scene.submit(creation("Bidii")),
        scene.submit(creation("bidii")),
    )
    assert [outcome.refusal for outcome in outcomes] == [
        None,
        Refusal.NAME_TAKEN,
        None,
        Refusal.NAME_TAKEN,
    ]
    written = await scene.everything()
    assert len(written["tenants"]) == len(written["bindings"]) == len(written["runs"]) == 3
    assert len(written["steps"]) == 30


async def test_one_name_on_two_sites_is_no_conflict(scene: Scene) -> None:
    await scene.tenant("Acme")
    assert (await scene.submit(creation("Acme", site=OTHER_SITE))).applied


async def test_a_taken_id_is_refused_as_such_and_the_first_tenant_stays(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    before = await scene.everything()
    again = creation("Another", tenant_id=tenant_id)
    assert (await scene.submit(again)).refusal is Refusal.TENANT_EXISTS
    assert await scene.everything() == before


async def test_a_known_request_is_refused_with_all_it_came_with(scene: Scene) -> None:
    """Promise 10."""
    tenant_id = await scene.tenant()
    order = TenantOperation(tenant_id=tenant_id, at=NOON, log=logs(), request=KEY)
    await scene.written(order)
    before = await scene.everything()
    assert (await scene.submit(order)).refusal is Refusal.REQUEST_KNOWN
    assert await scene.everything() == before
    assert (await scene.submit(replace(order, request=replace(KEY, caller="joe")))).applied
    assert (await scene.submit(replace(order, request=replace(KEY, method="Retry")))).applied


@pytest.mark.parametrize("word", ["company_fold", "abbreviation_fold", "tenants", "bindings"])
async def test_what_a_caller_wrote_never_decides_which_rule_was_met(
    scene: Scene, word: str
) -> None:
    """PostgreSQL quotes the values of a row it refuses."""
    tenant_id = await scene.tenant()
    key = replace(KEY, caller=word, request_id=f'uq_{word}"')
    order = TenantOperation(tenant_id=tenant_id, at=NOON, request=key)
    await scene.written(order)
    assert (await scene.submit(order)).refusal is Refusal.REQUEST_KNOWN


async def test_an_order_that_changed_nothing_is_remembered_once(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    order = RequestOperation(tenant_id=tenant_id, at=NOON, request=KEY)
    before = (await scene.record(tenant_id)).tenant
    outcomes = await asyncio.gather(scene.submit(order), scene.submit(order))
    assert [outcome.refusal for outcome in outcomes] == [None, Refusal.REQUEST_KNOWN]
    assert (await scene.record(tenant_id)).tenant == before
    known = await scene.database.reads.request(KEY.caller, KEY.method, KEY.request_id)
    assert known is not None
    assert (known.tenant_id, known.body_hash) == (tenant_id, KEY.body_hash)


async def test_two_new_tenants_with_one_request_id_in_one_batch_become_one(scene: Scene) -> None:
    first, second = (replace(creation(name), request=KEY) for name in ("Acme", "Bidii"))
    outcomes = await asyncio.gather(scene.submit(first), scene.submit(second))
    assert [outcome.refusal for outcome in outcomes] == [None, Refusal.REQUEST_KNOWN]
    assert len((await scene.everything())["tenants"]) == 1


async def test_a_known_request_is_told_before_what_its_first_carrying_out_left_in_the_way(
    scene: Scene,
) -> None:
    start = replace(creation(), request=KEY)
    await scene.written(start)
    again = replace(creation(), request=KEY)  # the same name, another id
    assert (await scene.submit(again)).refusal is Refusal.REQUEST_KNOWN
    order = TenantOperation(
        tenant_id=start.tenant_id, at=NOON, revision=1, request=replace(KEY, method="Retry")
    )
    await scene.written(order)
    assert (await scene.submit(order)).refusal is Refusal.REQUEST_KNOWN


async def test_an_abbreviation_of_another_tenant_is_refused(scene: Scene) -> None:
    await scene.tenant("Acme", abbreviation="ACM")
    tenant_id = await scene.tenant("Acmeville")
    bind = TenantOperation(
        tenant_id=tenant_id,
        at=NOON,
        token=1,
        log=logs(),
        binding=BindingRow(site=SITE, company_name="Acmeville", abbreviation="acm"),
    )
    before = await scene.everything()
    assert (await scene.submit(bind)).refusal is Refusal.ABBREVIATION_TAKEN
    assert await scene.everything() == before
    assert bind.binding is not None
    free = replace(bind, binding=replace(bind.binding, abbreviation="ACM2"))
    assert (await scene.submit(free)).applied


async def test_any_number_of_tenants_wait_for_their_abbreviation(scene: Scene) -> None:
    names = ("Acme", "Bidii", "Chai")
    outcomes = [await scene.submit(creation(name, abbreviation=None)) for name in names]
    assert Counter(outcome.refusal for outcome in outcomes) == {None: 3}


async def test_closing_one_run_and_opening_the_next_is_one_operation(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    record = await scene.record(tenant_id)
    assert record.run is not None
    fresh = creation(tenant_id=tenant_id)
    closed = replace(record.run, state=RunState.REPLACED, finished_at=NOON)
    await scene.written(
        replace(
            fresh,
            create=None,
            revision=1,
            raise_token=True,
            runs=(RunRow(run=closed, site=SITE), *fresh.runs),
        )
    )
    after = await scene.record(tenant_id)
    assert after.run is not None
    assert (after.run.id, after.tenant.run_id, len(after.steps)) == (
        fresh.run_id,
        fresh.run_id,
        10,
    )
    old = await scene.database.reads.run(record.run.id)
    assert old is not None
    assert old.state is RunState.REPLACED


async def test_log_entries_are_cut_to_what_a_message_may_hold(scene: Scene) -> None:
    tenant_id = await scene.tenant(log_count=0)
    draft = LogDraft(
        level=LogLevel.ERROR,
        event="big",
        message="é" * 5000,
        fields={f"field{number}": "x" * 1000 for number in range(20)},
    )
    await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, log=(draft,)))
    (entry,) = await scene.database.reads.log_page(tenant_id, after=0, limit=10)
    assert len(entry.message.encode()) <= MAX_MESSAGE_BYTES
    assert entry.message.endswith("…")
    assert len(entry.fields) == MAX_FIELDS
    assert all(len(value.encode()) <= MAX_FIELD_BYTES for value in entry.fields.values())
    assert entry.fields["event"] == "big"


@pytest.mark.parametrize("odd", ["zero \x00 byte", "half \ud800 a pair", "line\nbreak\ttab \x07"])
async def test_an_engines_odd_words_do_not_stop_the_record_from_being_written(
    scene: Scene, odd: str
) -> None:
    tenant_id = await scene.tenant(log_count=0)
    change = whole_change(await scene.record(tenant_id), token=1, revision=None)
    told = replace(change.steps[0], error_message=odd, note=odd, outputs={"said": odd})
    await scene.written(
        replace(
            change,
            steps=(told, *change.steps[1:]),
            log=(LogDraft(level=LogLevel.ERROR, event="e", message=odd, fields={"said": odd}),),
        )
    )
    (entry,) = await scene.database.reads.log_page(tenant_id, after=0, limit=10)
    assert entry.message[:4] == odd[:4]
    assert (await scene.record(tenant_id)).steps[0].note[:4] == odd[:4]
