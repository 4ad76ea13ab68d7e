"""Reports what became of each old tenant, in words and as plain data."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.model.legacy import ImportedAs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.model.legacy import Decision, LegacyTenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of one old tenant.

    Attributes:
        imported_as: Its state here, or NOT_IMPORTED, UNCHANGED (here already), SKIPPED.
        differs: How that differs from what the old record said; "" if it does not.
    """

    tenant_id: str
    name: str
    recorded: str
    imported_as: str
    why: str
    differs: str = ""
    following: str = ""

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody must look at it."""
        return self.imported_as in {ImportedAs.NOT_IMPORTED, ImportedAs.HELD}


def as_decided(tenant: LegacyTenant, decision: Decision, state: str) -> Imported:
    """Return what was decided, and how it differs from the old state."""
    held = decision.imported_as is ImportedAs.HELD
    named = "HELD" if held else state
    recorded = tenant.onboarding_word or tenant.word or "NOT_STARTED"
    same = {"PROVISIONED": "COMPLETED", "NOT_STARTED": "PENDING"}.get(recorded, recorded)
    return Imported(
        tenant_id=tenant.id,
        name=tenant.name,
        recorded=f"{tenant.words}, {tenant.steps_done} steps",
        imported_as=named,
        why=decision.why,
        differs="" if same == named else f"{recorded} -> {named}",
        following=f"provisioner {decision.following} {tenant.id}" if decision.following else "",
    )


def told(tenant: LegacyTenant, imported_as: str, why: str) -> Imported:
    """Return the report on a tenant about which nothing was decided."""
    return Imported(
        tenant_id=tenant.id,
        name=tenant.name,
        recorded=f"{tenant.words}, {tenant.steps_done} steps",
        imported_as=imported_as,
        why=why,
    )


def as_facts(done: Sequence[Imported], *, of: int, dry_run: bool) -> dict[str, object]:
    """Return what became of the tenants as plain data, for JSON.

    Args:
        done: The tenants that were decided about.
        of: How many tenants the old system has.
        dry_run: Whether nothing was written.
    """
    return {
        "dry_run": dry_run,
        "left": of - len(done),
        "tenants": [
            {
                "tenant_id": each.tenant_id,
                "name": each.name,
                "recorded": each.recorded,
                "imported_as": str(each.imported_as),
                "why": each.why,
                "differs": each.differs,
                "next": each.following,
            }
            for each in done
        ],
        "totals": dict(sorted(Counter(str(each.imported_as) for each in done).items())),
    }


def paragraph(each: Imported, *, number: int, of: int) -> str:
    """Return what became of a tenant as text.

    Args:
        each: What became of it.
        number: How many tenants have been decided about, with this one.
        of: How many tenants the old system has.
    """
    name = f"{_in_line(each.tenant_id)}  {_in_line(each.name)}"
    lines = [f"{each.imported_as!s:<13} {name}  ({number} of {of})"]
    lines.append(f"{'':<13} recorded: {each.recorded}")
    if each.differs:
        lines.append(f"{'':<13} differs: {each.differs}")
    lines.append(f"{'':<13} {_in_line(each.why)}")
    if each.following:
        lines.append(f"{'':<13} next: {each.following}")
    return "\n".join(lines)


def totals(done: Sequence[Imported], *, of: int, dry_run: bool) -> str:
    """Return the line below the paragraphs; the arguments are those of `as_facts`."""
    counts = Counter(str(each.imported_as) for each in done)
    counted = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
    said = "Nothing was written: --dry-run." if dry_run else "Imported."
    if len(done) == of:
        return f"{said} {counted or 'No tenants there.'}"
    stopped = f"Stopped after {len(done)} of {of} tenants. {said} {counted}".rstrip()
    return stopped if dry_run else f"{stopped}\nThe same command goes on with the others."


def _in_line(words: str) -> str:
    """Keep words of the old record from starting a new line, which would read as ours."""
    return words.replace("\n", "\\n")
