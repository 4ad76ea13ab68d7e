"""step_2: the Company, with which ERPNext makes accounts, warehouses and cost centers.

This is the only step that makes Companies, one at a time per site: of two at once, one practically
always fails (recording 12-concurrent-companies). An existing Company is taken only if the record
proves that it is this tenant's; one that is gone is not made again automatically.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import (
    STEP_KEY,
    company_outputs,
    planned_outputs,
    renamed,
    renamed_to,
    vanished,
)
from server.erpnext.health import USER_REQUEST
from server.erpnext.making import make_named
from server.erpnext.masters import charts_in, charts_request
from server.erpnext.requests import call, get, make, rows
from server.erpnext.seeing import compared, conflict, document_of, rows_of, seen, text
from server.erpnext.site import LOOKED_AT, site_of
from server.errors import EngineError
from server.model.difference import MADE_BY, Difference
from server.model.naming import (
    COST_CENTER_LENGTH,
    Names,
    abbreviation_of,
    fold_name,
    numbered_abbreviation,
)
from server.model.ownership import CompanySeen, CompanyVerdict, judge_company
from server.model.spec import DEFAULT_CHART
from server.model.states import ResourceState
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from server.erpnext.requests import JsonObject
    from server.erpnext.site import Site
    from server.model.step_context import StepContext

# Making a Company took 1.6 s on a site with one, 11 s with fifty: 0.2 s more for each (recording
# 12-company-create-time-grows). The limit is two and a half times that, for a busy machine, and
# never less than a proxy usually waits.
_SECONDS, _SECONDS_EACH = 1.6, 0.2
_TIMES = 2.5
SHORTEST_SECONDS, LONGEST_SECONDS = 120.0, 360.0
# A site of ten thousand shops has many hundreds of the same initials, "K… Stores" alone. Numbers
# of up to five digits fit behind any initials; those that Companies have are passed over in memory.
_CANDIDATES = 99_999
# Each that looks free is asked of the database. Other tenants hold it only until their Companies
# are made, which are a few at a time.
_MOST_ASKED = 200
_MAX_REFUSALS = 10


def make_seconds(companies: int) -> float:
    """Return how many seconds to wait for a new Company on a site that has `companies` already.

    Source: recording 12-company-create-time-grows.
    """
    wanted = _TIMES * (_SECONDS + _SECONDS_EACH * companies)
    return min(max(wanted, SHORTEST_SECONDS), LONGEST_SECONDS)


class CompanyStep:
    """The tenant's Company."""

    key = STEP_KEY

    async def probe(self, context: StepContext) -> Found:
        """Look for the Company, and decide whether it is this tenant's.

        Returns:
            As outputs, what `company_outputs` says of it, and when it was looked at. A Company that
            is taken over is not done before its abbreviation is bound to the tenant.

        Raises:
            EngineError: COMPANY_NOT_OURS, COMPANY_DIFFERS, or, with a hold, COMPANY_VANISHED or
                COMPANY_RENAMED; or the engine could not be asked.
        """
        site = await site_of(context)
        answer = await context.read(get("Company", context.spec.company_name))
        if answer.kind is AnswerKind.MISSING:
            return await _not_there(context, site)
        document = document_of(answer)
        company = CompanySeen(
            document=seen("Company", document, site.zone),
            abbreviation=text(document, "abbr"),
            country=text(document, "country"),
            currency=text(document, "default_currency"),
        )
        verdict = judge_company(
            context.company_record,
            company,
            country=site.country,
            currency=context.spec.currency,
            api_user=site.api_user,
        )
        if verdict not in {CompanyVerdict.OURS, CompanyVerdict.ADOPT}:
            raise _not_ours(context, site, company)
        _check_agreement(context, site, company)
        unbound = context.abbreviation is None
        return Found(
            done=not unbound,
            missing=(_binding(company.abbreviation),) if unbound else (),
            documents=(company.document,),
            outputs={**company_outputs(document), LOOKED_AT: context.now().isoformat()},
        )

    async def foresee(self, context: StepContext, found: Found) -> Found:
        """Choose chart and abbreviation as `apply` would, and name what depends on them.

        Returns:
            `found`, with `planned_outputs` and the number of the site's Companies if there is none
            of this tenant yet.

        Raises:
            EngineError: ABBREVIATIONS_EXHAUSTED or COMPANY_NAME_TOO_LONG; or the engine could not
                be asked.
        """
        if found.documents:
            return found
        site, spec = await site_of(context), context.spec
        await _chart(context, site)
        abbreviation, companies = await _abbreviation(context)
        _check_length(spec.company_name, abbreviation)
        names = Names(company=spec.company_name, abbreviation=abbreviation)
        outputs = planned_outputs(names, currency=spec.currency, country=site.country)
        return replace(found, outputs={**outputs, "companies": str(companies)})

    async def apply(self, context: StepContext, found: Found) -> None:
        """Make the Company, or bind the existing one.

        The abbreviation is bound before it is sent. If the engine refuses it, because somebody has
        made a Company with it since the look, another one is chosen, at most `_MAX_REFUSALS` times.

        Raises:
            EngineError: ABBREVIATIONS_EXHAUSTED, ABBREVIATION_TAKEN, COMPANY_NAME_TOO_LONG or
                NAMED_OTHERWISE; COMPANY_NOT_OURS if the abbreviation of the existing one is bound
                to another tenant; or as `write`.
        """
        if found.documents:
            await _bind_adopted(context, found)
        else:
            await _make(context)


async def _not_there(context: StepContext, site: Site) -> Found:
    spec, record = context.spec, context.company_record
    verdict = judge_company(
        record, None, country=site.country, currency=spec.currency, api_user=site.api_user
    )
    if verdict is CompanyVerdict.VANISHED:
        raise await vanished(context)
    if record.resource is not None and record.resource.state is ResourceState.CREATED:
        # Not even on a person's order is another one made beside one that was renamed.
        now_called = await renamed_to(context, record.resource)
        if now_called:
            raise renamed(context, now_called)
    return Found(done=False, missing=(Difference(doctype="Company", name=spec.company_name),))


def _binding(abbreviation: str) -> Difference:
    return Difference(
        doctype="Binding", name=abbreviation, field="tenant", have="", want="this tenant"
    )


async def _bind_adopted(context: StepContext, found: Found) -> None:
    abbreviation = found.outputs["abbreviation"]
    if context.abbreviation is None and not await context.bind_abbreviation(abbreviation):
        raise conflict(
            Code.COMPANY_NOT_OURS,
            f"Another tenant of this site is bound to the abbreviation {abbreviation!r} of the "
            f"Company {found.outputs['company']!r}. Find out whose it is, then rename the Company "
            "in ERPNext, or start another tenant with another name.",
        )


async def _make(context: StepContext) -> None:
    site = await site_of(context)
    chart = await _chart(context, site)
    abbreviation, companies = await _abbreviation(context)
    refused: set[str] = set()
    while True:
        _check_length(context.spec.company_name, abbreviation)
        if not site.is_fresh(context.now()):
            # What step_0 found is old by now, and this is the call that takes long.
            await context.read(USER_REQUEST)
        try:
            await _post(context, site, abbreviation=abbreviation, chart=chart, companies=companies)
        except EngineError as error:
            refused.add(abbreviation)
            if error.code != Code.ABBREVIATION_TAKEN or len(refused) >= _MAX_REFUSALS:
                raise
            await context.note(f"The abbreviation {abbreviation} was taken; choosing another.")
            abbreviation, companies = await _choose(context, frozenset(refused))
        else:
            return


async def _abbreviation(context: StepContext) -> tuple[str, int]:
    """Return the abbreviation, which is chosen once and stored, and the number of Companies."""
    if context.abbreviation is None:
        return await _choose(context, frozenset())
    answer = await context.read(call("frappe.client.get_count", doctype="Company"))
    count = str(answer.data)
    return context.abbreviation, int(count) if count.isdecimal() else 0


async def _post(
    context: StepContext, site: Site, *, abbreviation: str, chart: str, companies: int
) -> None:
    spec = context.spec
    body: JsonObject = {
        "company_name": spec.company_name,
        "abbr": abbreviation,
        "default_currency": spec.currency,
        "country": site.country,
        "create_chart_of_accounts_based_on": "Standard Template",
        "chart_of_accounts": chart,
    }
    await make_named(
        context,
        Intent(doctype="Company", name=spec.company_name, slot=True),
        make("Company", spec.company_name, body, timeout_seconds=make_seconds(companies)),
    )


async def _choose(context: StepContext, refused: frozenset[str]) -> tuple[str, int]:
    """Find a free abbreviation and store it before it is used; also count the Companies.

    One list of all Companies answers both questions, and an abbreviation that is free in it can
    only be lost to somebody who makes a Company at this very moment.
    """
    base = abbreviation_of(context.spec.company_name)
    companies = rows_of(await context.read(rows("Company", fields=("abbr",))))
    taken = {fold_name(text(row, "abbr")) for row in companies}
    candidates = (numbered_abbreviation(base, number) for number in range(1, _CANDIDATES + 1))
    free = (each for each in candidates if each not in refused and fold_name(each) not in taken)
    for candidate in islice(free, _MOST_ASKED):
        if await context.bind_abbreviation(candidate):
            return candidate, len(companies)
    raise conflict(
        Code.ABBREVIATIONS_EXHAUSTED,
        f"No abbreviation from {base!r} on is free for {context.spec.company_name!r}. Free one "
        "in ERPNext and continue, or start a tenant with another company name.",
    )


async def _chart(context: StepContext, site: Site) -> str:
    # To ask for a chart that does not exist is answered with a 500 and an IndexError (recording
    # 02-company-create-unknown-chart).
    charts = site.charts or charts_in(await context.read(charts_request(site.country)))
    wanted = context.spec.chart_template
    # The chart must be spelled as it is offered. A country with a chart of its own is not offered
    # Standard, but every country may use it.
    offered = {fold_name(each): each for each in charts}
    if fold_name(wanted) in offered:
        return offered[fold_name(wanted)]
    if fold_name(wanted) != fold_name(DEFAULT_CHART):
        await context.note(
            f"There is no chart of accounts {wanted!r} for {site.country}; taking {DEFAULT_CHART}."
        )
    return DEFAULT_CHART


def _check_length(company_name: str, abbreviation: str) -> None:
    if len(f"{company_name} - {abbreviation}") > COST_CENTER_LENGTH:
        raise conflict(
            Code.COMPANY_NAME_TOO_LONG,
            f"The company name has {len(company_name)} characters; with {abbreviation!r} it may "
            f"have {COST_CENTER_LENGTH - 3 - len(abbreviation)}. Shorten it.",
        )


def _check_agreement(context: StepContext, site: Site, company: CompanySeen) -> None:
    name = company.document.name
    differences = _compared(context, site, company)
    if differences:
        wrong = "; ".join(
            f"{each.field} {each.have!r}, wanted {each.want!r}" for each in differences
        )
        raise conflict(
            Code.COMPANY_DIFFERS,
            f"The tenant's Company {name!r} has {wrong}. Correct the Company in ERPNext, or start "
            "another tenant that wants what it has: a spec can't be changed later.",
            differences=differences,
        )


def _compared(context: StepContext, site: Site, company: CompanySeen) -> tuple[Difference, ...]:
    return compared(
        "Company",
        company.document.name,
        (
            ("country", company.country, site.country),
            ("currency", company.currency, context.spec.currency),
            ("abbreviation", company.abbreviation, context.abbreviation or company.abbreviation),
        ),
    )


def _not_ours(context: StepContext, site: Site, company: CompanySeen) -> EngineError:
    spec = context.spec
    # A tenant that has not made a Company yet has no abbreviation.
    bound = (
        "any abbreviation"
        if context.abbreviation is None
        else f"abbreviation {context.abbreviation!r}"
    )
    return conflict(
        Code.COMPANY_NOT_OURS,
        f"The engine has a Company {company.document.name!r} (abbreviation "
        f"{company.abbreviation!r}, {company.country}, {company.currency}, made by "
        f"{company.document.owner or 'nobody known'}), and nothing proves that it is this tenant's "
        f"({spec.company_name!r}, {bound}, {spec.country_code}, {spec.currency}). Find out whose "
        "it is. If it is this tenant's: provisioner adopt TENANT. If nobody needs it: rename or "
        "remove it in ERPNext, then provisioner continue TENANT. If it is somebody else's: start "
        "another tenant with another name.",
        differences=(
            *_compared(context, site, company),
            Difference(
                doctype="Company",
                name=company.document.name,
                field=MADE_BY,
                have=company.document.owner or "nobody known",
                want=f"this tenant (as {site.api_user})",
            ),
        ),
    )
