"""What a site has after its set-up, before any tenant.

Facts: 01-fresh-site-masters, 06-customer-group-territory-existing, 06-price-list-existing,
07-item-group-uom-existing, 08-mode-of-payment-list. Their `creation` depends on the site's name
only, so that a restarted stand-in is the same site and one of another name is another.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from server.standin import company
from server.standin.countries import ENABLED_CURRENCIES, countries, currency_codes
from server.standin.site import (
    API_USER,
    DEFAULT_COUNTRY,
    DEFAULT_CURRENCY,
    TIME_ZONE,
    stamp_text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.standin.site import Site

DEFAULT_SITE = "erpnext.local"
ADMINISTRATOR = "Administrator"
# Before any run of the product, so that nothing made later can look older.
_SET_UP = datetime(2024, 3, 4, 6, 0, tzinfo=UTC)
_SPREAD_MINUTES = 60 * 24 * 300
_UOMS = ("Unit", "Box", "Nos", "Pair", "Set", "Meter", "Centimeter", "Kg", "Gram", "Litre")
_WHOLE = ("Unit", "Box", "Nos", "Pair", "Set")
_MODES = {
    "Cash": "Cash",
    "Cheque": "Bank",
    "Credit Card": "Bank",
    "Wire Transfer": "Bank",
    "Bank Draft": "Bank",
}
# The roles of the recordings' caller (README, "callers").
_API_ROLES = (
    "System Manager",
    "Accounts Manager",
    "Accounts User",
    "Stock Manager",
    "Stock User",
    "Sales Manager",
    "Sales User",
    "Sales Master Manager",
    "Item Manager",
    "Purchase Master Manager",
)
_GROUPS = {
    "Item Group": ("Products", "Raw Material", "Services", "Sub Assemblies", "Consumable"),
    "Customer Group": ("Individual", "Commercial", "Non Profit", "Government"),
    "Territory": (DEFAULT_COUNTRY, "Rest Of The World"),
}


def set_up(site: Site, *, companies: int = 1) -> None:
    """Fill a new site; more than one Company makes it a site already in use.

    Args:
        site: A site without documents.
        companies: How many Companies it has then; the first is the site's default.
    """
    moments = _moments(site.name)
    for doctype, values in _documents(site):
        site.add(site.new(doctype, values, owner=ADMINISTRATOR, at=next(moments)))
    for number in range(1, companies + 1):
        name = site.default_company if number == 1 else f"Company {number}"
        _make_company(site, name, "BC" if number == 1 else f"C{number}", next(moments))
    for single in ("Selling Settings", "Stock Settings"):
        settings = site.new(single, {"name": single}, owner=ADMINISTRATOR, at=next(moments))
        # Settings are not a row of a table: index as text, no time of making.
        settings.update(idx="0", creation=None)
        site.add(settings)


def _make_company(site: Site, name: str, abbr: str, at: str) -> None:
    made = site.new(
        "Company",
        {
            "name": name,
            "company_name": name,
            "abbr": abbr,
            "default_currency": DEFAULT_CURRENCY,
            "country": DEFAULT_COUNTRY,
        },
        owner=ADMINISTRATOR,
        at=at,
    )
    site.add(made)
    company.make_belongings(site, made, owner=ADMINISTRATOR, at=at)


def _moments(site_name: str) -> Iterator[str]:
    moment = _SET_UP
    if site_name != DEFAULT_SITE:
        digest = hashlib.sha256(site_name.encode()).digest()
        moment -= timedelta(minutes=1 + int.from_bytes(digest[:4]) % _SPREAD_MINUTES)
    while True:
        moment += timedelta(microseconds=7411)
        yield stamp_text(moment)


# Any: column values of every type.
def _documents(site: Site) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for code in currency_codes():
        yield (
            "Currency",
            {
                "name": code,
                "currency_name": code,
                "enabled": int(code in {DEFAULT_CURRENCY, *ENABLED_CURRENCIES}),
                "fraction_units": 0 if code == "TZS" else 100,
            },
        )
    for country in countries():
        yield (
            "Country",
            {
                "name": country.name,
                "country_name": country.name,
                "code": country.code,
                "time_zones": country.time_zone,
            },
        )
    for doctype, leaves in _GROUPS.items():
        yield from _group(doctype, leaves)
    yield "Warehouse Type", {"name": "Transit"}
    for unit in (*_UOMS, "Millilitre"):
        yield (
            "UOM",
            {"name": unit, "uom_name": unit, "must_be_whole_number": int(unit in _WHOLE)},
        )
    for mode, kind in _MODES.items():
        yield "Mode of Payment", {"name": mode, "mode_of_payment": mode, "type": kind}
    for use in ("buying", "selling"):
        title = f"Standard {use.capitalize()}"
        yield (
            "Price List",
            {"name": title, "price_list_name": title, "currency": DEFAULT_CURRENCY, use: 1},
        )
    year = site.today()[:4]
    dates = {"year_start_date": f"{year}-01-01", "year_end_date": f"{year}-12-31"}
    yield "Fiscal Year", {"name": year, "year": year, **dates}
    yield from _users()


def _group(doctype: str, leaves: tuple[str, ...]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stem = doctype.lower().replace(" ", "_")
    root = "All Territories" if doctype == "Territory" else f"All {doctype}s"
    above = "" if doctype == "Item Group" else None
    yield (
        doctype,
        {"name": root, f"{stem}_name": root, f"parent_{stem}": above, "is_group": 1},
    )
    for leaf in leaves:
        yield doctype, {"name": leaf, f"{stem}_name": leaf, f"parent_{stem}": root}


def _users() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for email in (ADMINISTRATOR, "Guest", API_USER, "till@example.com"):
        first = email.partition("@")[0].capitalize()
        yield (
            "User",
            {
                "name": email,
                "email": email,
                "first_name": first,
                "full_name": first,
                "time_zone": TIME_ZONE,
                "roles": [{"role": role} for role in _API_ROLES] if email == API_USER else [],
            },
        )
