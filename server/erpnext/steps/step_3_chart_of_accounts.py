"""step_3: the accounts that later steps need.

The chart comes with the Company; nothing is imported here. One leaf account is made for each means
of payment except Cash: a standard chart has the group Bank Accounts with no leaf in it, and ERPNext
would silently accept the group (recording 08-mode-of-payment-row-leaf-and-group).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import (
    INVENTORY_ACCOUNT,
    NEEDED_ACCOUNTS,
    company_of,
    demand_company,
    waits_for_company,
)
from server.erpnext.making import check_not_elsewhere, make_named
from server.erpnext.payments import CASH, account_name
from server.erpnext.requests import make, rows
from server.erpnext.seeing import (
    OWNERSHIP_FIELDS,
    compared,
    conflict,
    differing,
    flag,
    rows_of,
    seen,
    text,
)
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_FIELDS = (
    *OWNERSHIP_FIELDS,
    "is_group",
    "disabled",
    "account_type",
    "account_currency",
    "parent_account",
)


class ChartOfAccounts:
    """Default accounts that are the Company's own, and leaf accounts for payments."""

    key = "step_3_chart_of_accounts"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look at all of the Company's accounts with one list, and at its cost center.

        Returns:
            As outputs, `bank_group`, the account that missing ones go under; nothing if none is
            missing.

        Raises:
            EngineError: CHART_MISSING, COMPANY_DEFAULT_MISSING, DOCUMENT_DIFFERS or
                DOCUMENT_NOT_OURS; or the engine could not be asked.
        """
        company = await company_of(context)
        if company is None:
            return waits_for_company("Account", *context.spec.payment_methods)
        wanted = _leaf_accounts(context, company)
        if company.planned:
            return Found(done=False, missing=tuple(_absent(name) for name in wanted.values()))
        site = await site_of(context)
        there = await _accounts(context, company)
        _check_defaults(company, there)
        await _check_cost_center(context, company)
        missing = []
        documents = []
        for name in wanted.values():
            row = there.get(fold_name(name))
            if row is None:
                missing.append(_absent(name))
                continue
            _check_leaf(row, company)
            documents.append(seen("Account", row, site.zone))
        await check_not_elsewhere(context, company, "Account", [each.name for each in missing])
        return Found(
            done=not missing,
            missing=tuple(missing),
            documents=tuple(documents),
            outputs={"bank_group": _bank_group(company, there)} if missing else {},
        )

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Make the missing leaf accounts under the Company's bank group.

        Raises:
            EngineError: COMPANY_MISSING, NAMED_OTHERWISE or DOCUMENT_NOT_OURS; or as `write`.
        """
        company = await demand_company(context)
        missing = {fold_name(each.name) for each in found.missing}
        for method, name in _leaf_accounts(context, company).items():
            if fold_name(name) not in missing:
                continue
            body: JsonObject = {
                # Without the suffix, because ERPNext appends it even to a name that has it.
                "account_name": method,
                "parent_account": found.outputs["bank_group"],
                "company": company.name,
                "account_type": "Bank",
                "account_currency": company.currency,
                "is_group": 0,
            }
            answer = await make_named(
                context,
                Intent(doctype="Account", name=name, slot=True),
                make("Account", name, body),
            )
            if answer.kind is AnswerKind.EXISTS:
                # It was not there a moment ago.
                await check_not_elsewhere(context, company, "Account", [name])


def _absent(name: str) -> Difference:
    return Difference(doctype="Account", name=name)


def _leaf_accounts(context: StepContext, company: Company) -> dict[str, str]:
    return {
        method: account_name(company, method)
        for method in context.spec.payment_methods
        if method != CASH
    }


async def _accounts(context: StepContext, company: Company) -> dict[str, JsonObject]:
    answer = await context.read(
        rows("Account", ("company", "=", company.name), fields=_FIELDS, order_by="name asc")
    )
    there = {fold_name(text(row, "name")): row for row in rows_of(answer)}
    # Charts differ in size (82 accounts, Germany's 94), so only having none at all is wrong.
    if not there:
        raise conflict(
            Code.CHART_MISSING,
            f"The Company {company.name!r} has no accounts. Import a chart of accounts in ERPNext, "
            "then retry.",
            differences=(_absent(f"any of {company.name}"),),
        )
    return there


def _check_defaults(company: Company, there: Mapping[str, JsonObject]) -> None:
    fields = list(NEEDED_ACCOUNTS)
    if company.defaults.get("enable_perpetual_inventory", "1") not in {"", "0"}:
        fields.append(INVENTORY_ACCOUNT)
    unset = [field for field in (*fields, "cost_center") if not company.defaults.get(field)]
    if unset:
        raise conflict(
            Code.COMPANY_DEFAULT_MISSING,
            f"The Company {company.name!r} has no {', '.join(unset)}. Set them in the Company, "
            "then retry.",
            differences=[_default(company, field, "an account of its own") for field in unset],
        )
    # The list has only this Company's accounts, so another Company's account is missing as well.
    lost = [field for field in fields if fold_name(company.defaults[field]) not in there]
    if lost:
        wrong = ", ".join(f"{field} is {company.defaults[field]!r}" for field in lost)
        raise conflict(
            Code.COMPANY_DEFAULT_MISSING,
            f"The Company {company.name!r} names accounts that do not exist or are another "
            f"Company's: {wrong}. Set its own in the Company, then retry.",
            differences=[_default(company, field, "an account of its own") for field in lost],
        )


def _default(company: Company, field: str, want: str) -> Difference:
    return Difference(
        doctype="Company",
        name=company.name,
        field=field,
        have=company.defaults.get(field, ""),
        want=want,
    )


def _check_leaf(row: JsonObject, company: Company) -> None:
    kind, currency = text(row, "account_type"), text(row, "account_currency")
    differences = compared(
        "Account",
        text(row, "name"),
        (
            ("is_group", str(int(flag(row, "is_group"))), "0"),
            ("disabled", str(int(flag(row, "disabled"))), "0"),
            ("account_type", kind, kind if kind in {"Bank", "Cash"} else "Bank"),
            ("account_currency", currency or company.currency, company.currency),
        ),
    )
    if differences:
        raise differing(Code.DOCUMENT_DIFFERS, differences, "Correct it in ERPNext, then retry.")


async def _check_cost_center(context: StepContext, company: Company) -> None:
    name = company.defaults["cost_center"]
    answer = await context.read(
        rows("Cost Center", ("name", "=", name), fields=("name", "company", "is_group"))
    )
    found = rows_of(answer)
    ours = found and fold_name(text(found[0], "company")) == fold_name(company.name)
    if not ours or flag(found[0], "is_group"):
        raise conflict(
            Code.COMPANY_DEFAULT_MISSING,
            f"The Company's cost_center {name!r} does not exist, is a group, or is another "
            "Company's. Set another in the Company.",
            differences=(_default(company, "cost_center", "a leaf of its own"),),
        )


def _bank_group(company: Company, there: Mapping[str, JsonObject]) -> str:
    # Found by type, because names differ: charts with numbers have "1200 - Bank Accounts".
    usual = company.names.with_suffix("Bank Accounts")
    groups = {
        fold_name(text(row, "name")): text(row, "name")
        for row in there.values()
        if flag(row, "is_group") and not flag(row, "disabled")
    }
    of_banks = [row for row in there.values() if text(row, "account_type") == "Bank"]
    names = {fold_name(text(row, "name")) for row in of_banks} & groups.keys()
    # Some countries' charts have bank accounts in groups without a type.
    beside = {fold_name(text(row, "parent_account")) for row in of_banks} & groups.keys()
    chosen = names or beside
    if not chosen:
        raise conflict(
            Code.CHART_MISSING,
            f"The chart of {company.name!r} has no group of type Bank. Make {usual!r}, then retry.",
            differences=(_absent(usual),),
        )
    return groups[fold_name(usual) if fold_name(usual) in chosen else min(chosen)]
