"""Countries and currencies as ERPNext spells and lists them.

Facts: 02-countries-by-code (names, codes and currencies of eleven countries; 60 have no currency).
The rest comes from ISO 3166 and ISO 4217 with the usual rule that a currency begins with its
country's code; only the recorded countries are certain to be spelt as in ERPNext.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import pycountry

# ERPNext's spelling where it differs from ISO's.
_SPELLINGS = {
    "TZ": "Tanzania",
    "GB": "United Kingdom",
    "US": "United States",
    "CD": "Congo, The Democratic Republic of the",
    "CI": "Ivory Coast",
    "BO": "Bolivia, Plurinational State of",
    "IR": "Iran",
    "SY": "Syria",
    "TW": "Taiwan",
    "TR": "Turkey",
    "VN": "Vietnam",
    "SZ": "Swaziland",
    "BN": "Brunei",
    "MK": "Macedonia",
}
# Currencies that do not begin with the country's code, and countries with more than one.
_CURRENCIES = {
    **dict.fromkeys(("BJ", "BF", "CI", "GW", "ML", "NE", "SN", "TG"), "XOF"),
    **dict.fromkeys(("CM", "CF", "CG", "TD", "GQ", "GA"), "XAF"),
    **dict.fromkeys(
        ("AT", "BE", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU"),
        "EUR",
    ),
    **dict.fromkeys(("LV", "MT", "NL", "PT", "SI", "SK"), "EUR"),
    "US": "USD",
    "CH": "CHF",
    "MX": "MXN",
    "CL": "CLP",
    "CO": "COP",
    "BO": "BOB",
    "UY": "UYU",
    "PL": "PLN",
    "RU": "RUB",
    "UA": "UAH",
    "CD": "CDF",
    "SV": "USD",
    "EC": "USD",
}
_TIME_ZONES = {
    "KE": "Africa/Nairobi",
    "UG": "Africa/Kampala",
    "TZ": "Africa/Dar_es_Salaam",
    "RW": "Africa/Kigali",
    "ET": "Africa/Addis_Ababa",
    "GH": "Africa/Accra",
    "NG": "Africa/Lagos",
    "ZA": "Africa/Johannesburg",
    "DE": "Europe/Berlin",
    "AW": "America/Aruba",
}
ENABLED_CURRENCIES = frozenset({"AED", "AUD", "CHF", "CNY", "EUR", "GBP", "INR", "JPY", "USD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """One country of the site's list.

    Attributes:
        name: As ERPNext spells it, if that was recorded.
        code: ISO 3166's two letters, in lower case.
        currency: ISO 4217's code of its currency; None if none is known.
        time_zone: The IANA name; None for countries that no test needs one of.
    """

    name: str
    code: str
    currency: str | None
    time_zone: str | None


@functools.cache
def countries() -> tuple[Country, ...]:
    """List all countries by name."""
    codes = sorted(currency_codes())
    listed = []
    for entry in pycountry.countries:
        code = entry.alpha_2
        own = [currency for currency in codes if currency.startswith(code)]
        listed.append(
            Country(
                name=_SPELLINGS.get(code, entry.name),
                code=code.lower(),
                currency=_CURRENCIES.get(code, own[0] if own else None),
                time_zone=_TIME_ZONES.get(code),
            )
        )
    return tuple(sorted(listed, key=lambda country: country.name))


def currency_codes() -> list[str]:
    """List the codes of all currencies."""
    # X is for precious metals, funds and tests; of those, only the two African francs are money.
    return [
        currency.alpha_3
        for currency in pycountry.currencies
        if not currency.alpha_3.startswith("X") or currency.alpha_3 in {"XOF", "XAF"}
    ]
