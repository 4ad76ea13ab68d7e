"""Records that are made often are frozen dataclasses like any other."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, dataclass, field
from typing import Any

import pytest

from server.model.made_often import made_often, replace
from server.model.records import Attempt, Run, Step, Tenant
from server.store.operations import LogDraft, Outcome, TenantOperation


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    name: str
    count: int = 3
    notes: list[str] = field(default_factory=list)
    seen: int = field(default=0, compare=False)


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    name: str
    count: int = 3
    notes: list[str] = field(default_factory=list)
    seen: int = field(default=0, compare=False)


def facts(record: Plain | Quick) -> dict[str, Any]:
    return dataclasses.asdict(record)


@pytest.mark.parametrize("given", [{}, {"count": 4}, {"notes": ["a"], "seen": 1}])
def test_it_is_made_with_the_same_fields_and_defaults(given: dict[str, Any]) -> None:
    quick = Quick(name="Kijani", **given)
    assert type(quick) is Quick
    assert facts(quick) == facts(Plain(name="Kijani", **given))


def test_each_has_a_default_of_its_own() -> None:
    assert Quick(name="a").notes is not Quick(name="b").notes


@pytest.mark.parametrize("changed", [False, True])
def test_nothing_of_it_can_be_changed(*, changed: bool) -> None:
    quick = replace(Quick(name="a"), count=5) if changed else Quick(name="a")
    with pytest.raises(FrozenInstanceError):
        quick.count = 6  # type: ignore[misc]  # what is tested
    with pytest.raises(FrozenInstanceError):
        del quick.count


def test_a_changed_one_is_a_new_one() -> None:
    first = Quick(name="a", notes=["x"], seen=2)
    second = replace(first, count=5)
    assert (first.count, second) == (3, Quick(name="a", count=5, notes=["x"]))
    assert type(second) is Quick
    assert second.seen == 2
    assert facts(second) == facts(dataclasses.replace(first, count=5))


@pytest.mark.parametrize("make", [Plain, Quick])
def test_a_field_it_does_not_have_is_refused(make: type[Plain | Quick]) -> None:
    with pytest.raises(TypeError, match="nmae"):
        make(nmae="a")  # type: ignore[call-arg]  # what is tested
    with pytest.raises(TypeError, match="nmae"):
        replace(make(name="a"), nmae="b")  # type: ignore[call-arg]  # what is tested
    with pytest.raises(TypeError, match="name"):
        make()  # type: ignore[call-arg]  # what is tested


def test_it_is_equal_hashed_shown_copied_and_pickled_as_usual() -> None:
    quick = Quick(name="a", seen=1)
    assert quick == Quick(name="a", seen=2)
    other: object = Plain(name="a")
    assert quick != other
    assert repr(quick) == repr(Plain(name="a", seen=1)).replace("Plain", "Quick")
    assert copy.copy(quick) == pickle.loads(pickle.dumps(quick)) == quick  # noqa: S301 - made here
    assert hash(Outcome(token=2)) == hash(Outcome(token=2))


def test_any_other_record_is_replaced_as_ever() -> None:
    assert replace(Plain(name="a"), count=4) == Plain(name="a", count=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    name: str

    def __post_init__(self) -> None:
        raise ValueError(self.name)


@dataclass(frozen=True, kw_only=True)
class WithDict:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Child(Plain):
    more: str = ""


@dataclass(frozen=True, slots=True)
class Positional:
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    name: str = field(init=False, default="")


@pytest.mark.parametrize("other", [Checks, WithDict, Child, Positional, Computed])
def test_a_class_that_does_more_is_refused(other: type) -> None:
    with pytest.raises(TypeError, match=other.__name__):
        made_often(other)


@pytest.mark.parametrize("record", [Tenant, Run, Step, Attempt, LogDraft, Outcome, TenantOperation])
def test_what_each_step_makes_is_made_so(record: type) -> None:
    assert "absent" in record.__init__.__globals__  # type: ignore[misc]  # of a class
