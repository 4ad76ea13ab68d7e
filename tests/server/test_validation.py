"""What callers may send: tables of cases, and what holds for any text."""

from __future__ import annotations

import json
import unicodedata
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.countries import CURRENCY_OF_COUNTRY, is_country, is_currency
from server.errors import InvalidInput
from server.model.blueprint import ERPNEXT
from server.model.naming import fold_name
from server.model.spec import PAYMENT_METHOD_TYPES, TenantSpec
from server.validation import (
    RawSpec,
    validate_cursor,
    validate_reason,
    validate_request_id,
    validate_revision,
    validate_spec,
    validate_step_key,
    validate_tenant_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_RECORDINGS = Path(__file__).parents[1] / "data" / "erpnext-recordings"
_MARK = "\u2603"  # one character of its own, to count what a description repeats


def _spec(**sent: object) -> TenantSpec:
    raw = RawSpec(**{"company_name": "Acme", **sent})  # type: ignore[arg-type]  # fields by name
    return validate_spec(raw, engines=("main", "second"), default_engine="main")


def _violations(call: Callable[[], object]) -> dict[str, str]:
    try:
        call()
    except InvalidInput as refused:
        return {violation.field: violation.description for violation in refused.violations}
    return {}


def _wrong(**sent: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as caught:
        _spec(**sent)
    return {v.field: v.description for v in caught.value.violations}


def _only(field: str, **sent: object) -> str:
    found = _wrong(**sent)
    assert list(found) == [field]
    return found[field]


def test_a_name_alone_is_enough() -> None:
    assert _spec(company_name="  Acme Ltd ") == TenantSpec(
        company_name="Acme Ltd",
        country_code="KE",
        currency="KES",
        chart_template="Standard",
        include_demo_data=False,
        pos_store_enabled=True,
        till_user=None,
        engine_id="main",
        payment_methods=("Cash", "M-Pesa"),
        opening_amount=0.0,
    )


def test_everything_sent_is_kept_in_its_normal_form() -> None:
    assert _spec(
        country_code=" ug ",
        currency="usd",
        chart_template=" Kenya ",
        include_demo_data=True,
        pos_store_enabled=False,
        till_user=" till@example.com ",
        engine_id="second",
        payment_methods=("Cheque", "Cash"),
        opening_amount=1500.25,
    ) == TenantSpec(
        company_name="Acme",
        country_code="UG",
        currency="USD",
        chart_template="Kenya",
        include_demo_data=True,
        pos_store_enabled=False,
        till_user="till@example.com",
        engine_id="second",
        payment_methods=("Cheque", "Cash"),
        opening_amount=1500.25,
    )


def test_no_spec_at_all_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        validate_spec(None, engines=("main",), default_engine="main")
    assert [v.field for v in caught.value.violations] == ["spec"]


def test_all_that_is_wrong_is_told_at_once() -> None:
    found = _wrong(
        company_name="",
        country_code="Keyna",
        currency="Ksh",
        chart_template="",
        till_user="Guest",
        engine_id="mian",
        payment_methods=("Mpesa",),
        opening_amount=-1.0,
    )
    assert list(found) == [
        "spec.company_name",
        "spec.country_code",
        "spec.currency",
        "spec.chart_template",
        "spec.till_user",
        "spec.engine_id",
        "spec.payment_methods",
        "spec.opening_amount",
    ]


@pytest.mark.parametrize(
    "name",
    ["A", "x" * 127, 'Café "Ñandú" & Söhne/2', "50% & co", "日本商店", "😀", "A.", "..a", "دكان"],
)
def test_an_odd_name_that_erpnext_takes_is_taken(name: str) -> None:
    assert _spec(company_name=f"\t{name} ").company_name == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is missing"),
        (" \t\n", "is missing"),
        ("x" * 128, "has 128 characters; at most 127"),
        ("a<b", "< or >"),
        ("a>b", "< or >"),
        ("a\x00b", "U+0000"),
        ("a\nb", "U+000A"),
        ("a\x7fb", "U+007F"),
        ("a\x85b", "U+0085"),
        ("a\u2028b", "U+2028"),
        ("a\u2029b", "U+2029"),
        ("a\ud800b", "U+D800"),
        ("a\u202eb", "reverses text (U+202E)"),
        ("a\u2066b", "reverses text (U+2066)"),
        (".", "dots only"),
        ("...", "dots only"),
        ("Duka/", "slash"),
        ("/Duka", "slash"),
        ("\u200b", "is empty to ERPNext"),
        ("\u0301", "is empty to ERPNext"),
    ],
)
def test_a_name_that_erpnext_or_people_cannot_cope_with_is_refused(name: str, problem: str) -> None:
    assert problem in _only("spec.company_name", company_name=name)


@given(
    name=st.text(max_size=140) | st.text(st.sampled_from(" .<>\u200b\u202e\x1fa\u0301"), max_size=6)
)
def test_any_text_is_a_good_name_or_is_refused_as_the_name(name: str) -> None:
    found = _violations(lambda: _spec(company_name=name))
    if found:
        assert list(found) == ["spec.company_name"]
        return
    kept = _spec(company_name=name).company_name
    assert kept == kept.strip() == name.strip()
    assert 1 <= len(kept) <= 127
    assert not {unicodedata.category(c) for c in kept} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set(kept) & set("<>\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert kept.strip(".")
    assert fold_name(kept)


_CODES = [country.alpha_2 for country in pycountry.countries]
# Mostly right, so that most examples get as far as the second validation.
_RAW = st.builds(
    RawSpec,
    company_name=st.text(min_size=1, max_size=20),
    country_code=st.none() | st.sampled_from([*_CODES, "ke", "UG "]),
    currency=st.sampled_from([None, "kes", " USD", "BHD"]),
    chart_template=st.none() | st.text(st.characters(categories=["L", "N"]), min_size=1),
    include_demo_data=st.none() | st.booleans(),
    pos_store_enabled=st.none() | st.booleans(),
    till_user=st.sampled_from([None, " till@example.com"]),
    engine_id=st.sampled_from([None, "main", "second"]),
    payment_methods=st.lists(st.sampled_from(list(PAYMENT_METHOD_TYPES)), unique=True).map(tuple),
    opening_amount=st.sampled_from([None, -0.0, 0.1, 1e12])
    | st.decimals(min_value=0, max_value=10**9, places=2).map(float),
)


@given(raw=_RAW)
def test_validating_a_validated_spec_changes_nothing(raw: RawSpec) -> None:
    try:
        spec = validate_spec(raw, engines=("main", "second"), default_engine="main")
    except InvalidInput:
        return
    again = RawSpec(**asdict(spec))
    assert validate_spec(again, engines=("main", "second"), default_engine="main") == spec
    assert is_country(spec.country_code)
    assert is_currency(spec.currency)
    assert str(spec.opening_amount) == str(abs(spec.opening_amount))


@given(
    raw=st.builds(
        RawSpec,
        company_name=st.just(f"<{_MARK * 90}"),
        country_code=st.just(_MARK * 5000),
        currency=st.just(_MARK * 5000),
        chart_template=st.just(f"\x00{_MARK * 100}"),
        till_user=st.just(_MARK * 100),
        engine_id=st.just(_MARK * 5000),
        payment_methods=st.just((_MARK * 5000,)),
    ),
    control=st.sampled_from(["\x00", "\x1b", "\n", "\u202e", "\ud800"]),
)
def test_a_description_repeats_little_and_nothing_that_acts(raw: RawSpec, control: str) -> None:
    sent = asdict(raw) | {"till_user": f"{control}{_MARK * 90}"}
    found = _wrong(**sent)
    assert len(found) == 7
    for description in found.values():
        assert description.count(_MARK) <= 60
        assert description.isprintable()
        description.encode()


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ("KEN", "KE (Kenya)"),
        ("kenya", "KE (Kenya)"),
        ("Keyna", "KE (Kenya)"),
        ("Tanzania", "TZ (Tanzania"),
        ("UK", "GB (United Kingdom)"),
        ("", "is empty"),
        ("ß", "not an ISO 3166-1"),
        ("K\u0130", "not an ISO 3166-1"),
        ("qqqqqq", "leave it out for KE"),
    ],
)
def test_a_country_that_is_no_alpha_2_code_is_refused_with_the_right_one(
    sent: str, hint: str
) -> None:
    assert hint in _only("spec.country_code", country_code=sent)


@pytest.mark.parametrize("country", [c.alpha_2 for c in pycountry.countries])
def test_every_country_of_iso_3166_is_taken(country: str) -> None:
    spec = _spec(country_code=country.lower(), currency="EUR")
    assert (spec.country_code, spec.currency) == (country, "EUR")
    if country in CURRENCY_OF_COUNTRY:
        assert _spec(country_code=country).currency == CURRENCY_OF_COUNTRY[country]
    else:
        assert f"{country} has no default" in _only("spec.currency", country_code=country)


def test_the_default_currencies_are_codes_and_agree_with_erpnext() -> None:
    assert all(is_country(code) for code in CURRENCY_OF_COUNTRY)
    assert all(is_currency(code) for code in CURRENCY_OF_COUNTRY.values())
    recording = json.loads((_RECORDINGS / "02-countries-by-code.json").read_text(encoding="utf-8"))
    [told] = [
        exchange["response"]["body"]["message"]["country_info"]
        for exchange in recording["exchanges"]
        if exchange["request"]["path"].endswith("get_country_timezone_info")
    ]
    assert len(told) == 11
    for country in told.values():
        ours = CURRENCY_OF_COUNTRY.get(country["code"].upper())
        assert ours == country.get("currency")


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        ("Kenyan shilling", "Did you mean KES?"),
        ("Ksh", "Send one such as KES."),
        ("XTS", "not an ISO 4217 code"),
        ("XAU", "not an ISO 4217 code"),
        ("", "is empty"),
    ],
)
def test_a_currency_that_is_no_money_is_refused(sent: str, hint: str) -> None:
    assert hint in _only("spec.currency", currency=sent)


@pytest.mark.parametrize("sent", ["XOF", "xaf", "XCD", "BHD"])
def test_money_that_several_countries_share_is_taken(sent: str) -> None:
    assert _spec(currency=sent).currency == sent.upper()


@pytest.mark.parametrize("sent", ["", " ", "x" * 141, "a\nb"])
def test_a_chart_without_a_printable_name_is_refused(sent: str) -> None:
    assert "leave it out for Standard" in _only("spec.chart_template", chart_template=sent)


@pytest.mark.parametrize(
    "sent",
    [
        *("", "till", "@", "a@", "@b", "a@b@c", "a b@c", "<a@b>", "Administrator", "guest"),
        *("a@\x00b", "a@" + "b" * 139),
    ],
)
def test_a_till_user_that_is_no_e_mail_address_is_refused(sent: str) -> None:
    assert "leave it out for none" in _only("spec.till_user", till_user=sent)


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        (("cash",), "Did you mean Cash?"),
        (("Cash", "Mpesa"), "Did you mean M-Pesa?"),
        (("Cash", " Cash"), "is there twice"),
        (("",), "Known are: Cash"),
        (("Cash",) * 7, "has 7 entries; at most 6"),
    ],
)
def test_means_of_payment_are_known_few_and_different(sent: tuple[str, ...], hint: str) -> None:
    assert hint in _only("spec.payment_methods", payment_methods=sent)


@pytest.mark.parametrize(
    ("sent", "hint"),
    [
        (-0.01, "less than nothing"),
        (float("nan"), "Send a number"),
        (float("inf"), "Send a number"),
        (1.1e12, "at most 1000000000000"),
        (0.001, "at most 2 decimals"),
        (1e-9, "at most 2 decimals"),
    ],
)
def test_an_opening_amount_that_no_till_can_hold_is_refused(sent: float, hint: str) -> None:
    assert hint in _only("spec.opening_amount", opening_amount=sent)


def test_the_decimals_of_an_opening_amount_are_those_of_the_currency() -> None:
    assert _spec(opening_amount=1.125, currency="KWD").opening_amount == 1.125
    assert "at most 2" in _only("spec.opening_amount", opening_amount=1.125, currency="USD")
    assert _spec(opening_amount=1e12).opening_amount == 1e12
    assert str(_spec(opening_amount=-0.0).opening_amount) == "0.0"


def test_an_engine_is_one_of_the_configured_ones() -> None:
    description = _only("spec.engine_id", engine_id="mian")
    assert "Did you mean main?" in description
    assert "Known are: main, second." in description


@pytest.mark.parametrize("sent", [None, "main"])
def test_without_engines_an_order_says_how_to_configure_one(sent: str | None) -> None:
    with pytest.raises(InvalidInput, match="PROVISIONER_ENGINES_FILE") as caught:
        validate_spec(RawSpec(company_name="Acme", engine_id=sent), engines=(), default_engine=None)
    assert [v.field for v in caught.value.violations] == ["spec.engine_id"]


def test_without_a_default_engine_one_must_be_named() -> None:
    with pytest.raises(InvalidInput, match="Known are: main"):
        validate_spec(RawSpec(company_name="Acme"), engines=("main",), default_engine=None)


def test_a_tenant_id_is_a_uuid_in_lower_case() -> None:
    text = "0190A1B2-0000-7000-8000-00000000000F"
    assert validate_tenant_id(text) == text.lower()


@pytest.mark.parametrize(
    ("call", "field", "problem"),
    [
        (lambda: validate_tenant_id(""), "tenant_id", "is missing"),
        (lambda: validate_tenant_id("acme"), "tenant_id", "'acme' is not a UUID"),
        (lambda: validate_tenant_id("{0190a1b2-0000-7000-8000-00000000000f}"), "tenant_id", "not"),
        (lambda: validate_request_id("x" * 129), "request_id", "has 129 characters"),
        (lambda: validate_request_id("a\nb"), "request_id", r"'a\nb' holds"),
        (lambda: validate_reason("x" * 501), "reason", "has 501 characters"),
        (lambda: validate_reason("a\x1bb"), "reason", "U+001B"),
        (lambda: validate_cursor(-1), "after_cursor", "is -1"),
        (lambda: validate_revision(0), "expected_revision", "is 0"),
        (lambda: validate_step_key("step_2_compny", ERPNEXT), "step_key", "step_2_company?"),
        (lambda: validate_step_key("zzz", ERPNEXT), "step_key", "Known are: step_0_engine_check"),
        (lambda: validate_step_key("", ERPNEXT, required=True), "step_key", "is missing"),
    ],
)
def test_a_wrong_field_is_named_with_its_problem(
    call: Callable[[], object], field: str, problem: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        call()
    [violation] = caught.value.violations
    assert violation.field == field
    assert problem in violation.description
    assert violation.description.endswith((".", "?"))


def test_good_values_come_back() -> None:
    assert validate_request_id("") == ""
    assert validate_request_id("bestellung № 1" + "x" * 114) == "bestellung № 1" + "x" * 114
    assert validate_reason(" the engine is back ") == "the engine is back"
    assert validate_reason("x" * 500) == "x" * 500
    assert validate_cursor(0) == 0
    assert validate_revision(None) is None
    assert validate_revision(1) == 1
    assert validate_step_key("", ERPNEXT) == ""
    assert validate_step_key("step_2_company", ERPNEXT) == "step_2_company"


@given(text=st.text(max_size=600))
def test_any_text_is_taken_or_refused_by_its_own_name(text: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "tenant_id": lambda: validate_tenant_id(text),
        "request_id": lambda: validate_request_id(text),
        "reason": lambda: validate_reason(text),
        "step_key": lambda: validate_step_key(text, ERPNEXT),
    }
    for field, call in calls.items():
        found = _violations(call)
        assert set(found) <= {field}
        assert all(description.isprintable() for description in found.values())
