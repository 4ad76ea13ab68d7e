"""The tenant's Company as later steps need it: its names, currency and default accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import get, rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, conflict, document_of, rows_of, seen, text
from server.erpnext.site import LOOKED_AT, site_of
from server.erpnext.site import STEP_KEY as CHECK_KEY
from server.model.difference import Difference
from server.model.naming import Names
from server.model.ownership import settle
from server.model.states import ErrorClass, ResourceState
from server.model.step_context import AnswerKind, Found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.requests import JsonObject
    from server.errors import EngineError
    from server.model.ownership import Resource
    from server.model.spec import TenantSpec
    from server.model.step_context import StepContext

STEP_KEY = "step_2_company"
MAIN_STORE = "Main Store"
POS_STORE = "POS Store"
_PLANNED = "planned"

# The Company's accounts that no shop can do without; a standard chart sets them all
# (recording 02-company-create).
NEEDED_ACCOUNTS = (
    "default_cash_account",
    "default_receivable_account",
    "default_payable_account",
    "default_income_account",
    "default_expense_account",
    "write_off_account",
    "round_off_account",
)
# Needed only with perpetual inventory, which is on unless somebody switched it off.
INVENTORY_ACCOUNT = "default_inventory_account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Company:
    """A tenant's Company.

    Attributes:
        names: The names of the tenant's documents; `names.company` as the engine spells it.
        currency: Its currency.
        country: Its country.
        defaults: Default accounts and cost center, by field; "" if unset.
        planned: Whether it does not exist yet, and a dry run asks what would be made for it.
    """

    names: Names
    currency: str
    country: str
    defaults: Mapping[str, str]
    planned: bool = False

    @property
    def name(self) -> str:
        """The Company's name as the engine spells it."""
        return self.names.company


async def company_of(context: StepContext) -> Company | None:
    """Return the tenant's Company, or None while there is none yet.

    It is read from step_2's outputs. The engine is asked if there are none, or if that step was
    carried over from an earlier run: people change a Company between two runs, as errors tell them
    to.

    Raises:
        EngineError: COMPANY_VANISHED or COMPANY_RENAMED, with a hold, if that earlier run's Company
            is gone; or the engine could not be asked.
    """
    outputs = context.outputs(STEP_KEY)
    known = "company" in outputs and bool(outputs.get("abbreviation"))
    if known and (_PLANNED in outputs or _is_of_this_run(context, outputs)):
        return _from_outputs(outputs)
    if context.abbreviation is None and not known:
        return None
    answer = await context.read(get("Company", context.spec.company_name))
    if answer.kind is AnswerKind.MISSING:
        if known:
            raise await vanished(context)
        return None
    return _from_outputs(company_outputs(document_of(answer)))


async def demand_company(context: StepContext) -> Company:
    """Return the tenant's Company, for a step that makes something in it.

    Raises:
        EngineError: COMPANY_MISSING while there is none; or as `company_of`.
    """
    company = await company_of(context)
    if company is None:
        raise conflict(Code.COMPANY_MISSING, "There is no Company; do step_2_company first.")
    return company


async def refuse_if_gone(context: StepContext, error: EngineError) -> None:
    """Say so if a step stopped for good because the tenant's Company is gone.

    A Company that is renamed or deleted in the middle of a run is met as a reference that does
    not exist, or as an account of somebody else, and the remedy of those (make it; correct it)
    is the wrong one.

    Args:
        context: The step's context.
        error: What the step stopped at.

    Raises:
        EngineError: COMPANY_VANISHED or COMPANY_RENAMED; or the engine could not be asked.
    """
    outputs = context.outputs(STEP_KEY)
    if error.error_class is not ErrorClass.PERMANENT or error.hold:
        return
    if "company" not in outputs or _PLANNED in outputs:
        return
    answer = await context.read(get("Company", context.spec.company_name))
    if answer.kind is AnswerKind.MISSING:
        raise await vanished(context) from error


def _is_of_this_run(context: StepContext, outputs: Mapping[str, str]) -> bool:
    # The first thing each run does is to look at the site.
    looked = context.outputs(CHECK_KEY).get(LOOKED_AT, "")
    return outputs.get(LOOKED_AT, "") >= looked


async def vanished(context: StepContext) -> EngineError:
    """Return the error for a Company that existed once and is not there under its name.

    Returns:
        COMPANY_RENAMED if one with the same abbreviation is proved to be it, else COMPANY_VANISHED;
        both with a hold.

    Raises:
        EngineError: the engine could not be asked whether it has another name.
    """
    name = context.spec.company_name
    now_called = await renamed_to(context, context.company_record.resource)
    if now_called:
        return renamed(context, now_called)
    return conflict(
        Code.COMPANY_VANISHED,
        f"The Company {name!r} existed once and is gone. It is not made again "
        "automatically. Find out where it went (a restored backup? the wrong site? renamed or "
        "deleted by hand?). To have a new, empty one made: provisioner retry TENANT --step "
        "step_2_company",
        hold=True,
    )


def renamed(context: StepContext, now_called: str) -> EngineError:
    """Return the error, with a hold, for a Company that is called `now_called` at the engine."""
    return conflict(
        Code.COMPANY_RENAMED,
        f"The Company {context.spec.company_name!r} is called {now_called!r} in ERPNext now: the "
        "tenant's Company must have the tenant's name. Rename it back there, then: provisioner "
        "continue TENANT",
        hold=True,
    )


async def renamed_to(context: StepContext, made: Resource | None) -> str:
    """Return the name that a Company has now that is not there under its own; "" if unknown.

    When ERPNext renames a Company, its abbreviation, its owner and its time of creation stay
    (docs/decisions/0056). Only one that the record proves to be ours is named.

    Args:
        context: The step's context.
        made: What the record says about the Company; None if nothing.

    Raises:
        EngineError: the engine could not be asked.
    """
    if made is None or context.abbreviation is None:
        return ""
    answer = await context.read(
        rows("Company", ("abbr", "=", context.abbreviation), fields=OWNERSHIP_FIELDS, limit=1)
    )
    site = await site_of(context)
    for row in rows_of(answer):
        found = context.removal.judged(made, seen("Company", row, site.zone))
        if settle(made, found, site.api_user) is ResourceState.CREATED:
            return found.name
    return ""


def company_outputs(document: JsonObject) -> dict[str, str]:
    """Return the facts about a Company that later steps and people need.

    Args:
        document: The whole Company, as the engine returns it.

    Returns:
        The outputs of step_2, with "" for what is not set.
    """
    outputs = {
        "company": text(document, "name"),
        "abbreviation": text(document, "abbr"),
        "currency": text(document, "default_currency"),
        "country": text(document, "country"),
        "enable_perpetual_inventory": text(document, "enable_perpetual_inventory"),
    }
    for field in (*NEEDED_ACCOUNTS, INVENTORY_ACCOUNT, "cost_center"):
        outputs[field] = text(document, field)
    return outputs


def selling_warehouse(spec: TenantSpec, company: Company) -> str:
    """Return the name of the warehouse that the till sells from, as this service would make it.

    A store that the old system made can have another one: see `selling_warehouse_of`.
    """
    return company.names.with_suffix(POS_STORE if spec.pos_store_enabled else MAIN_STORE)


def waits_for_company(doctype: str, *names: str) -> Found:
    """Return what a probe finds while there is no Company: everything is missing.

    Args:
        doctype: The doctype that the step would make.
        names: What is missing, for people: without a Company there are no full names yet.
    """
    return Found(
        done=False,
        missing=tuple(Difference(doctype=doctype, name=name) for name in names),
        notes=("The tenant has no Company yet.",),
    )


def planned_outputs(names: Names, *, currency: str, country: str) -> dict[str, str]:
    """Return the outputs that step_2 would have, for a Company that does not exist yet.

    The defaults are those of the chart "Standard"; other charts may name them differently.
    """
    return {
        "company": names.company,
        "abbreviation": names.abbreviation,
        "currency": currency,
        "country": country,
        _PLANNED: "1",
        "default_cash_account": names.with_suffix("Cash"),
        "write_off_account": names.with_suffix("Write Off"),
        "cost_center": names.with_suffix("Main"),
    }


def _from_outputs(outputs: Mapping[str, str]) -> Company:
    return Company(
        names=Names(company=outputs["company"], abbreviation=outputs["abbreviation"]),
        currency=outputs["currency"],
        country=outputs["country"],
        defaults=outputs,
        planned=outputs.get(_PLANNED) == "1",
    )
