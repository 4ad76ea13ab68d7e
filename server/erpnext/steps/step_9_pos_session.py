"""step_9: the till is opened once, for a new shop; from then on people open and close it.

If an opening entry of the profile was ever submitted, the step is done for good, even if people
have deleted the entry since, as far as the record tells. `docstatus: 1`
makes and submits an entry in one POST; without it only a draft is made and no till is open. Times
are sent in the site's time zone, without naming it (recording 09-pos-opening-dates: a Z is
answered with a 500).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import company_of, demand_company, waits_for_company
from server.erpnext.making import make_named
from server.erpnext.requests import change, get, make, rows
from server.erpnext.seeing import OWNERSHIP_FIELDS, conflict, document_of, rows_of, seen, text
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.erpnext.versions import keeps_name
from server.errors import EngineError
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_DOCTYPE = "POS Opening Entry"
_DRAFT = "0"
_OPEN = "Open"
# A cancelled entry keeps its name in use (recording 09-pos-opening-name-reuse). We open a till only
# once, so if more than a few names are used, something else is wrong.
_MAX_NUMBER = 20
_ENOUGH_ROWS = 50


class Till:
    """The first opening entry of the tenant's profile."""

    key = "step_9_pos_session"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look for an entry that was ever submitted, then for one of our drafts.

        Returns:
            As outputs, the first `opening_entry` and its status as `till`. Why no till is opened is
            said in `skip`.

        Raises:
            EngineError: the engine could not be asked.
        """
        if not context.spec.till_user:
            return Found(done=True, skip="No till_user is given, so no till is opened.")
        company = await company_of(context)
        if company is None:
            return waits_for_company(_DOCTYPE, "POS-OPE")
        profile = _profile(context, company)
        entries = await _entries(context, profile)
        submitted = [row for row in entries if text(row, "docstatus") != _DRAFT]
        site = await site_of(context)
        if submitted:
            first = submitted[0]
            return Found(
                done=True,
                documents=(seen(_DOCTYPE, first, site.zone),),
                outputs={"opening_entry": text(first, "name"), "till": text(first, "status")},
                notes=() if context.completed_once else _on_second_till(context, submitted),
            )
        if context.completed_once:
            return Found(done=True, skip="Tills of a live shop are opened by people.")
        drafts = [row for row in entries if _is_ours(text(row, "name"), company)]
        record = context.company_record
        if record.had_till and not drafts and not record.ordered_to_make_again:
            return Found(
                done=True,
                skip=(
                    "The till was opened once, and its opening entry is gone: from then on people "
                    "open it. To have it opened all the same, retry this step by its name."
                ),
            )
        others = [text(row, "name") for row in entries if row not in drafts]
        return Found(
            done=False,
            missing=(_submission(text(drafts[0], "name")) if drafts else _absent(company),),
            documents=tuple(seen(_DOCTYPE, row, site.zone) for row in drafts[:1]),
            notes=(f"Drafts that others left: {', '.join(others)}.",) if others else (),
        )

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Submit our draft, or open the till under the first free number.

        Raises:
            EngineError: COMPANY_MISSING or NAMED_OTHERWISE; NAME_TAKEN if no number is free; or as
                `write`.
        """
        company = await demand_company(context)
        if found.documents:
            await _submit(context, found.documents[0].name)
            return
        profile = _profile(context, company)
        site = await site_of(context)
        if not keeps_name(site.frappe_version) and await _entries(context, profile):
            # There may be an entry since the look; an older version would open a second one.
            # Only drafts of others may exist beside ours.
            fresh = await self.probe(context)
            if fresh.done or fresh.documents:
                return
        try:
            if await _open_under_free_name(context, company, profile):
                return
        except EngineError as error:
            # Somebody may have opened the till since the look, while we waited for the site's
            # slot: newer versions refuse a second open one, and that is as well.
            if error.code != Code.ENGINE_REFUSED or not await _was_opened(context, profile):
                raise
            return
        raise conflict(
            Code.NAME_TAKEN,
            f"All names up to {company.names.opening_entry(_MAX_NUMBER)} are used by opening "
            "entries of other profiles. Delete them, or skip this step.",
        )


async def _open_under_free_name(context: StepContext, company: Company, profile: str) -> bool:
    for number in range(1, _MAX_NUMBER + 1):
        if await _open(context, company, profile, company.names.opening_entry(number)):
            return True
    return False


async def _was_opened(context: StepContext, profile: str) -> bool:
    return any(text(row, "docstatus") != _DRAFT for row in await _entries(context, profile))


def _absent(company: Company) -> Difference:
    return Difference(doctype=_DOCTYPE, name=company.names.opening_entry(1))


def _submission(name: str) -> Difference:
    return Difference(doctype=_DOCTYPE, name=name, field="docstatus", have="0", want="1")


def _profile(context: StepContext, company: Company) -> str:
    return context.outputs("step_8_pos_profile").get("pos_profile", company.names.pos_profile)


def _on_second_till(context: StepContext, submitted: list[JsonObject]) -> tuple[str, ...]:
    """Say that the till is open twice: version 15.65 lets a person open it beside us."""
    user = fold_name(context.spec.till_user or "")
    opened = [
        text(row, "name")
        for row in submitted
        if text(row, "status") == _OPEN and fold_name(text(row, "user")) == user
    ]
    if len(opened) <= 1:
        return ()
    return (
        f"{context.spec.till_user} has more than one open till at this POS Profile: "
        f"{', '.join(opened)}. Cancel those that nobody sells with, in ERPNext.",
    )


def _is_ours(name: str, company: Company) -> bool:
    return fold_name(name).startswith(fold_name(company.names.opening_entry(0)[:-1]))


async def _entries(context: StepContext, profile: str) -> list[JsonObject]:
    # A live shop has an entry for each day: the submitted ones come first, and a few are enough.
    answer = await context.read(
        rows(
            _DOCTYPE,
            ("pos_profile", "=", profile),
            fields=(*OWNERSHIP_FIELDS, "user", "docstatus", "status"),
            order_by="docstatus desc, creation asc",
            limit=_ENOUGH_ROWS,
        )
    )
    return rows_of(answer)


async def _open(context: StepContext, company: Company, profile: str, name: str) -> bool:
    """Open the till under a name; False if an entry of another profile already has that name."""
    spec, site = context.spec, await site_of(context)
    now = site.local(context.now())
    body: JsonObject = {
        "name": name,
        "period_start_date": f"{now:%Y-%m-%d %H:%M:%S}",
        "posting_date": f"{now:%Y-%m-%d}",
        "company": company.name,
        "pos_profile": profile,
        "user": spec.till_user,
        "balance_details": [
            {"mode_of_payment": method, "opening_amount": spec.opening_amount}
            for method in spec.payment_methods
        ],
        "docstatus": 1,
    }
    keeps = keeps_name(site.frappe_version)
    intent = Intent(doctype=_DOCTYPE, name=name, slot=True, repeatable=keeps)
    if keeps:
        answer = await make_named(context, intent, make(_DOCTYPE, name, body))
    else:
        answer = await context.write(intent, make(_DOCTYPE, name, body))
    if answer.kind is not AnswerKind.EXISTS:
        return True
    there = await context.read(get(_DOCTYPE, name))
    if there.kind is AnswerKind.MISSING:
        return True  # it is gone again: the next look decides
    entry = document_of(there)
    if fold_name(text(entry, "pos_profile")) != fold_name(profile):
        return False
    if text(entry, "docstatus") == _DRAFT:
        await _submit(context, name)
    return True


async def _submit(context: StepContext, name: str) -> None:
    # A PUT can be repeated, unlike frappe.client.submit (recording 09-pos-opening-submit-by-put).
    await context.write(
        Intent(doctype=_DOCTYPE, name=name, update=True), change(_DOCTYPE, name, {"docstatus": 1})
    )
