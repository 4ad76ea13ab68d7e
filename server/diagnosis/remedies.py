"""The order that helps against a cause, as a call and as a command line.

In each function `tenant` is the one to move, as it was read: orders name its revision, so that one
that has moved since refuses them. `says` is what to do, in plain words; `alone` is whether the
order alone is enough.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from server.diagnosis.causes import Remedy
from server.erpnext.codes import MEANINGS, Code
from server.model import elsewhere
from server.model.unreadable import SPEC_UNREADABLE, say_again

if TYPE_CHECKING:
    from server.model.records import Tenant
    from server.model.undo import UndoOptions

_REASON = "diagnosed"
COMPANY_STEP = "step_2_company"
VANISHED = "COMPANY_VANISHED"

# Permanent errors that only a retry of this step overcomes: Continue takes steps that are done as
# they are, and would end the same way.
_RETRY_STEP = {
    Code.COMPANY_MISSING: COMPANY_STEP,
    # It names what is wrong with steps that are done, so all are checked again.
    Code.FINAL_CHECK_FAILED: "",
}
# No order for this tenant overcomes these, because its spec can't be changed.
_ANOTHER_TENANT = frozenset({Code.NAME_REFUSED, Code.COMPANY_NAME_TOO_LONG})


def watch(tenant: Tenant, says: str) -> Remedy:
    """Return "watch it": it goes on by itself."""
    return Remedy(says=says, command=f"provisioner status {_quoted(tenant)} --watch")


def verify(tenant: Tenant, says: str) -> Remedy:
    """Return "fix it by hand, then verify": no order helps."""
    return Remedy(says=says, command=f"provisioner verify {_quoted(tenant)}")


def nothing(says: str) -> Remedy:
    """Return "there is nothing to order"."""
    return Remedy(says=says)


def continue_(tenant: Tenant, says: str, *, alone: bool = False) -> Remedy:
    """Return the order to continue."""
    return Remedy(
        says=says,
        method="Continue",
        request=_terms(tenant),
        command=f"provisioner continue {_quoted(tenant)} --watch",
        alone=alone,
    )


def cancel(tenant: Tenant, says: str) -> Remedy:
    """Return the order to close a run that nobody will drive; a person orders what comes next."""
    return Remedy(
        says=says,
        method="Cancel",
        request=_terms(tenant),
        command=f"provisioner cancel {_quoted(tenant)} --reason {_REASON}",
    )


def retry(tenant: Tenant, says: str, *, step_key: str = "", alone: bool = False) -> Remedy:
    """Return the order to check steps again.

    Args:
        tenant: The tenant.
        says: What to do, in plain words.
        step_key: The step to check, with those that need it; "" for all.
        alone: Whether the order alone is enough.
    """
    step = f" --step {step_key}" if step_key else ""
    request = _terms(tenant)
    if step_key:
        request["step_key"] = step_key
    return Remedy(
        says=says,
        method="Retry",
        request=request,
        command=f"provisioner retry {_quoted(tenant)}{step} --watch",
        alone=alone,
    )


def adopt(tenant: Tenant, says: str) -> Remedy:
    """Return the order to adopt an existing Company; whoever gives it decides whose it is."""
    return Remedy(
        says=says,
        method="AdoptCompany",
        request=_terms(tenant),
        command=f"provisioner adopt {_quoted(tenant)} --watch",
    )


def start_here(tenant: Tenant, says: str) -> Remedy:
    """Return the command that starts the company here; a person decides whether it should be."""
    return Remedy(says=says, command=elsewhere.start_here(tenant))


def accept_site(tenant: Tenant, says: str) -> Remedy:
    """Return the order by which a person accepts the tenant's site as it is, for all tenants."""
    engine_id = tenant.spec.engine_id
    return Remedy(
        says=says,
        method="AcceptSite",
        request={"engine_id": engine_id, "reason": _REASON},
        command=f"provisioner accept-site {shlex.quote(engine_id)}",
    )


def release(tenant: Tenant, says: str) -> Remedy:
    """Return the order that lifts a hold and drives nothing."""
    return Remedy(
        says=says,
        method="Release",
        request=_terms(tenant),
        command=f"provisioner release {_quoted(tenant)}",
    )


def make_anew(tenant: Tenant, says: str) -> Remedy:
    """Return the command that starts a removed tenant with the same spec."""
    return Remedy(says=says, command=say_again(tenant))


def once_reached(remedy: Remedy) -> Remedy:
    """Change a remedy whose order is refused because this server lacks the tenant's engine.

    Returns:
        Words that name the command, so that nobody carries it out as it is; the remedy itself, if
        it orders nothing.
    """
    if not remedy.command or remedy.command.startswith("provisioner status "):
        return remedy
    return Remedy(says=f"First have its engine here, as said above. Then: {remedy.command}")


def deprovision(tenant: Tenant, says: str, options: UndoOptions) -> Remedy:
    """Return the order that resumes a removal which stopped half-way.

    Args:
        tenant: The tenant.
        says: What to do, in plain words.
        options: What it needs to get past where it stopped (`UndoOptions.after`).
    """
    return Remedy(
        says=says,
        method="Deprovision",
        request={**_terms(tenant), **dict.fromkeys(options.stored(), True)},
        command=f"provisioner deprovision {_quoted(tenant)}{options.flags} --watch",
    )


def after_permanent(tenant: Tenant, code: str) -> Remedy:
    """Return what a person does about an error that trying again does not cure.

    Args:
        tenant: Whose run stopped at it.
        code: The error, be it one of ours or a word that somebody wrote into the row.
    """
    known = MEANINGS.get(Code(code)) if code in Code.__members__ else None
    says = known.remedy if known else "Fix what the message names, then continue."
    if code == Code.COMPANY_NOT_OURS:
        return adopt(
            tenant,
            f"{says} If it is this tenant's after all, adopt it: the checks are shown first.",
        )
    if code == SPEC_UNREADABLE and not tenant.spec_damage:
        return continue_(tenant, "Its spec was stated again: continue drives it on with that.")
    if code == SPEC_UNREADABLE:
        return Remedy(
            says=(
                "State the spec again, filling in what stands in capitals (an existing Company "
                f"shows country and currency); then: provisioner continue {_quoted(tenant)}"
            ),
            command=say_again(tenant),
        )
    if code in _ANOTHER_TENANT:
        return Remedy(
            says=f"{says} This one can be removed.",
            method="Deprovision",
            request=_terms(tenant),
            command=f"provisioner deprovision {_quoted(tenant)} --watch",
        )
    step_key = _RETRY_STEP.get(Code(code)) if code in Code.__members__ else None
    if step_key is not None:
        return retry(tenant, says, step_key=step_key)
    return continue_(tenant, says)


def after_passing(tenant: Tenant, code: str, again: str) -> Remedy:
    """Return what to do about an error that may have passed, and what to do if it has not.

    Args:
        tenant: Whose run stopped at it.
        code: The error.
        again: A sentence that says when it is driven on automatically, or "".
    """
    says = f"Continue it now, with fresh tries.{again}"
    known = MEANINGS.get(Code(code)) if code in Code.__members__ else None
    if known is not None and not known.remedy.startswith("Nothing:"):
        says += f" If it stops there again: {known.remedy}"
    return continue_(tenant, says, alone=True)


def after_vanished(tenant: Tenant, *, there: bool | None) -> Remedy:
    """Return what a person does about a Company that is gone, given what the engine holds now.

    If it is still gone, Continue would stop at the same error, and a third such tenant shuts the
    site's gate. Making an empty Company is only shown as a command; `fix` never gives it.

    Args:
        tenant: Whose Company it was.
        there: Whether the engine has it again; None if it did not say.
    """
    if there is None:
        return after_permanent(tenant, VANISHED)
    if there:
        return continue_(tenant, "It exists again: continue, which lifts the hold.")
    tenant_id = _quoted(tenant)
    return Remedy(
        says=(
            "Find out where it went: a restored backup, the wrong site, renamed or deleted by "
            "hand? To get it back, rename it back or restore it from a backup of the site, then: "
            f"provisioner continue {tenant_id}. Only if it is gone for good: the next command "
            "makes a new and empty one."
        ),
        command=f"provisioner retry {tenant_id} --step {COMPANY_STEP} --watch",
    )


def after_vanished_shop(tenant: Tenant) -> Remedy:
    """Return what a person does about a Company that a finished tenant had and that is gone.

    No order is named that `fix` would give: it would make an empty Company in place of a shop.
    """
    tenant_id = _quoted(tenant)
    return verify(
        tenant,
        "Find out where it went: a restored backup, the wrong site, renamed or deleted by hand? "
        f"Only if it is gone for good: provisioner retry {tenant_id} --step {COMPANY_STEP} makes a "
        "new and empty one. Otherwise rename it back or restore it from a backup of the site, and "
        "look again.",
    )


def _terms(tenant: Tenant) -> dict[str, Any]:  # Any: JSON values
    """Return what every order carries: the tenant, the revision it is based on, and why."""
    return {"tenant_id": tenant.id, "expected_revision": tenant.revision, "reason": _REASON}


def _quoted(tenant: Tenant) -> str:
    return shlex.quote(tenant.id)
