"""What callers may send: the one place that says so, with the field paths of the messages.

Each function takes what was sent and gives the value to work with, or raises `InvalidInput` with
every wrong field, what is wrong and how to mend it. A description repeats at most 60 characters
of what was sent, with control characters escaped. Nothing here asks the engine: whether the
country, the chart or the till's user exist there is for the run to find out.
"""

from __future__ import annotations

import difflib
import math
import re
import unicodedata
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from server.countries import (
    CURRENCY_OF_COUNTRY,
    country_name,
    decimals_of,
    is_country,
    is_currency,
    nearest_country,
    nearest_currency,
)
from server.errors import InvalidInput, Violation
from server.limits import MAX_PAGE
from server.model.identifiers import TenantId, canonical_uuid
from server.model.listing import Listing, ListOrder, words_of
from server.model.naming import MAX_COMPANY_NAME, fold_name
from server.model.spec import (
    DEFAULT_CHART,
    DEFAULT_COUNTRY_CODE,
    DEFAULT_PAYMENT_METHODS,
    PAYMENT_METHOD_TYPES,
    TenantSpec,
)
from server.model.states import TenantState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from server.model.blueprint import Blueprint

MAX_REQUEST_ID = 128
MAX_REASON = 500

_MAX_SHOWN = 60
# ERPNext keeps names in columns of 140 characters.
_MAX_NAME = 140
# Larger than any till, and exact as a float down to the third decimal.
_MAX_OPENING = 1e12
_EMAIL = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")
# Embeddings, overrides and isolates: text after one may be shown in another order than it has.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, surrogates, line and paragraph separators.
_UNFIT = frozenset({"Cc", "Cs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSpec:
    """A TenantSpec as it was sent; None, or no means of payment, is "not sent"."""

    company_name: str = ""
    country_code: str | None = None
    currency: str | None = None
    chart_template: str | None = None
    include_demo_data: bool | None = None
    pos_store_enabled: bool | None = None
    till_user: str | None = None
    engine_id: str | None = None
    payment_methods: tuple[str, ...] = ()
    opening_amount: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RawListing:
    """A ListTenantsRequest as it was sent; a None among the states, or as order, is no word."""

    states: tuple[TenantState | None, ...] = ()
    engine_id: str = ""
    text: str = ""
    held: bool | None = None
    stuck_longer_than: timedelta | None = None
    order: ListOrder | None = ListOrder.NEWEST
    page_size: int = 0
    page_token: str = ""


def validate_spec(
    raw: RawSpec | None, *, engines: Collection[str], default_engine: str | None
) -> TenantSpec:
    """Check a spec and fill in every default.

    Args:
        raw: What was sent; None if nothing was.
        engines: Ids of the configured engines.
        default_engine: The one for tenants that name none, or None.

    Returns:
        The spec; validated once more it stays the same.

    Raises:
        InvalidInput: with every wrong field.
    """
    if raw is None:
        raise _invalid("spec", "is missing. Send at least spec.company_name.")
    found = _Findings()
    company_name = _company_name(found, raw.company_name)
    country_code = _country_code(found, raw.country_code)
    currency = _currency(found, raw.currency, country_code)
    spec = TenantSpec(
        company_name=company_name,
        country_code=country_code or DEFAULT_COUNTRY_CODE,
        currency=currency,
        chart_template=_chart_template(found, raw.chart_template),
        include_demo_data=bool(raw.include_demo_data),
        pos_store_enabled=raw.pos_store_enabled is not False,
        till_user=_till_user(found, raw.till_user),
        engine_id=_engine_id(found, raw.engine_id, engines, default_engine),
        payment_methods=_payment_methods(found, raw.payment_methods),
        opening_amount=_opening_amount(found, raw.opening_amount, currency),
    )
    if found.violations:
        raise InvalidInput(tuple(found.violations))
    return spec


def validate_tenant_id(text: str) -> TenantId:
    """Check a tenant's id and bring it into its canonical form.

    Raises:
        InvalidInput: if it is not a UUID.
    """
    canonical = canonical_uuid(text)
    if canonical is None:
        what = f"{_shown(text)} is not a UUID" if text else "is missing"
        raise _invalid(
            "tenant_id",
            f"{what}. Give the tenant's id, such as 01900000-0000-7000-8000-000000000000.",
        )
    return TenantId(canonical)


def validate_request_id(text: str) -> str:
    """Check the name of an order; empty is none.

    Raises:
        InvalidInput: if it is too long or not printable.
    """
    if len(text) > MAX_REQUEST_ID:
        raise _invalid(
            "request_id",
            f"has {len(text)} characters; at most {MAX_REQUEST_ID} are allowed. Send a UUID.",
        )
    if not text.isprintable():
        raise _invalid(
            "request_id",
            f"{_shown(text)} holds a character that cannot be printed. Send a UUID.",
        )
    return text


def validate_reason(text: str) -> str:
    """Check the reason given for an order, and trim it; empty is none.

    Raises:
        InvalidInput: if it is too long or holds control characters.
    """
    trimmed = text.strip()
    if len(trimmed) > MAX_REASON:
        raise _invalid(
            "reason",
            f"has {len(trimmed)} characters; at most {MAX_REASON} are allowed. Shorten it.",
        )
    unfit = _unfit_character(trimmed)
    if unfit:
        raise _invalid("reason", f"holds {unfit}. Write it as one line of plain text.")
    return trimmed


def validate_cursor(cursor: int) -> int:
    """Check a log cursor; 0 is the beginning.

    Raises:
        InvalidInput: if it is negative.
    """
    if cursor < 0:
        raise _invalid(
            "after_cursor",
            f"is {cursor}; a cursor is never negative. Send 0 for the whole log, or the cursor of "
            "the last entry you have.",
        )
    return cursor


def validate_revision(revision: int | None) -> int | None:
    """Check the revision an order judged; None is "whatever it is".

    Raises:
        InvalidInput: if no tenant can have it.
    """
    if revision is not None and revision < 1:
        raise _invalid(
            "expected_revision",
            f"is {revision}; revisions begin with 1. Send the revision of the status you judged, "
            "or leave it out.",
        )
    return revision


def validate_listing(raw: RawListing) -> Listing:
    """Check the filters and the order of a list.

    Raises:
        InvalidInput: with every wrong field.
    """
    text = words_of(raw.text)
    wrong = {
        "states": _wrong_if(
            None in raw.states, f"has an unknown state. Send some of {', '.join(TenantState)}."
        ),
        "engine_id": _wrong_if(
            len(raw.engine_id) > _MAX_NAME or bool(_unfit_character(raw.engine_id)),
            f"{_shown(raw.engine_id)} can be no engine's id. See the engines file.",
        ),
        "text": _wrong_if(
            len(raw.text) > _MAX_NAME or bool(raw.text.strip() and not text),
            f"{_shown(raw.text)} fits no name. Send the beginning of a word of the company's "
            "name, or of the tenant's id.",
        ),
        "stuck_longer_than": _wrong_if(
            raw.stuck_longer_than is not None and raw.stuck_longer_than < timedelta(0),
            "is negative. Send a time span such as 3600s.",
        ),
        "order_by": _wrong_if(
            raw.order is None, f"is an unknown order. Send one of {', '.join(ListOrder)}."
        ),
        "page_size": _wrong_if(
            raw.page_size < 0, f"{raw.page_size} is negative. Send 1 to {MAX_PAGE}."
        ),
    }
    violations = [Violation(field=name, description=why) for name, why in wrong.items() if why]
    if violations:
        raise InvalidInput(tuple(violations))
    return Listing(
        states=frozenset(state for state in raw.states if state is not None),
        engine_id=raw.engine_id.strip(),
        text=text,
        held=raw.held,
        stuck_longer_than=raw.stuck_longer_than,
        order=raw.order or ListOrder.NEWEST,
    )


def validate_step_key(key: str, blueprint: Blueprint, *, required: bool = False) -> str:
    """Check that a blueprint has a step of that key.

    Args:
        key: What was sent; empty is no step in particular.
        blueprint: Of the tenant's engine.
        required: Whether the order needs a step.

    Raises:
        InvalidInput: if there is no such step, or none was named and one is needed.
    """
    keys = [step.key for step in blueprint.steps]
    if key in keys or (key == "" and not required):
        return key
    if not key:
        raise _invalid("step_key", f"is missing. Name one: {', '.join(keys)}.")
    remedy = _nearest(key, keys) or f"Known are: {', '.join(keys)}."
    raise _invalid("step_key", f"there is no step {_shown(key)}. {remedy}")


class _Findings:
    """The violations found so far; `add` returns a stand-in so that checking can go on."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str) -> str:
        self.violations.append(Violation(field=f"spec.{field}", description=description))
        return ""


def _company_name(found: _Findings, sent: str) -> str:
    name = sent.strip()
    unfit = _unfit_character(name)
    give = "Give the company's legal name."
    checks = (
        (not name, f"is missing. {give}"),
        (
            len(name) > MAX_COMPANY_NAME,
            f"has {len(name)} characters; at most {MAX_COMPANY_NAME} are allowed. Shorten it.",
        ),
        (unfit, f"{_shown(name)} holds {unfit}. Remove it."),
        (
            "<" in name or ">" in name,
            f"{_shown(name)} holds < or >, which ERPNext refuses. Remove it.",
        ),
        (not name.strip("."), f"{_shown(name)} is dots only. {give}"),
        (
            name != name.strip("/"),
            f"{_shown(name)} begins or ends with a slash, which ERPNext takes for a part of the "
            "address. Remove it.",
        ),
        (
            not fold_name(name),
            f"{_shown(name)} is empty to ERPNext, which passes over accents and invisible "
            f"characters. {give}",
        ),
    )
    for is_wrong, description in checks:
        if is_wrong:
            return found.add("company_name", description)
    return name


def _country_code(found: _Findings, sent: str | None) -> str:
    if sent is None:
        return DEFAULT_COUNTRY_CODE
    code = sent.strip()
    if is_country(code.upper()) and code.isascii():  # "ß".upper() is SS, South Sudan
        return code.upper()
    what = f"{_shown(code)} is not an ISO 3166-1 alpha-2 code" if code else "is empty"
    meant = nearest_country(code)
    if meant:
        remedy = f"Did you mean {meant} ({country_name(meant)})?"
    else:
        remedy = f"Send one such as UG, or leave it out for {DEFAULT_COUNTRY_CODE}."
    return found.add("country_code", f"{what}. {remedy}")


def _currency(found: _Findings, sent: str | None, country_code: str) -> str:
    if sent is None:
        if country_code and country_code not in CURRENCY_OF_COUNTRY:
            return found.add(
                "currency",
                f"is missing, and {country_code} has no default currency. Send the ISO 4217 code "
                "of the company's currency, such as EUR or USD.",
            )
        return CURRENCY_OF_COUNTRY.get(country_code, "")
    code = sent.strip()
    if is_currency(code.upper()) and code.isascii():
        return code.upper()
    if not code:
        return found.add("currency", "is empty. Send one such as KES, or leave it out.")
    meant = nearest_currency(code)
    such = CURRENCY_OF_COUNTRY.get(country_code, "USD")
    remedy = f"Did you mean {meant}?" if meant else f"Send one such as {such}."
    return found.add("currency", f"{_shown(code)} is not an ISO 4217 code of money. {remedy}")


def _chart_template(found: _Findings, sent: str | None) -> str:
    if sent is None:
        return DEFAULT_CHART
    chart = sent.strip()
    remedy = f"Send the chart's name, or leave it out for {DEFAULT_CHART}."
    if not chart:
        return found.add("chart_template", f"is empty. {remedy}")
    if len(chart) > _MAX_NAME:
        return found.add(
            "chart_template",
            f"has {len(chart)} characters; at most {_MAX_NAME} are allowed. {remedy}",
        )
    if not chart.isprintable():
        return found.add(
            "chart_template",
            f"{_shown(chart)} holds a character that cannot be printed. {remedy}",
        )
    return chart


def _till_user(found: _Findings, sent: str | None) -> str | None:
    if sent is None:
        return None
    user = sent.strip()
    remedy = "Send the e-mail address of an ERPNext user, or leave it out for none."
    if user.lower() in {"administrator", "guest"}:
        return found.add("till_user", f"{user} cannot open a till of a tenant. {remedy}")
    if len(user) > _MAX_NAME:
        return found.add(
            "till_user",
            f"has {len(user)} characters; at most {_MAX_NAME} are allowed. {remedy}",
        )
    if not _EMAIL.fullmatch(user) or not user.isprintable():
        return found.add("till_user", f"{_shown(user)} is not an e-mail address. {remedy}")
    return user


def _engine_id(
    found: _Findings, sent: str | None, engines: Collection[str], default_engine: str | None
) -> str:
    if not engines:
        return found.add(
            "engine_id",
            "no engine is configured. Set PROVISIONER_ENGINES_FILE to a TOML file with a table "
            "such as [engines.main], and start the server again.",
        )
    known = ", ".join(sorted(engines))
    if sent is None:
        if default_engine in engines:
            return str(default_engine)
        return found.add("engine_id", f"is missing, and there is no default. Known are: {known}.")
    if sent not in engines:
        near = _nearest(sent, engines)
        return found.add(
            "engine_id",
            f"there is no engine {_shown(sent)}. {near + ' ' if near else ''}Known are: {known}.",
        )
    return sent


def _payment_methods(found: _Findings, sent: tuple[str, ...]) -> tuple[str, ...]:
    if not sent:
        return DEFAULT_PAYMENT_METHODS
    known = ", ".join(PAYMENT_METHOD_TYPES)
    if len(sent) > len(PAYMENT_METHOD_TYPES):
        found.add(
            "payment_methods",
            f"has {len(sent)} entries; at most {len(PAYMENT_METHOD_TYPES)} are allowed. "
            f"Known are: {known}.",
        )
        return ()
    methods = tuple(method.strip() for method in sent)
    for position, method in enumerate(methods):
        if method in methods[:position]:
            found.add("payment_methods", f"{_shown(method)} is there twice. Send it once.")
        elif method not in PAYMENT_METHOD_TYPES:
            near = _nearest(method, PAYMENT_METHOD_TYPES)
            found.add(
                "payment_methods",
                f"{_shown(method)} is not known. {near or f'Known are: {known}.'}",
            )
    return methods


def _opening_amount(found: _Findings, sent: float | None, currency: str) -> float:
    if sent is None:
        return 0.0
    decimals = decimals_of(currency)
    if not math.isfinite(sent):
        found.add("opening_amount", f"is {sent}. Send a number, such as 0 or 1500.50.")
    elif sent < 0:
        found.add("opening_amount", f"is {sent}; a till holds no less than nothing. Send 0.")
    elif sent > _MAX_OPENING:
        found.add("opening_amount", f"is {sent}; at most {_MAX_OPENING:.0f} is allowed.")
    elif _decimals(sent) > decimals:
        found.add(
            "opening_amount",
            f"is {sent}; at most {decimals} decimals are allowed. Round it.",
        )
    return abs(sent)  # -0.0 is 0.0


def _wrong_if(wrong: bool, why: str) -> str:  # noqa: FBT001 - private, and reads as it is said
    return why if wrong else ""


def _decimals(amount: float) -> int:
    # repr is the shortest text that gives this float again: what the caller wrote.
    exponent = Decimal(repr(amount)).normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def _unfit_character(text: str) -> str:
    """Name the first character that is not text, or return ""."""
    for character in text:
        if unicodedata.category(character) in _UNFIT:
            return f"a control character or line break (U+{ord(character):04X})"
        if character in _BIDI_CONTROLS:
            return f"a character that reverses text (U+{ord(character):04X})"
    return ""


def _nearest(text: str, known: Iterable[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(text[:_MAX_SHOWN].lower(), by_lower, n=1, cutoff=0.6)
    return f"Did you mean {by_lower[near[0]]}?" if near else ""


def _shown(text: str) -> str:
    # repr escapes whatever a terminal or a log would act upon.
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def _invalid(field: str, description: str) -> InvalidInput:
    return InvalidInput((Violation(field=field, description=description),))
