"""How names are compared and made, held to what a real ERPNext answered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.naming import (
    COST_CENTER_LENGTH,
    MAX_ABBREVIATION,
    MAX_COMPANY_NAME,
    Names,
    abbreviation_of,
    fold_name,
    numbered_abbreviation,
)

RECORDINGS = Path(__file__).parents[2] / "data" / "erpnext-recordings"
# The Company that the recordings' site holds already.
FIRST = "Mama Njeri Traders"


def exchanges(case: str) -> list[dict[str, Any]]:  # Any: JSON
    recorded: list[dict[str, Any]] = json.loads(
        (RECORDINGS / f"{case}.json").read_text(encoding="utf-8")
    )["exchanges"]
    return recorded


def asked_names(case: str, status: int) -> list[str]:
    """Names of Companies that were asked for and answered with a status."""
    return [
        str(each["request"]["body"]["company_name"])
        for each in exchanges(case)
        if each["request"]["method"] == "POST" and each["response"]["status"] == status
    ]


@pytest.mark.parametrize(
    "case", ["02-company-create-name-other-case", "02-company-create-name-spaces"]
)
def test_a_name_the_engine_called_a_duplicate_folds_to_the_one_that_is_there(case: str) -> None:
    (name,) = asked_names(case, 409)
    assert name != FIRST
    assert fold_name(name) == fold_name(FIRST)


def test_accents_and_emoji_fold_as_the_engine_compares_them() -> None:
    create, read, _ = exchanges("02-company-create-name-accents")
    there = read["response"]["body"]["data"]["name"]
    asked = unquote(read["request"]["path"].rsplit("/", 1)[1])
    refused = create["request"]["body"]["company_name"]
    assert len({there, asked, refused}) == 3
    assert fold_name(there) == fold_name(asked) == fold_name(refused)


def test_names_the_engine_kept_side_by_side_fold_to_different_texts() -> None:
    made = asked_names("02-company-create-odd-names", 200)
    assert len(made) > 4
    assert len({fold_name(name) for name in [*made, FIRST]}) == len(made) + 1


def test_an_abbreviation_of_another_case_folds_to_the_one_that_is_taken() -> None:
    last = exchanges("02-company-create-odd-names")[-1]
    assert last["response"]["status"] == 417
    assert fold_name(last["request"]["body"]["abbr"]) == fold_name("BC")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("Ångström", "angstrom"),
        ("Ærø Œuvre", "aero OEUVRE"),
        ("Łódź Ø Đ", "lodz o d"),
        ("A\u200bcme", "acme"),
        ("Acme 🏪", "acme 😀"),
        ("Acme \u2764\ufe0f", "acme \u2764"),  # with and without the sign for "in colour"
        ("Acme 🛍\ufe0f", "acme 🏪"),
        ("\U0001d400cme", "🏪cme"),  # a letter beyond U+FFFF is as good as an emoji
    ],
)
def test_names_the_engine_takes_for_one_fold_to_one(one: str, other: str) -> None:
    assert fold_name(one) == fold_name(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme", "Acme 2"),
        ("Acme", "Acme 🏪"),
        ("\U0001d400cme", "Acme"),
        ("A-B", "A B"),
        ("", "CO"),
    ],
)
def test_names_the_engine_tells_apart_fold_apart(one: str, other: str) -> None:
    assert fold_name(one) != fold_name(other)


@given(st.text())
def test_folding_twice_is_folding_once(name: str) -> None:
    folded = fold_name(name)
    assert fold_name(folded) == folded


@given(st.text(), st.sampled_from(("", " ", "\t", "  ")))
def test_blanks_around_a_name_do_not_count(name: str, blanks: str) -> None:
    assert fold_name(f"{blanks}{name}{blanks}") == fold_name(name)


@given(st.text(alphabet=st.characters(max_codepoint=0x24F)))
def test_case_does_not_count(name: str) -> None:
    assert fold_name(name.upper()) == fold_name(name.upper().lower())


@pytest.mark.parametrize(
    ("name", "abbreviation"),
    [
        ("Kijani Stores", "KS"),
        ("Mama Njeri Traders", "MNT"),
        ("Mama Njeri Traders Limited", "MNT"),
        ('Café "Ñandú" & Söhne/2', "CNS"),
        ("Safaricom", "SAFAR"),
        ("X", "X"),
        ("& 7", "7"),
        ("店", "CO"),
        ("", "CO"),
        ("100% Fresh #1?", "1F1"),
    ],
)
def test_abbreviations_are_made_of_initials(name: str, abbreviation: str) -> None:
    assert abbreviation_of(name) == abbreviation


@given(st.text())
def test_an_abbreviation_is_always_one_the_engine_takes(name: str) -> None:
    assert re.fullmatch(r"[A-Z0-9]{1,5}", abbreviation_of(name))


def test_candidates_are_numbered_from_the_second_on() -> None:
    assert [numbered_abbreviation("MNT", n) for n in (0, 1, 2, 10)] == [
        "MNT",
        "MNT",
        "MNT2",
        "MNT10",
    ]


@given(st.text(alphabet="ABC", min_size=1, max_size=30), st.integers(1, 9999))
def test_a_numbered_candidate_keeps_its_number_and_fits(base: str, number: int) -> None:
    candidate = numbered_abbreviation(base, number)
    assert len(candidate) <= MAX_ABBREVIATION
    assert number < 2 or candidate.endswith(str(number))


def test_the_longest_name_and_abbreviation_fit_the_cost_center() -> None:
    names = Names(company="N" * MAX_COMPANY_NAME, abbreviation="A" * MAX_ABBREVIATION)
    assert len(names.with_suffix(names.company)) == COST_CENTER_LENGTH


def test_the_documents_of_a_tenant_carry_its_abbreviation() -> None:
    names = Names(company=FIRST, abbreviation="MNT")
    assert [
        names.with_suffix("Main Store"),
        names.price_list,
        names.customer,
        names.pos_profile,
        names.item_group,
        names.opening_entry(1),
        names.demo_item(7),
    ] == [
        "Main Store - MNT",
        "Retail MNT",
        "Walk-In Customer - MNT",
        "POS MNT",
        "Demo MNT",
        "POS-OPE-MNT-1",
        "DEMO-MNT-007",
    ]
