"""The small parts of the model: words, rights, identifiers, blueprints."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model import states
from server.model.actor import LOCAL, RECONCILER, Actor, Right, Role
from server.model.blueprint import BLUEPRINTS, ERPNEXT, NOOP, Blueprint
from server.model.identifiers import canonical_uuid, new_id
from server.model.states import (
    DONE_STEP_STATES,
    OPEN_RUN_STATES,
    SETTLED_TENANT_STATES,
    RunState,
    StepState,
    TenantState,
    Word,
)
from tests.server.model.builders import AT, DEMO, SPEC

WORDS = [
    each for each in vars(states).values() if isinstance(each, type) and issubclass(each, Word)
]
ENUMS = [each for each in WORDS if each is not Word]

# From the year 2000 on, for about two centuries.
times = st.integers(0, 73_000 * 86_400_000).map(
    lambda milliseconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
def test_every_word_is_stored_as_its_own_name_and_read_back(enum: type[Word]) -> None:
    assert [member.value for member in enum] == [member.name for member in enum]
    assert [enum.parse(member.value) for member in enum] == list(enum)


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.__name__)
@pytest.mark.parametrize("garbage", [None, "", "completed", "BROKEN", " FAILED", 7, b"FAILED"])
def test_any_other_word_reads_as_none(enum: type[Word], garbage: object) -> None:
    assert enum.parse(garbage) is None


def test_the_groups_of_words_split_open_from_closed_and_done_from_undone() -> None:
    assert set(RunState) - OPEN_RUN_STATES == {
        RunState.COMPLETED,
        RunState.PARTIAL,
        RunState.FAILED,
        RunState.CANCELLED,
        RunState.REPLACED,
    }
    assert set(StepState) - DONE_STEP_STATES == {
        StepState.PENDING,
        StepState.RUNNING,
        StepState.FAILED,
    }
    assert set(TenantState) - SETTLED_TENANT_STATES == {
        TenantState.PENDING,
        TenantState.IN_PROGRESS,
        TenantState.PARTIAL,
        TenantState.FAILED,
    }


@pytest.mark.parametrize(
    ("role", "rights"),
    [
        (Role.VIEWER, {Right.READ, Right.READ_FLEET}),
        (Role.OPERATOR, set(Right) - {Right.ADMINISTER}),
        (Role.ADMIN, set(Right)),
    ],
)
def test_a_role_may_what_is_listed_and_nothing_else(role: Role, rights: set[Right]) -> None:
    actor = Actor(name="jane", role=role)
    assert {right for right in Right if actor.may(right)} == rights


def test_the_reconciler_orders_as_an_operator_does_and_is_no_person() -> None:
    assert (RECONCILER.role, RECONCILER.is_person) == (Role.OPERATOR, False)
    assert LOCAL.is_person


@given(times)
def test_an_id_is_a_uuid_of_version_7_that_carries_its_time(now: datetime) -> None:
    text = new_id(now)
    made = uuid.UUID(text)
    assert (made.version, made.variant, str(made)) == (7, uuid.RFC_4122, text)
    assert abs((made.int >> 80) - now.timestamp() * 1000) <= 1


@given(times, times)
def test_ids_sort_by_their_time(one: datetime, other: datetime) -> None:
    earlier, later = sorted((one, other))
    if later - earlier >= timedelta(milliseconds=2):
        assert new_id(earlier) < new_id(later)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(AT) for _ in range(1000)}) == 1000


@given(st.uuids())
def test_a_uuid_in_upper_case_is_brought_into_its_canonical_form(given_id: uuid.UUID) -> None:
    assert canonical_uuid(str(given_id).upper()) == str(given_id)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "{01900000-0000-7000-8000-000000000001}",
        "urn:uuid:01900000-0000-7000-8000-000000000001",
        "01900000000070008000000000000001",
        "01900000-0000-7000-8000-000000000001\n",
        "0190000g-0000-7000-8000-000000000001",
        "٠١٩٠٠٠٠٠-0000-7000-8000-000000000001",
    ],
)
def test_other_spellings_of_a_uuid_are_not_taken(text: str) -> None:
    assert canonical_uuid(text) is None


@pytest.mark.parametrize("blueprint", BLUEPRINTS.values(), ids=lambda each: each.name)
def test_needs_point_backwards_only_and_keys_are_unique(blueprint: Blueprint) -> None:
    seen: set[str] = set()
    for step in blueprint.steps:
        assert step.key not in seen
        assert set(step.needs) <= seen
        seen.add(step.key)


@pytest.mark.parametrize("blueprint", BLUEPRINTS.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("spec", [SPEC, DEMO])
def test_whatever_a_required_step_needs_is_required_and_in_every_run(
    blueprint: Blueprint, spec: object
) -> None:
    for step in blueprint.steps:
        for needed in step.needs:
            kind = blueprint.step(needed)
            assert kind is not None
            if step.required:
                assert kind.required
                assert not kind.demo_only


def test_a_run_has_ten_steps_and_eleven_with_demo_data() -> None:
    plain, demo = ERPNEXT.steps_for(SPEC), ERPNEXT.steps_for(DEMO)
    assert (len(plain), len(demo)) == (10, 11)
    assert {step.key for step in demo} - {step.key for step in plain} == {"step_6_items"}
    assert len(NOOP.steps_for(SPEC)) == 10


def test_steps_6_9_and_10_are_the_optional_ones() -> None:
    assert [step.key for step in ERPNEXT.steps if not step.required] == [
        "step_6_items",
        "step_9_pos_session",
        "step_10_post_sale_updates",
    ]


def test_a_step_draws_those_along_that_need_it_directly_or_not() -> None:
    assert ERPNEXT.and_those_that_need(["step_7_customer"]) == {
        "step_7_customer",
        "step_8_pos_profile",
        "step_9_pos_session",
    }
    assert ERPNEXT.and_those_that_need(["step_9_pos_session"]) == {"step_9_pos_session"}
    assert ERPNEXT.and_those_that_need([]) == frozenset()
    everything = ERPNEXT.and_those_that_need(["step_0_engine_check"])
    assert {step.key for step in ERPNEXT.steps} - everything == {"step_10_post_sale_updates"}


@given(st.sets(st.sampled_from([step.key for step in ERPNEXT.steps])))
def test_what_is_drawn_along_is_closed_and_no_larger_than_it_must_be(keys: set[str]) -> None:
    drawn = ERPNEXT.and_those_that_need(keys)
    assert keys <= drawn
    assert ERPNEXT.and_those_that_need(drawn) == drawn
    for step in ERPNEXT.steps:
        assert (step.key in drawn) == (step.key in keys or bool(drawn.intersection(step.needs)))


def test_a_step_is_found_by_its_key() -> None:
    assert [ERPNEXT.step(kind.key) for kind in ERPNEXT.steps] == list(ERPNEXT.steps)
    assert ERPNEXT.step("step_99") is None


def test_the_steps_of_the_noop_blueprint_form_one_chain() -> None:
    assert all(later.needs == (earlier.key,) for earlier, later in pairwise(NOOP.steps))
