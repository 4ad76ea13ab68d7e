"""Files of tenants: what they may hold, and that every mistake is told with its line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.cli import templates
from clients.cli.templates import TemplateError, parse


def test_one_tenant_is_lines_of_fields() -> None:
    (found,) = parse(
        b"company_name: Acme Ltd\ncountry_code: NO\ninclude_demo_data: yes\n"
        b"opening_amount: 1500.5\npayment_methods: [Cash, M-Pesa]\ntill_user:\n"
    )
    assert found.values == {
        "company_name": "Acme Ltd",
        "country_code": "NO",  # and not false
        "include_demo_data": True,
        "opening_amount": 1500.5,
        "payment_methods": ("Cash", "M-Pesa"),
    }
    assert found.lines["country_code"] == 2


def test_many_tenants_share_defaults_and_say_their_own() -> None:
    first, second = parse(
        b"defaults:\n  country_code: UG\ntenants:\n"
        b"  - company_name: Acme\n  - company_name: Bidii\n    country_code: KE\n"
    )
    assert first.values == {"company_name": "Acme", "country_code": "UG"}
    assert second.values == {"company_name": "Bidii", "country_code": "KE"}
    assert (first.line, second.line) == (4, 5)


def test_a_list_and_several_documents_are_many_tenants_too() -> None:
    found = parse(b"- company_name: A\n- company_name: B\n---\ncompany_name: C\n---\n")
    assert [each.name for each in found] == ["A", "B", "C"]


def test_the_same_file_names_the_same_tenants() -> None:
    text = b"- company_name: Acme\n- company_name: Acme\n  engine_id: other\n"
    first, again = parse(text), parse(text)
    assert [each.tenant_id for each in first] == [each.tenant_id for each in again]
    assert first[0].tenant_id != first[1].tenant_id
    (given_id,) = parse(b"company_name: Acme\ntenant_id: 01900000-0000-7000-8000-000000000001\n")
    assert given_id.tenant_id == "01900000-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("text", "mistakes"),
    [
        (b"company_nam: Acme\n", [(1, "company_nam"), (1, "company_name")]),
        (b"company_name: A\ncurency: KES\n", [(2, "curency")]),
        (b"company_name: A\ncompany_name: B\n", [(2, "company_name")]),
        (b"company_name: A\ninclude_demo_data: maybe\n", [(2, "include_demo_data")]),
        (b"company_name: A\nopening_amount: lots\n", [(2, "opening_amount")]),
        (b"company_name: A\npayment_methods: Cash\n", [(2, "payment_methods")]),
        (b"company_name: [A]\n", [(1, "company_name"), (1, "company_name")]),
        (b"- company_name: A\n- company_name: A\n", [(2, "company_name")]),
        (b"tenants: Acme\n", [(1, "tenants")]),
        (b"tenants: []\nother: 1\n", [(2, "other")]),
        (b"company_name: A\n  bad: [\n", [(2, "")]),
        (b"just words", [(1, "")]),
        (b"[" * 5000, [(1, "")]),
        (b"", [(1, "")]),
        (b"- country_code: KE\n- x\n", [(1, "company_name"), (2, "")]),
    ],
)
def test_every_mistake_is_told_with_its_line_and_field(
    text: bytes, mistakes: list[tuple[int, str]]
) -> None:
    with pytest.raises(TemplateError) as caught:
        parse(text)
    assert [(each.line, each.field) for each in caught.value.mistakes] == mistakes
    assert all(each.description for each in caught.value.mistakes)


def test_a_misspelt_field_is_told_the_right_one() -> None:
    with pytest.raises(TemplateError) as caught:
        parse(b"company_name: A\ncurency: KES\n")
    assert "Did you mean currency?" in caught.value.mistakes[0].description


def test_nothing_in_a_file_makes_objects() -> None:
    with pytest.raises(TemplateError):
        parse(b"!!python/object/apply:os.system ['true']\n")


@given(st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_read_or_told_what_is_wrong(data: bytes) -> None:
    try:
        found = parse(data)
    except TemplateError as error:
        found, told = (), error.mistakes
    else:
        told = ()
    assert bool(found) != bool(told)
    assert all(each.name for each in found)
    assert set().union(*(each.values for each in found)) <= set(templates.FIELDS)
