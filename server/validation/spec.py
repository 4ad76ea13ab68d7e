"""Checks what a tenant should have, field by field, and fills in the defaults."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
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
from server.model.naming import MAX_COMPANY_NAME, fold_name
from server.model.spec import (
    DEFAULT_CHART,
    DEFAULT_COUNTRY_CODE,
    DEFAULT_PAYMENT_METHODS,
    MAX_OPENING_AMOUNT,
    PAYMENT_METHOD_TYPES,
    TenantSpec,
)
from server.validation.words import MAX_NAME, invalid, nearest, shown, unfit_character

if TYPE_CHECKING:
    from collections.abc import Collection

_EMAIL = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSpec:
    """A TenantSpec as it was sent; None, or no means of payment, is "not sent".

    What was sent empty is not the same: it is refused, and never taken for the default.
    """

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


def validate_spec(
    raw: RawSpec | None, *, engines: Collection[str], default_engine: str | None
) -> TenantSpec:
    """Check a spec and fill in every default.

    Args:
        raw: What was sent; None if nothing was.
        engines: The ids of the configured engines.
        default_engine: The id of the engine for tenants that name none, or None.

    Returns:
        The spec; validating it again would not change it.

    Raises:
        InvalidInput: with every wrong field.
    """
    if raw is None:
        raise invalid("spec", "is missing. Send at least spec.company_name.")
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


class _Findings:
    """The violations found so far; `add` returns a placeholder so that checking can go on."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def add(self, field: str, description: str) -> str:
        self.violations.append(Violation(field=f"spec.{field}", description=description))
        return ""


def _company_name(found: _Findings, sent: str) -> str:
    name = sent.strip()
    unfit = unfit_character(name)
    give = "Give the company's legal name."
    checks = (
        (not name, f"is missing. {give}"),
        (
            len(name) > MAX_COMPANY_NAME,
            f"has {len(name)} characters; at most {MAX_COMPANY_NAME} are allowed. Shorten it.",
        ),
        (unfit, f"{shown(name)} holds {unfit}. Remove it."),
        (
            "<" in name or ">" in name,
            f"{shown(name)} holds < or >, which ERPNext refuses. Remove it.",
        ),
        (not name.strip("."), f"{shown(name)} is dots only. {give}"),
        (
            name != name.strip("/"),
            f"{shown(name)} begins or ends with a slash, which ERPNext takes as part of the "
            "address. Remove it.",
        ),
        (
            not fold_name(name),
            f"{shown(name)} is empty to ERPNext, which ignores accents and invisible characters. "
            f"{give}",
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
    what = f"{shown(code)} is not an ISO 3166-1 alpha-2 code" if code else "is empty"
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
    return found.add("currency", f"{shown(code)} is not an ISO 4217 code of money. {remedy}")


def _chart_template(found: _Findings, sent: str | None) -> str:
    if sent is None:
        return DEFAULT_CHART
    chart = sent.strip()
    remedy = f"Send the chart's name, or leave it out for {DEFAULT_CHART}."
    if not chart:
        return found.add("chart_template", f"is empty. {remedy}")
    if len(chart) > MAX_NAME:
        return found.add(
            "chart_template",
            f"has {len(chart)} characters; at most {MAX_NAME} are allowed. {remedy}",
        )
    if not chart.isprintable():
        return found.add(
            "chart_template",
            f"{shown(chart)} holds a character that cannot be printed. {remedy}",
        )
    return chart


def _till_user(found: _Findings, sent: str | None) -> str | None:
    if sent is None:
        return None
    user = sent.strip()
    remedy = "Send the e-mail address of an ERPNext user, or leave it out for none."
    if user.lower() in {"administrator", "guest"}:
        return found.add("till_user", f"{user} cannot open a till of a tenant. {remedy}")
    if len(user) > MAX_NAME:
        return found.add(
            "till_user",
            f"has {len(user)} characters; at most {MAX_NAME} are allowed. {remedy}",
        )
    if not _EMAIL.fullmatch(user) or not user.isprintable():
        return found.add("till_user", f"{shown(user)} is not an e-mail address. {remedy}")
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
        near = nearest(sent, engines)
        return found.add(
            "engine_id",
            f"there is no engine {shown(sent)}. {near + ' ' if near else ''}Known are: {known}.",
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
            found.add("payment_methods", f"{shown(method)} is there twice. Send it once.")
        elif method not in PAYMENT_METHOD_TYPES:
            near = nearest(method, PAYMENT_METHOD_TYPES)
            found.add(
                "payment_methods",
                f"{shown(method)} is not known. {near or f'Known are: {known}.'}",
            )
    return methods


def _opening_amount(found: _Findings, sent: float | None, currency: str) -> float:
    if sent is None:
        return 0.0
    decimals = decimals_of(currency)
    if not math.isfinite(sent):
        found.add("opening_amount", f"is {sent}. Send a number, such as 0 or 1500.50.")
    elif sent < 0:
        found.add("opening_amount", f"is {sent}; a till can't hold less than nothing. Send 0.")
    elif sent > MAX_OPENING_AMOUNT:
        found.add("opening_amount", f"is {sent}; at most {MAX_OPENING_AMOUNT:.0f} is allowed.")
    elif _decimals(sent) > decimals:
        found.add(
            "opening_amount",
            f"is {sent}; at most {decimals} decimals are allowed. Round it.",
        )
    return abs(sent)  # -0.0 is 0.0


def _decimals(amount: float) -> int:
    # repr is the shortest text that reads back as this float: what the caller wrote.
    exponent = Decimal(repr(amount)).normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0
