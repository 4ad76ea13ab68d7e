"""A tenant as the previous system recorded it, and what it is imported as.

The old record is only a hint: its state was stamped at the end of a run, its count came from a
document that was often not saved, and its errors from a third place. What is in the engine
decides (`decide`, a pure function of the record, of what was found at the engine, and of who
else has the company name).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING

from server.model.records import Hold

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime, timedelta

# The old system made these under other names or not at all, so a tenant that it called done and
# that sells every day need not have them (facts about its data: one walk-in customer and one
# price list shared by all, tills left as drafts).
OPTIONAL_HERE = frozenset(
    {"step_5_settings", "step_6_items", "step_7_customer", "step_9_pos_session"}
)
COMPANY_STEP = "step_2_company"

# Who holds what an import leaves to a person.
IMPORTED = "imported"


@unique
class ImportCode(StrEnum):
    """Why an import did not take a tenant for finished. `docs/errors.md` explains each."""

    NEEDS_BINDING = "IMPORT_NEEDS_BINDING"
    CONFLICT = "IMPORT_CONFLICT"
    OTHER_NAME = "IMPORT_OTHER_NAME"
    COMPANY_GONE = "IMPORT_COMPANY_GONE"
    NOT_AS_RECORDED = "IMPORT_NOT_AS_RECORDED"
    UNFINISHED = "IMPORTED_UNFINISHED"


# Somebody must say first whose a Company is.
_ADOPTED = frozenset({ImportCode.NEEDS_BINDING, ImportCode.CONFLICT, ImportCode.OTHER_NAME})

_DONE_WORDS = frozenset({"PROVISIONED", "COMPLETED"})
_RUNNING_WORDS = frozenset({"PROVISIONING", "IN_PROGRESS"})
_STOPPED_WORDS = frozenset({"PARTIAL", "FAILED"})
# How the old system spelled a step that is done. It counted nothing else, and neither do we.
_DONE_STEPS = frozenset({"completed", "exists"})
# So many drafts of a till are named.
_MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyStep:
    """One entry of the old step document.

    Attributes:
        status: A word of the old system, in lower case; "" if it had none.
    """

    status: str
    message: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyEvidence:
    """What the old record says about the Company that its run made, apart from the tenant's name.

    Attributes:
        name: The Company's name; "" if it was lost.
        abbreviation: Its abbreviation; "" if it was lost.
        documents: Doctype and name of the documents that the run left in the Company.
    """

    name: str = ""
    abbreviation: str = ""
    documents: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is any evidence at all."""
        return bool(self.name or self.abbreviation or self.documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyTraced:
    """A Company on the site that some evidence points to.

    Attributes:
        proofs: Recorded documents that are in it, or its recorded name; empty if only its
            abbreviation matches the recorded one.
    """

    name: str
    abbreviation: str
    proofs: tuple[str, ...] = ()


def recognised(
    evidence: CompanyEvidence, traced: Collection[CompanyTraced]
) -> CompanyTraced | None:
    """Return the one Company that the evidence proves to be the tenant's, or None.

    Args:
        evidence: What the old record says.
        traced: The Companies it points to.
    """
    proven = [each for each in traced if each.proofs]
    if len(proven) != 1:
        return None
    (company,) = proven
    agrees = not evidence.abbreviation or (
        company.abbreviation.casefold() == evidence.abbreviation.casefold()
    )
    return company if agrees else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyTenant:
    """The old system's rows for one tenant, whatever their condition.

    Attributes:
        id: A UUID in its canonical form, or what stood in the column if that is none.
        name: "" if the column held no text.
        engine: The kind of engine, as a word of the old system; "" if none was recorded.
        word: `tenants.provisioning_status`; "" if the column or its value is missing.
        onboarding_word: `tenant_onboarding.status`, if that row is about provisioning.
        steps: The step document; empty if it was lost.
        evidence_of_company: What else the record says about its Company.
        include_demo_data: None if no configuration was kept.
        chart: The chart of accounts asked for; "" if none was recorded.
        updated_at: When the old system last wrote, in UTC; None if not known.
        evidence: All of the rows, as compact JSON.
    """

    id: str
    code: str
    name: str
    country_code: str
    engine: str
    word: str = ""
    onboarding_word: str = ""
    steps: Mapping[str, LegacyStep] = field(default_factory=dict)
    error_message: str = ""
    error_step: str = ""
    evidence_of_company: CompanyEvidence = field(default_factory=CompanyEvidence)
    include_demo_data: bool | None = None
    pos_store_enabled: bool = True
    chart: str = ""
    updated_at: datetime | None = None
    evidence: str = "{}"

    @property
    def words(self) -> str:
        """Both of its states, as a note."""
        return f"tenant {self.word or 'none'}, run {self.onboarding_word or 'none'}"

    @property
    def steps_done(self) -> int:
        """How many steps the old system counted as done."""
        return sum(step.status in _DONE_STEPS for step in self.steps.values())

    @property
    def was_begun(self) -> bool:
        """Whether the record says that provisioning was ever begun."""
        words = {self.word, self.onboarding_word}
        return bool(self.steps or words & (_DONE_WORDS | _RUNNING_WORDS | _STOPPED_WORDS))

    @property
    def was_done(self) -> bool:
        """Whether one of its states says that it is done."""
        return bool({self.word, self.onboarding_word} & _DONE_WORDS)

    @property
    def runs(self) -> bool:
        """Whether one of its states says that a run is under way."""
        return bool({self.word, self.onboarding_word} & _RUNNING_WORDS)

    @property
    def passed_company(self) -> bool:
        """Whether the record says that it got past the Company: PARTIAL only ever came later."""
        company = self.steps.get(COMPANY_STEP)
        return (
            "PARTIAL" in {self.word, self.onboarding_word}
            or self.was_done
            or (company is not None and company.status in _DONE_STEPS)
        )

    def is_quiet(self, now: datetime, after: timedelta) -> bool:
        """Tell whether no process of the old system can still be working on it.

        Args:
            now: The current time.
            after: How long it must have written nothing; a tenant of which that is not known is
                taken for quiet.
        """
        return self.updated_at is None or now - self.updated_at >= after


@unique
class ImportedAs(StrEnum):
    """What becomes of an old tenant."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"
    HELD = "HELD"
    NOT_IMPORTED = "NOT_IMPORTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was found at the engine for one tenant.

    Attributes:
        company: Whether a Company of its name exists.
        wrong: Why each step that is not as it should be is not, by key.
        conflict_code: The code of a conflict that a person must settle; "" if there is none.
        conflict: The conflict's message; "" if there is none.
    """

    company: bool
    wrong: Mapping[str, str] = field(default_factory=dict)
    conflict_code: str = ""
    conflict: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a tenant is imported as, and why.

    Attributes:
        resumes: Whether the reconciler may drive it on by itself.
        drift: Steps of a finished tenant that are not as they should be.
        why: The reason, in plain words.
        code: Stable code of the hold or of the reason.
        following: The next command, without the tenant's id; "" if there is none.
    """

    imported_as: ImportedAs
    why: str
    code: str = ""
    resumes: bool = False
    drift: tuple[str, ...] = ()
    following: str = ""


def decide(tenant: LegacyTenant, look: Look, *, required: frozenset[str], alone: bool) -> Decision:
    """Decide what an old tenant is imported as.

    Args:
        tenant: Its old record.
        look: What was found at the engine.
        required: Keys of the blueprint's required steps.
        alone: Whether no other tenant on the site, old or new, has its company name.

    Returns:
        The decision, for any record and any look.
    """
    if look.company and not alone:
        return Decision(
            imported_as=ImportedAs.HELD,
            code=ImportCode.CONFLICT,
            why="Several tenants have this company name, and there is one Company. Decide whose "
            "it is, then adopt it for that one.",
            following="adopt",
        )
    if not tenant.was_begun:
        return _never_begun(look)
    if look.conflict_code:
        return Decision(
            imported_as=ImportedAs.HELD,
            code=ImportCode.CONFLICT,
            why=f"{look.conflict_code}: {look.conflict}",
            following="adopt",
        )
    if tenant.was_done:
        return _was_done(look, required)
    missing = sorted(look.wrong)
    if not missing:
        note = " The record was lost." if tenant.steps_done == 0 else ""
        return Decision(
            imported_as=ImportedAs.COMPLETED, why=f"Everything is there and right.{note}"
        )
    if not look.company:
        why = "The engine holds nothing of it, so it begins anew."
    else:
        why = f"Not there or not right yet: {', '.join(missing)}."
    if tenant.runs:
        why += " The old run was interrupted."
    return Decision(
        imported_as=ImportedAs.STOPPED, code=ImportCode.UNFINISHED, why=why, resumes=True
    )


def with_draft_tills(decision: Decision, drafts: Sequence[str]) -> Decision:
    """Say that the till was left a draft: the old system called that opened, and nobody can sell.

    Nothing is done about them: which of them counts, and who opens the till, nobody knows here.

    Args:
        decision: What the tenant is imported as.
        drafts: The names of the drafts, of which five are told.

    Returns:
        The decision with the reason completed; the same one if there are no drafts.
    """
    if not drafts:
        return decision
    named = ", ".join(drafts[:_MOST_NAMED]) + (" and more" if len(drafts) > _MOST_NAMED else "")
    said = (
        f"Its till was never opened, only drafted ({named}): submit one in ERPNext, and delete "
        "the others."
    )
    return replace(decision, why=f"{decision.why} {said}")


def under_another_name(traced: Collection[CompanyTraced]) -> Decision:
    """Decide on a tenant whose Company is missing, if evidence points to others but proves none."""
    named = ", ".join(
        f"{each.name!r} ({each.abbreviation}"
        + (f"; {', '.join(each.proofs)}" if each.proofs else "")
        + ")"
        for each in sorted(traced, key=lambda each: each.name)
    )
    return Decision(
        imported_as=ImportedAs.HELD,
        code=ImportCode.OTHER_NAME,
        why="The engine has no Company of its name, and what the old record says leads to "
        f"{named}: was it renamed? If it is this tenant's, give it the tenant's name in ERPNext "
        "again, then adopt it.",
        following="adopt",
    )


def hold_of(decision: Decision, at: datetime) -> Hold:
    """Return the hold of a tenant that an import leaves to a person.

    Args:
        decision: Its code and reason become the hold's reason.
        at: The time of the import.
    """
    return Hold(reason=f"{decision.code}: {decision.why}", by=IMPORTED, since=at)


def is_of_import(hold: Hold | None) -> bool:
    """Tell whether an import left the tenant to a person."""
    return hold is not None and hold.by == IMPORTED


def waits_for_adoption(hold: Hold | None) -> bool:
    """Tell whether an import held the tenant until somebody says whose a Company is.

    Continue would only come upon that Company, and stop.
    """
    return _code_of(hold) in _ADOPTED


def lost_its_company(hold: Hold | None) -> bool:
    """Tell whether an import held a shop whose Company is gone.

    Continue would look for that Company, and stop.
    """
    return _code_of(hold) == ImportCode.COMPANY_GONE


def _code_of(hold: Hold | None) -> str:
    """Return the code that `hold_of` wrote; "" if no import holds the tenant."""
    return hold.reason.partition(":")[0] if hold is not None and is_of_import(hold) else ""


def _never_begun(look: Look) -> Decision:
    if look.company:
        return Decision(
            imported_as=ImportedAs.HELD,
            code=ImportCode.NEEDS_BINDING,
            why="It was never begun, yet a Company of its name is there: probably made along "
            "with the tenant. Look at it, then adopt it.",
            following="adopt",
        )
    return Decision(imported_as=ImportedAs.PENDING, why="It was never begun.", following="continue")


def _was_done(look: Look, required: frozenset[str]) -> Decision:
    if not look.company:
        return Decision(
            imported_as=ImportedAs.HELD,
            code=ImportCode.COMPANY_GONE,
            why="The record says that it was made, but the engine has no such Company. Is it the "
            "right site? Was the Company deleted? Nothing is made anew automatically.",
            following="diagnose",
        )
    wrong = frozenset(look.wrong)
    needed = sorted(wrong & (required - OPTIONAL_HERE))
    if needed:
        return Decision(
            imported_as=ImportedAs.STOPPED,
            code=ImportCode.NOT_AS_RECORDED,
            why=f"The record says done, and these are not: {', '.join(needed)}.",
            following="continue",
        )
    drift = tuple(sorted(wrong))
    why = "Everything a shop needs is there and right."
    if drift:
        why += f" Drift: {', '.join(drift)}."
    return Decision(imported_as=ImportedAs.COMPLETED, why=why, drift=drift)
