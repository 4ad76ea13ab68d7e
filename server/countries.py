"""Countries and currencies: which codes exist, and what a mistaken one probably meant.

The codes are those of ISO 3166-1 and ISO 4217, as pycountry has them. What a site calls a country
is never taken from this table: the run asks the site.
"""

from __future__ import annotations

import difflib

import pycountry

# Longer texts are not the name of a country, and the time to compare grows with the square.
_MAX_COMPARED = 60
_ALPHA_2 = 2
# What people write instead of the code in ISO 3166.
_ALIASES = {"UK": "GB", "EL": "GR"}
# In ISO 4217, X begins what no country issues: metals, units of account, tests. These are money.
_X_MONEY = frozenset({"XAF", "XCD", "XCG", "XOF", "XPF"})
_THREE_DECIMALS = frozenset({"BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"})

# The currency of a tenant that names only its country: ISO 4217's, for the countries to which
# ERPNext gives one. Recording 02-countries-by-code says that 60 of 249 countries have none, and
# shows eleven countries; the others were taken from Frappe's country_info.json (of another version,
# in which 61 have none). If that list has a currency that was withdrawn since, euro countries have
# the euro here, and AO, MR, SL, ST, TM, VE and ZW have none: a site may not know their present one.
# A tenant in a country without an entry must name its currency.
_OWN_CURRENCIES = """
    AED AFN ALL AMD ARS AUD AWG BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BZD CAD CDF CHF
    CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB FJD FKP GBP GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK
    LBP LKR LRD LSL LYD MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD
    OMR PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SOS SRD SYP SZL
    THB TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VND VUV WST YER ZAR ZMW
"""
_SHARED_CURRENCIES = {
    "EUR": "AD AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MC ME MT NL PT SI SK SM",
    "USD": "SV",
    "XAF": "CF CG CM GA GQ TD",
    "XCD": "AG AI DM GD KN LC MS VC",
    "XOF": "BF BJ CI GW ML NE SN TG",
}
# The code of a currency of one country begins with that country's code.
CURRENCY_OF_COUNTRY = {currency[:2]: currency for currency in _OWN_CURRENCIES.split()} | {
    country: currency
    for currency, countries in _SHARED_CURRENCIES.items()
    for country in countries.split()
}


def is_country(code: str) -> bool:
    """Tell whether a code is a country's alpha-2 code, in upper case."""
    # pycountry itself also accepts lower case.
    return code == code.upper() and pycountry.countries.get(alpha_2=code) is not None


def is_currency(code: str) -> bool:
    """Tell whether a code is the code of a currency that is money, in upper case."""
    if code != code.upper() or (code.startswith("X") and code not in _X_MONEY):
        return False
    return pycountry.currencies.get(alpha_3=code) is not None


def decimals_of(currency: str) -> int:
    """Return how many decimals an amount may have; the most there are if `currency` is "".

    It is two for currencies that have none (JPY), too: .00 is no mistake.
    """
    return 3 if currency in _THREE_DECIMALS or not currency else 2


def country_name(code: str) -> str:
    """Return the ISO name of a country; "" if there is no such country."""
    return str(getattr(pycountry.countries.get(alpha_2=code), "name", ""))


def nearest_country(text: str) -> str:
    """Return the alpha-2 code that was likely meant, or "".

    Args:
        text: A code in any case of letters, a name, or a misspelling; only its beginning counts.
    """
    wanted = text[:_MAX_COMPARED].upper()
    known = {country.alpha_3: country.alpha_2 for country in pycountry.countries}
    for country in pycountry.countries:
        for key in ("name", "common_name", "official_name"):
            known[getattr(country, key, country.name).upper()] = country.alpha_2
    exact = _ALIASES.get(wanted) or known.get(wanted)
    if exact:
        return exact
    # Codes are only compared with codes, because two letters occur in many names; one letter in
    # common is near enough.
    is_code = len(wanted) <= _ALPHA_2
    candidates = sorted(set(known.values()) if is_code else known)
    near = difflib.get_close_matches(wanted, candidates, n=1, cutoff=0.5 if is_code else 0.7)
    return known.get(near[0], near[0]) if near else ""


def nearest_currency(text: str) -> str:
    """Return the code of money that was likely meant, or "".

    Args:
        text: A currency's code or name, or a misspelling; only its beginning counts.
    """
    known: dict[str, str] = {}
    for currency in pycountry.currencies:
        if is_currency(currency.alpha_3):
            known |= {currency.alpha_3: currency.alpha_3, currency.name.upper(): currency.alpha_3}
    # Two letters of three are never near enough: half of all codes would be.
    near = difflib.get_close_matches(text[:_MAX_COMPARED].upper(), sorted(known), n=1, cutoff=0.75)
    return known[near[0]] if near else ""
