"""The rules of payments, POS Profiles and POS Opening Entries.

Facts: 08-mode-of-payment-*, 08-pos-profile-*, 09-pos-opening-*. What real ERPNext lets pass passes
here too: group accounts in payment rows, another Company's write-off account, a second open till. A
rule that is broken is raised as `errors.EngineError`.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from server.standin import errors
from server.standin.naming import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.standin.schema import Document
    from server.standin.site import Site

_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}")
_DATETIME = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([ T]\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?)?")


def validate_mode_of_payment(site: Site, mode: Document) -> None:
    """Allow one row per Company, with an account of that Company (08-mode-of-payment-put-bad)."""
    companies = [fold(row["company"]) for row in mode["accounts"]]
    if len(set(companies)) < len(companies):
        raise errors.refused_by_erpnext("Same Company is entered more than once")
    for row in mode["accounts"]:
        account = site.find("Account", row["default_account"])
        if account is not None and fold(account["company"]) != fold(row["company"]):
            raise errors.refused_by_erpnext(
                f"Account {account['name']} does not match with Company {row['company']} "
                f"in Mode of Account: {mode['name']}"
            )


def check_profile_warehouse(site: Site, profile: Document) -> None:
    """Compare the warehouse with the Company, before either is looked up.

    Facts: 08-pos-profile-create-bad.
    """
    name = profile["warehouse"]
    warehouse = site.find("Warehouse", name) if name else None
    if name and (warehouse is None or fold(warehouse["company"]) != fold(profile["company"])):
        raise errors.refused_by_erpnext(f"{name} does not belong to Company {profile['company']}")


def validate_profile(site: Site, profile: Document) -> None:
    """Check users and payment methods (08-pos-profile-create-bad, 08-pos-profile-payments)."""
    _check_default_users(site, profile)
    payments = profile["payments"]
    if not payments:
        raise errors.refused_by_erpnext(
            "Payment methods are mandatory. Please add at least one payment method."
        )
    defaults = sum(1 for row in payments if row["default"])
    if defaults == 0:
        raise errors.refused_by_erpnext("Please select a default mode of payment")
    if defaults > 1:
        raise errors.refused_by_erpnext("You can only select one mode of payment as default")
    _check_payment_accounts(site, payments, profile["company"])
    company = site.find("Company", profile["company"])
    profile["country"] = company["country"] if company else None


def _check_default_users(site: Site, profile: Document) -> None:
    wanted = {fold(r["user"]): r["user"] for r in profile["applicable_for_users"] if r["default"]}
    for other in site.every("POS Profile"):
        if fold(other["name"]) == fold(profile["name"]) or other["disabled"]:
            continue
        if fold(other["company"]) != fold(profile["company"]):
            continue
        for row in other["applicable_for_users"]:
            if row["default"] and fold(row["user"]) in wanted:
                raise errors.refused_by_erpnext(
                    f"Already set default in pos profile {other['name']} for user "
                    f"{wanted[fold(row['user'])]}, kindly disabled default"
                )


def _check_payment_accounts(site: Site, rows: Iterable[Document], company: str) -> None:
    without = []
    for row in rows:
        mode = site.find("Mode of Payment", row["mode_of_payment"]) or {"accounts": []}
        if not any(fold(a["company"]) == fold(company) for a in mode["accounts"]):
            name = row["mode_of_payment"]
            url = f"http://{site.name}/app/mode-of-payment/{quote(name)}"
            without.append(f'<a href="{url}">{name}</a>')
    if without:
        raise errors.refused_by_erpnext(
            f"Please set default Cash or Bank account in Mode of Payments {', '.join(without)}",
            title="Missing Account",
        )


def name_opening(site: Site, _opening: Document) -> str:
    """Return the next number of the year (09-pos-opening-create-draft)."""
    prefix = f"POS-OPE-{site.today()[:4]}-"
    numbers = (
        entry["name"].removeprefix(prefix)
        for entry in site.every("POS Opening Entry")
        if entry["name"].startswith(prefix)
    )
    used = max((int(number) for number in numbers if number.isdecimal()), default=0)
    return f"{prefix}{used + 1:05d}"


def validate_opening(site: Site, opening: Document) -> None:
    """Check profile, cashier, payment methods; date it; show its state (09-pos-opening-bad)."""
    opening["posting_date"] = opening["posting_date"] or site.today()
    opening["status"] = ("Draft", "Open", "Cancelled")[opening["docstatus"]]
    profile_name, company = opening["pos_profile"], opening["company"]
    profile = site.find("POS Profile", profile_name) if profile_name else None
    if profile is None or fold(profile["company"]) != fold(company):
        raise errors.refused_by_erpnext(
            f"POS Profile {profile_name} does not belongs to company {company}"
        )
    user = site.find("User", opening["user"]) if opening["user"] else None
    if user is None or not user["enabled"]:
        raise errors.refused_by_erpnext(
            f"User {opening['user']} is disabled. Please select valid user/cashier"
        )
    _check_payment_accounts(site, opening["balance_details"], company)


def check_opening_dates(_site: Site, opening: Document) -> None:
    """Refuse a date in any form but the database's own (09-pos-opening-dates)."""
    moment, day = opening["period_start_date"], opening["posting_date"]
    if not _DATETIME.fullmatch(moment) or not _real(moment):
        raise _incorrect("datetime", moment, "period_start_date")
    if not _DATE.fullmatch(day) or not _real(day):
        raise _incorrect("date", day, "posting_date")
    opening["period_start_date"] = _real(moment)


def _real(text: str) -> str | None:
    try:
        return datetime.fromisoformat(text).isoformat(sep=" ")
    except ValueError:
        return None


def _incorrect(kind: str, value: str, column: str) -> errors.EngineError:
    return errors.crashed(
        "OperationalError",
        f"pymysql.err.OperationalError: (1292, \"Incorrect {kind} value: '{value}' for column "
        f'`<database>`.`tabPOS Opening Entry`.`{column}` at row 1")',
    )
