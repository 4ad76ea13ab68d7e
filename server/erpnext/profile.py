"""A tenant's POS Profile: what it should be, how to find it, and what differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.making import check_not_elsewhere
from server.erpnext.requests import get, rows
from server.erpnext.seeing import (
    compared,
    differing,
    document_of,
    flag,
    rows_of,
    text,
)
from server.model.naming import fold_name
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

# The old system named its profiles like this, followed by the warehouse's full name.
_LEGACY_PREFIX = "Default POS Profile - "
# Where a till writes small differences off to.
_BOOKED_TO = {"write_off_account": "Account", "write_off_cost_center": "Cost Center"}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedProfile:
    """What a profile must have.

    Attributes:
        fields: Fields and the values that they must equal, as the engine compares names.
        payments: Means of payment that it must have among others; the first is our default.
    """

    fields: dict[str, str]
    payments: tuple[str, ...]


def wanted_profile(context: StepContext, company: Company, warehouse: str) -> WantedProfile:
    """Return what the tenant's profile should have by the Company's defaults.

    Args:
        context: The step's context.
        company: The tenant's Company.
        warehouse: The full name of the warehouse that the till sells from.
    """
    return WantedProfile(
        fields={
            "company": company.name,
            "warehouse": warehouse,
            "currency": company.currency,
            "selling_price_list": company.names.price_list,
            "write_off_account": company.defaults["write_off_account"],
            "write_off_cost_center": company.defaults["cost_center"],
        },
        payments=context.spec.payment_methods,
    )


async def as_booked_by(
    context: StepContext, company: Company, profile: JsonObject, wanted: WantedProfile
) -> WantedProfile:
    """Return what a profile should have, with the shop's own choice of where it writes off.

    A profile is made with the Company's defaults. People change either later; that is bookkeeping,
    as long as the profile names a leaf of the Company, which ERPNext itself does not check
    (recording 08-pos-profile-create-bad). The engine is asked only if the two differ.

    Args:
        context: The step's context.
        company: The tenant's Company.
        profile: The whole document.
        wanted: What it should have by the Company's defaults.

    Raises:
        EngineError: the engine could not be asked.
    """
    fields = dict(wanted.fields)
    for field, doctype in _BOOKED_TO.items():
        chosen = text(profile, field)
        if not chosen or fold_name(chosen) == fold_name(fields[field]):
            continue
        answer = await context.read(
            rows(doctype, ("name", "=", chosen), fields=("company", "is_group", "disabled"))
        )
        if any(
            fold_name(text(row, "company")) == fold_name(company.name)
            and not flag(row, "is_group")
            and not flag(row, "disabled")
            for row in rows_of(answer)
        ):
            fields[field] = chosen
    return replace(wanted, fields=fields)


def profile_body(
    context: StepContext, company: Company, wanted: WantedProfile, *, default_user: bool
) -> JsonObject:
    """Return the body that makes the profile.

    Args:
        context: The step's context.
        company: The tenant's Company.
        wanted: What the profile must have.
        default_user: Whether it is the till user's default profile; each user has only one.

    Returns:
        The body, with the `name`: ERPNext neither makes one up nor appends a suffix (recording
        08-pos-profile-create).
    """
    body: dict[str, object] = {
        "name": company.names.pos_profile,
        **wanted.fields,
        "write_off_limit": 1,
        "customer": context.outputs("step_7_customer").get("customer", company.names.customer),
        "payments": [
            {"mode_of_payment": method, "default": int(position == 0), "allow_in_returns": 1}
            for position, method in enumerate(wanted.payments)
        ],
    }
    if context.spec.till_user:
        body["applicable_for_users"] = [
            {"user": context.spec.till_user, "default": int(default_user)}
        ]
    return body


async def find_profile(
    context: StepContext, company: Company, warehouse: str
) -> tuple[JsonObject | None, tuple[str, ...]]:
    """Find the tenant's profile among those of its Company.

    The one with our name comes first, then one with the legacy name that sells from the right
    warehouse. The old system could leave one that sells from the root of all warehouses, which is
    of no use to anybody.

    Args:
        context: The step's context.
        company: The tenant's Company.
        warehouse: The warehouse that the till should sell from.

    Returns:
        The whole document or None, and notes about other profiles.

    Raises:
        EngineError: DOCUMENT_NOT_OURS if another Company's profile has our name; or the engine
            could not be asked.
    """
    if company.planned:
        # No profile can belong to its Company yet; one with the name would be in the way.
        there = await context.read(get("POS Profile", company.names.pos_profile))
        return (document_of(there) if there.kind is AnswerKind.OK else None), ()
    answer = await context.read(
        rows(
            "POS Profile", ("company", "=", company.name), fields=("name", "warehouse", "disabled")
        )
    )
    profiles = rows_of(answer)
    ours = fold_name(company.names.pos_profile)
    legacy = fold_name(_LEGACY_PREFIX + warehouse)
    usable = sorted(
        (
            row
            for row in profiles
            if fold_name(text(row, "name")) == ours
            or (
                fold_name(text(row, "name")) == legacy
                and fold_name(text(row, "warehouse")) == fold_name(warehouse)
                and not flag(row, "disabled")
            )
        ),
        key=lambda row: fold_name(text(row, "name")) != ours,
    )
    chosen = text(usable[0], "name") if usable else ""
    others = sorted(text(row, "name") for row in profiles if text(row, "name") != chosen)
    notes = (f"Other POS Profiles of the Company: {', '.join(others)}.",) if others else ()
    if not chosen:
        await check_not_elsewhere(context, company, "POS Profile", [company.names.pos_profile])
        return None, notes
    found = await context.read(get("POS Profile", chosen))
    return (document_of(found) if found.kind is AnswerKind.OK else None), notes


def check_profile(profile: JsonObject, wanted: WantedProfile) -> None:
    """Compare a profile with what it should be.

    Additional means of payment, another default and other users are the shop's own business.

    Args:
        profile: The whole document.
        wanted: What it should have.

    Raises:
        EngineError: DOCUMENT_NOT_OURS if it is another Company's; POS_PROFILE_DIFFERS, with
            what it has and what it should have.
    """
    name = text(profile, "name")
    differences = compared(
        "POS Profile",
        name,
        (("company", text(profile, "company"), wanted.fields["company"]),),
        of_others=True,
    )
    if differences:
        raise differing(
            Code.DOCUMENT_NOT_OURS,
            differences,
            "Its name is unique in the site: rename it in ERPNext, then continue.",
        )
    fields = dict(wanted.fields)
    if not text(profile, "selling_price_list") and is_legacy(profile):
        # The old system set none; such a till uses the customer's or the site's price list.
        del fields["selling_price_list"]
    payments = [text(row, "mode_of_payment") for row in profile.get("payments") or ()]
    has = {fold_name(each) for each in payments}
    lacks_some = any(fold_name(each) not in has for each in wanted.payments)
    differences = compared(
        "POS Profile",
        name,
        (
            *((field, text(profile, field), value) for field, value in fields.items()),
            *(
                [("payments", ", ".join(payments), ", ".join(wanted.payments))]
                if lacks_some
                else ()
            ),
            ("disabled", str(int(flag(profile, "disabled"))), "0"),
        ),
    )
    if differences:
        raise differing(
            Code.POS_PROFILE_DIFFERS,
            differences,
            "Correct it in ERPNext, or delete it to have it made anew.",
        )


def is_legacy(profile: JsonObject) -> bool:
    """Tell whether a profile has a name that the old system gave."""
    return fold_name(text(profile, "name")).startswith(fold_name(_LEGACY_PREFIX))


def users_of(profile: JsonObject) -> list[str]:
    """Return the users that a profile is for; none means all."""
    return [text(row, "user") for row in profile.get("applicable_for_users") or ()]
