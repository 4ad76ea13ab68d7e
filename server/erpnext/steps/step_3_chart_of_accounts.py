"""step_3: the accounts later steps need.

The chart comes with the Company; nothing is imported here. Made is one leaf account for each
means of payment but Cash: a standard chart has the group Bank Accounts and no leaf in it, and
ERPNext would take the group without a word (recording 08-mode-of-payment-row-leaf-and-group).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import INVENTORY_ACCOUNT, NEEDED_ACCOUNTS, company_of, waits_for_company
from server.erpnext.payments import CASH, account_name
from server.erpnext.requests import call, make, rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, conflict, flag, rows_of, seen, text
from server.erpnext.site import site_of
from server.model.naming import fold_name
from server.model.step_context import Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_FIELDS = (
    *OWNERSHIP_FIELDS,
    "company",
    "is_group",
    "disabled",
    "account_type",
    "account_currency",
)


class ChartOfAccounts:
    """Default accounts that are the Company's own, and leaf accounts for payments."""

    key = "step_3_chart_of_accounts"

    async def probe(self, context: StepContext) -> Found:
        """Count the chart, and look at the accounts by name."""
        company = await company_of(context)
        if company is None:
            return waits_for_company("chart of accounts")
        site = await site_of(context)
        await _check_count(context, company)
        defaults = _default_accounts(company)
        wanted = _leaf_accounts(context, company)
        names = list(dict.fromkeys([*defaults.values(), *wanted.values()]))
        answer = await context.read(rows("Account", ("name", "in", names), fields=_FIELDS))
        there = {fold_name(text(row, "name")): row for row in rows_of(answer)}
        for field, name in defaults.items():
            _check_default(field, name, there.get(fold_name(name)), company)
        await _check_cost_center(context, company)
        for name in wanted.values():
            _check_leaf(name, there.get(fold_name(name)), company)
        return Found(
            done=all(fold_name(name) in there for name in wanted.values()),
            missing=tuple(
                f"Account {name}" for name in wanted.values() if fold_name(name) not in there
            ),
            documents=tuple(
                seen("Account", there[fold_name(name)], site.zone)
                for name in wanted.values()
                if fold_name(name) in there
            ),
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Make the missing leaf accounts under the Company's bank group."""
        company = await company_of(context)
        if company is None:
            raise conflict(Code.COMPANY_MISSING, "There is no Company; do step_2_company first.")
        there = {document.name for document in found.documents}
        group = await _bank_group(context, company)
        for method, name in _leaf_accounts(context, company).items():
            if name in there:
                continue
            body: JsonObject = {
                # Without suffix: ERPNext appends it even where it is there already.
                "account_name": method,
                "parent_account": group,
                "company": company.name,
                "account_type": "Bank",
                "account_currency": company.currency,
                "is_group": 0,
            }
            await context.write(
                Intent(doctype="Account", name=name, slot=True), make("Account", name, body)
            )


def _leaf_accounts(context: StepContext, company: Company) -> dict[str, str]:
    return {
        method: account_name(company, method)
        for method in context.spec.payment_methods
        if method != CASH
    }


def _default_accounts(company: Company) -> dict[str, str]:
    fields = list(NEEDED_ACCOUNTS)
    if company.defaults.get("enable_perpetual_inventory", "1") not in {"", "0"}:
        fields.append(INVENTORY_ACCOUNT)
    unset = [field for field in (*fields, "cost_center") if not company.defaults.get(field)]
    if unset:
        raise conflict(
            Code.COMPANY_DEFAULT_MISSING,
            f"The Company {company.name!r} has no {', '.join(unset)}. Set them in the Company, "
            "then retry.",
        )
    return {field: company.defaults[field] for field in fields}


async def _check_count(context: StepContext, company: Company) -> None:
    # Charts differ in size (82 accounts, Germany 94), so only none at all is wrong.
    answer = await context.read(
        call(
            "frappe.client.get_count",
            doctype="Account",
            filters=[["company", "=", company.name]],
        )
    )
    if not answer.data:
        raise conflict(
            Code.CHART_MISSING,
            f"The Company {company.name!r} has no accounts. Import a chart of accounts in ERPNext.",
        )


def _check_default(field: str, name: str, row: JsonObject | None, company: Company) -> None:
    if row is None or fold_name(text(row, "company")) != fold_name(company.name):
        state = "does not exist" if row is None else f"belongs to {text(row, 'company')!r}"
        raise conflict(
            Code.COMPANY_DEFAULT_MISSING,
            f"The Company's {field} is {name!r}, which {state}. Set another in the Company.",
        )


def _check_leaf(name: str, row: JsonObject | None, company: Company) -> None:
    if row is None:
        return
    if fold_name(text(row, "company")) != fold_name(company.name):
        raise conflict(
            Code.DOCUMENT_NOT_OURS,
            f"Account {name!r} belongs to {text(row, 'company')!r}, not to {company.name!r}.",
        )
    wrong = []
    if flag(row, "is_group"):
        wrong.append("it is a group")
    if flag(row, "disabled"):
        wrong.append("it is disabled")
    if text(row, "account_type") not in {"Bank", "Cash"}:
        wrong.append(f"its type is {text(row, 'account_type')!r}, not Bank")
    if text(row, "account_currency") not in {"", company.currency}:
        wrong.append(f"its currency is {text(row, 'account_currency')}, not {company.currency}")
    if wrong:
        raise conflict(
            Code.DOCUMENT_DIFFERS, f"Account {name!r} is there, but {' and '.join(wrong)}. Mend it."
        )


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
        )


async def _bank_group(context: StepContext, company: Company) -> str:
    # Looked for by type: charts with numbers call it "1200 - Bank Accounts", others otherwise.
    answer = await context.read(
        rows(
            "Account",
            ("company", "=", company.name),
            ("is_group", "=", 1),
            ("account_type", "=", "Bank"),
            fields=("name",),
        )
    )
    names = [text(row, "name") for row in rows_of(answer)]
    usual = company.names.with_suffix("Bank Accounts")
    if not names:
        raise conflict(
            Code.CHART_MISSING,
            f"The chart of {company.name!r} has no group of type Bank. Make {usual!r}, then retry.",
        )
    return usual if usual in names else min(names)
