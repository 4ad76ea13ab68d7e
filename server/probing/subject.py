"""What is examined: a tenant with its record, or a spec that is nobody's yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from server.errors import Refused
from server.model.ownership import resource_key
from server.model.unreadable import SPEC_UNREADABLE, say_again, why_unreadable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from server.model.ownership import Resource
    from server.model.records import Tenant
    from server.model.spec import TenantSpec
    from server.store.claims import Claim

    IsBound = Callable[[str], Awaitable[bool]]


async def _to_nobody(_abbreviation: str) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a look must know about the tenant or spec.

    Attributes:
        spec: What it should have.
        tenant_id: Whose record this is; "" for a spec that is nobody's yet.
        abbreviation: The bound abbreviation, or None.
        resources: What the record says about documents, by `resource_key`.
        passed_company_step: Whether any record says that step_2 was passed.
        completed_once: Whether the tenant was ever COMPLETED.
        only_tenant_of_name: Whether no other tenant of the site has that company name.
        is_bound_elsewhere: Tells whether another tenant of the site is bound to an abbreviation.
        left_out: Steps that a person ordered to leave out, with the reason given: nothing of
            theirs is missing.
        restored_to: The moments to which the database was restored, if a removal is foretold.
    """

    spec: TenantSpec
    tenant_id: str = ""
    abbreviation: str | None = None
    resources: Mapping[tuple[str, str], Resource] = field(default_factory=dict)
    passed_company_step: bool = False
    completed_once: bool = False
    only_tenant_of_name: bool = True
    is_bound_elsewhere: IsBound = _to_nobody
    left_out: Mapping[str, str] = field(default_factory=dict)
    restored_to: Sequence[datetime] = ()


def subject_of(claim: Claim, is_bound_elsewhere: IsBound) -> Subject:
    """Return a tenant as its record describes it.

    Args:
        claim: Its record.
        is_bound_elsewhere: Tells whether another tenant of the site is bound to an abbreviation.
    """
    tenant = claim.record.tenant
    return Subject(
        spec=tenant.spec,
        tenant_id=tenant.id,
        abbreviation=claim.abbreviation,
        resources={resource_key(each.doctype, each.name): each for each in claim.resources},
        passed_company_step=claim.passed_step,
        completed_once=tenant.first_completed_at is not None,
        only_tenant_of_name=claim.only_tenant_of_name,
        is_bound_elsewhere=is_bound_elsewhere,
        left_out={step.key: step.note for step in claim.record.steps if step.left_out_by_person},
    )


def demand_readable(tenant: Tenant) -> None:
    """Refuse a tenant whose spec can't be read, rather than compare the site with defaults.

    Raises:
        Refused: SPEC_UNREADABLE, with the command that helps.
    """
    if tenant.spec_damage:
        raise Refused(
            why_unreadable(tenant),
            code=SPEC_UNREADABLE,
            facts={"next_command": say_again(tenant)},
        )
