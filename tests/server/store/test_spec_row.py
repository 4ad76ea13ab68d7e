"""A stored spec is read as it was written, and what can't be read of it is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from server.model.spec import TenantSpec
from server.store.rows import spec_text
from server.store.spec_row import read_spec
from server.store.values import json_object

SPEC = TenantSpec(
    company_name="Acme Ltd",
    country_code="UG",
    currency="UGX",
    chart_template="Standard with Numbers",
    include_demo_data=True,
    pos_store_enabled=False,
    till_user="till@example.com",
    engine_id="main",
    payment_methods=("Cash", "Cheque"),
    opening_amount=1500.5,
)
FIELDS = (
    "country_code",
    "currency",
    "chart_template",
    "include_demo_data",
    "pos_store_enabled",
    "till_user",
    "payment_methods",
    "opening_amount",
)


def read(stored: object) -> tuple[TenantSpec, tuple[str, ...]]:
    return read_spec(json_object(stored), company_name="Acme Ltd", engine_id="main")


def test_what_is_written_is_read_whole() -> None:
    assert read(spec_text(SPEC)) == (SPEC, ())


def test_what_any_release_has_written_is_read_whole() -> None:
    """A row is never written again; a field that comes later is missing in all that are there."""
    stored = (
        '{"chart_template":"Standard with Numbers","company_name":"Acme Ltd","country_code":"UG",'
        '"currency":"UGX","engine_id":"main","include_demo_data":true,"opening_amount":1500.5,'
        '"payment_methods":["Cash","Cheque"],"pos_store_enabled":false,'
        '"till_user":"till@example.com"}'
    )
    assert read(stored) == (SPEC, ())
    # By a later release that runs beside this one.
    assert read(stored.replace("{", '{"a_later_field":"x",')) == (SPEC, ())


@pytest.mark.parametrize("stored", [None, "", "{", "[]", "null", "{}", "\x00", b"\xff"])
def test_of_what_is_no_object_every_field_is_named(stored: object) -> None:
    spec, damage = read(stored)
    assert damage == FIELDS
    assert (spec.company_name, spec.engine_id) == ("Acme Ltd", "main")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("country_code", "Uganda"),
        ("country_code", "ug"),
        ("country_code", None),
        ("currency", ""),
        ("currency", "USh"),
        ("chart_template", 7),
        ("include_demo_data", "yes"),
        ("pos_store_enabled", 1),
        ("till_user", ["a"]),
        ("payment_methods", []),
        ("payment_methods", ["Cash", None]),
        ("payment_methods", "Cash"),
        ("opening_amount", True),
        ("opening_amount", -1),
        ("opening_amount", float("nan")),
        ("opening_amount", 10**400),
    ],
)
def test_a_field_that_can_not_be_read_is_named_and_the_others_stay(
    field: str, value: object
) -> None:
    spec, damage = read(json.dumps(json.loads(spec_text(SPEC)) | {field: value}))
    assert damage == (field,)
    unlike = {name for name in FIELDS if getattr(spec, name) != getattr(SPEC, name)}
    assert unlike <= {field}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_is_gone_is_named(field: str) -> None:
    stored = json.loads(spec_text(SPEC))
    del stored[field]
    assert read(json.dumps(stored))[1] == (field,)


def marked(value: object) -> object:
    """Return what a stored value is read as: NUL, which no database takes, leaves a mark."""
    if isinstance(value, list):
        return [marked(each) for each in value]
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


_LEAF = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_JSON = (
    _LEAF | st.lists(_LEAF, max_size=3) | st.dictionaries(st.text(max_size=3), _LEAF, max_size=2)
)


@example({"till_user": "\0", "payment_methods": ["Cash\0"]})
@given(st.dictionaries(st.sampled_from((*FIELDS, "company_name")), _JSON))
def test_any_object_is_read_as_a_spec(stored: dict[str, object]) -> None:
    spec, damage = read(json.dumps(stored))
    assert spec.company_name
    assert set(damage) >= set(FIELDS) - set(stored)
    again = json.loads(spec_text(spec))
    assert {name: again[name] for name in FIELDS if name not in damage} == {
        name: marked(stored[name]) or None if name == "till_user" else marked(stored[name])
        for name in FIELDS
        if name not in damage
    }
