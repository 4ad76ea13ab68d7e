"""step_8: the means of payment get an account of the Company, and the till gets its profile.

Payment rows are added one at a time, never by a PUT of the table, which would replace the rows of
all other Companies (recording 08-mode-of-payment-put-drops-rows). ERPNext does not check a
profile's account types, price list, currency, write-off account and cost center, so all of them are
compared here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import company_of, demand_company, waits_for_company
from server.erpnext.making import make_named
from server.erpnext.payment_rows import ROW, add_row
from server.erpnext.payments import CASH, account_name, row_key
from server.erpnext.profile import (
    as_booked_by,
    check_profile,
    find_profile,
    is_legacy,
    profile_body,
    users_of,
    wanted_profile,
)
from server.erpnext.requests import get, make, rows
from server.erpnext.seeing import (
    OWNERSHIP_FIELDS,
    conflict,
    document_of,
    flag,
    rows_of,
    seen,
    text,
    utc,
)
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.erpnext.warehouses import selling_warehouse_of
from server.errors import EngineError
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.ownership import Document
    from server.model.step_context import Answer, StepContext


class PosProfile:
    """The Company's payment rows, and its POS Profile."""

    key = "step_8_pos_profile"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look at the rows, at the accounts they have or should get, and at the profile.

        Returns:
            As outputs, the name of the `pos_profile` if there is one.

        Raises:
            EngineError: PAYMENT_ACCOUNT_WRONG, POS_PROFILE_DIFFERS or DOCUMENT_NOT_OURS; or the
                engine could not be asked.
        """
        company = await company_of(context)
        if company is None:
            return waits_for_company("POS Profile", "POS")
        site = await site_of(context)
        there = {} if company.planned else await _payment_rows(context, company)
        if not company.planned:
            await _check_accounts(context, company, there)
        documents: list[Document] = [
            _row_seen(row, company, method, site.zone) for method, row in there.items()
        ]
        missing = [
            Difference(doctype=ROW, name=row_key(company, method))
            for method in context.spec.payment_methods
            # A Company comes with its row for Cash (recording 08-mode-of-payment-cash-get).
            if method not in there and not (company.planned and method == CASH)
        ]
        outputs: dict[str, str] = {}
        warehouse = await selling_warehouse_of(context, company)
        profile, notes = await find_profile(context, company, warehouse)
        if profile is None:
            missing.append(Difference(doctype="POS Profile", name=company.names.pos_profile))
        else:
            wanted = wanted_profile(context, company, warehouse)
            check_profile(profile, await as_booked_by(context, company, profile, wanted))
            documents.append(seen("POS Profile", profile, site.zone))
            outputs["pos_profile"] = text(profile, "name")
            notes += _remarks(context, profile)
        return Found(
            done=not missing,
            missing=tuple(missing),
            documents=tuple(documents),
            outputs=outputs,
            notes=notes,
        )

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Add the missing rows one by one, then make the profile, which needs them.

        Raises:
            EngineError: COMPANY_MISSING or NAMED_OTHERWISE; POS_PROFILE_DIFFERS or
                DOCUMENT_NOT_OURS if a profile of the name came since the look; or as `write`.
        """
        company = await demand_company(context)
        missing = {(each.doctype, each.name) for each in found.missing}
        for method in context.spec.payment_methods:
            if (ROW, row_key(company, method)) in missing:
                await add_row(context, company, method)
        if any(doctype == "POS Profile" for doctype, _ in missing):
            await _make_profile(context, company)


def _row_seen(row: JsonObject, company: Company, method: str, zone: ZoneInfo) -> Document:
    """Return a row of a Mode of Payment as a document for the record."""
    as_asked = fold_name(text(row, "default_account")) == fold_name(account_name(company, method))
    return replace(
        seen(ROW, row, zone, name=row_key(company, method)),
        row_of_shared=True,
        saved_at=utc(text(row, "modified"), zone) if as_asked else None,
    )


async def _payment_rows(context: StepContext, company: Company) -> dict[str, JsonObject]:
    methods = context.spec.payment_methods
    answer = await context.read(
        rows(
            ROW,
            ("parent", "in", list(methods)),
            ("company", "=", company.name),
            fields=(*OWNERSHIP_FIELDS, "modified", "parent", "company", "default_account"),
            parent="Mode of Payment",
        )
    )
    by_parent = {fold_name(text(row, "parent")): row for row in rows_of(answer)}
    return {
        method: by_parent[fold_name(method)] for method in methods if fold_name(method) in by_parent
    }


async def _check_accounts(
    context: StepContext, company: Company, there: dict[str, JsonObject]
) -> None:
    """Check the account of each row, and the account that each missing row should get."""
    names = {
        method: text(there[method], "default_account")
        if method in there
        else account_name(company, method)
        for method in context.spec.payment_methods
    }
    answer = await context.read(
        rows(
            "Account",
            ("name", "in", sorted(set(names.values()))),
            fields=("name", "company", "is_group", "disabled", "account_type"),
        )
    )
    accounts = {fold_name(text(row, "name")): row for row in rows_of(answer)}
    for method, name in names.items():
        fault = _fault(accounts.get(fold_name(name)), company)
        if fault:
            raise _wrong_account(company, method, name, fault, has_row=method in there)


def _wrong_account(
    company: Company, method: str, name: str, fault: _Fault, *, has_row: bool
) -> EngineError:
    usual = account_name(company, method)

    def put(words: str) -> str:
        if has_row:
            return (
                f"Mode of Payment {method} names the account {name!r} for {company.name!r}, which "
                f"{words}. Set a leaf account such as {usual!r} there."
            )
        return (
            f"The account {name!r} for {method} {words}. Retry step_3_chart_of_accounts, or "
            "correct the account."
        )

    difference = Difference(
        doctype=ROW,
        name=row_key(company, method),
        field="default_account",
        have=f"{name} (which {fault.words})",
        want=f"a leaf such as {usual}",
        of_others=fault.words != fault.told,
    )
    return conflict(
        Code.PAYMENT_ACCOUNT_WRONG,
        put(fault.words),
        public=put(fault.told),
        differences=(difference,),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """What is wrong with an account, and how to put it to people who may not know of others."""

    words: str
    told: str


def _fault(account: JsonObject | None, company: Company) -> _Fault | None:
    if account is None:
        return _Fault(words="does not exist", told="does not exist")
    owner, kind = text(account, "company"), text(account, "account_type")
    if fold_name(owner) != fold_name(company.name):
        return _Fault(words=f"belongs to {owner!r}", told="belongs to another Company")
    faults = {
        "is a group": flag(account, "is_group"),
        "is disabled": flag(account, "disabled"),
        f"is of type {kind!r}, not Cash or Bank": kind not in {"Cash", "Bank"},
    }
    words = next((words for words, wrong in faults.items() if wrong), "")
    return _Fault(words=words, told=words) if words else None


async def _make_profile(context: StepContext, company: Company) -> None:
    name = company.names.pos_profile
    wanted = wanted_profile(context, company, await selling_warehouse_of(context, company))

    async def send(*, default_user: bool) -> Answer:
        body = profile_body(context, company, wanted, default_user=default_user)
        intent = Intent(doctype="POS Profile", name=name)
        return await make_named(context, intent, make("POS Profile", name, body))

    try:
        answer = await send(default_user=True)
    except EngineError as error:
        if error.code != Code.DEFAULT_PROFILE_TAKEN:
            raise
        await context.note(f"{context.spec.till_user} has another default POS Profile; it stays.")
        answer = await send(default_user=False)
    if answer.kind is AnswerKind.EXISTS:
        # A moment ago our Company had no such profile, but names are unique across the site.
        profile = document_of(await context.read(get("POS Profile", name)))
        check_profile(profile, await as_booked_by(context, company, profile, wanted))


def _remarks(context: StepContext, profile: JsonObject) -> tuple[str, ...]:
    remarks = _on_users(context, profile)
    if is_legacy(profile) and not text(profile, "selling_price_list"):
        remarks += (
            f"POS Profile {text(profile, 'name')} has no price list: the legacy system set none.",
        )
    return remarks


def _on_users(context: StepContext, profile: JsonObject) -> tuple[str, ...]:
    user, users = context.spec.till_user, users_of(profile)
    if user and users and user not in users:
        return (f"POS Profile {text(profile, 'name')} is not for {user}, only for others.",)
    return ()
