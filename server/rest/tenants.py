"""The tenant routes of the old API: sign-up, list, invitation.

The answer to a sign-up has only one `"id":"`, the tenant's, because scripts take every one for it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query, Request

from server.access.passwords import check_password
from server.access.users import check_email
from server.errors import NotAllowed, NotFound
from server.limits import DEFAULT_OLD_PAGE, MAX_OLD_PAGE
from server.model.states import TenantState
from server.rest import bodies, documented, people
from server.rest.answers import CompactJson, Refusal, refusal_of, typed
from server.rest.parts import Parts, checked_id
from server.rest.words import IN_USE, LegacyStatus, legacy_status, parse_status, time_text
from server.store.tenant_pages import TenantFilter
from server.validation import RawSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.actor import Actor
    from server.store.tenant_pages import ListedTenant

_FIELDS = {"company_name": "name", "email": "admin_email", "password": "admin_password"}
# The old server's word for a tenant in use, whatever became of its provisioning.
_IN_USE = "ACTIVE"
_WORDS = f"{', '.join(LegacyStatus)} or {_IN_USE}"
_NO_ENGINE = typed(
    "engine_unstable",
    "Engine not stable. No engine is configured here: set PROVISIONER_ENGINES_FILE.",
    engine=people.ERPNEXT_KIND,
    status="not_provisioned",
)


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/iam/tenants", tags=["tenants"])

    @router.post("", **documented.CREATE)
    async def create(request: Request) -> CompactJson:
        """Register a tenant; with engine "erpnext" its provisioning starts at once."""
        try:
            return await _create(parts, request)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="tenant_error", fields=_FIELDS).answer()

    @router.get("", **documented.LIST)
    async def list_tenants(
        request: Request,
        skip: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_OLD_PAGE)] = DEFAULT_OLD_PAGE,
        status: Annotated[str, Query(max_length=40, description=f"One of {_WORDS}.")] = "",
        engine: Annotated[str, Query(max_length=40)] = "",
    ) -> CompactJson:
        """List tenants, newest first; only for callers who see all of them."""
        try:
            actor = await parts.identify(request)
            await parts.admit(actor, "ListTenants")
            _demand_all(actor)
            wanted = _filter(status, engine)
            total, found = await parts.pages.page(wanted, skip=skip, limit=limit)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="tenant_error").answer()
        lines = [_line(tenant) for tenant in found]
        return CompactJson({"total": total, "tenants": lines, "skip": skip, "limit": limit})

    @router.post("/{tenant_id}/invite", **documented.INVITE)
    async def invite(request: Request, tenant_id: str) -> CompactJson:
        """Invite somebody to a tenant."""
        try:
            return await _invite(parts, request, tenant_id)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="invitation_error").answer()

    return router


async def _create(parts: Parts, request: Request) -> CompactJson:
    actor = await parts.doorman.registrant(request)
    await parts.admit(actor, "CreateTenant")
    sent = await bodies.read(request, bodies.NewTenant)
    # Checked first, so that these errors name the fields of the old request.
    check_email(sent.admin_email)
    check_password(sent.admin_password, "password")
    facts = {"category": sent.category, "description": sent.description or ""}
    who = people.SigningUp(parts.access, actor, sent)
    kind = sent.engine.strip().lower()
    # "erpnext" means the default engine; an engine may also be named by its own id.
    by_name = {people.ERPNEXT_KIND: parts.gates.default_engine} | {
        each: each for each in parts.gates.engine_ids
    }
    if kind in by_name:
        engine_id = by_name[kind]
        if engine_id is None:
            raise Refusal(503, _NO_ENGINE)
        tenant_id = await parts.commands.start(
            actor,
            RawSpec(
                company_name=sent.name,
                country_code=sent.country_code.strip() or None,
                engine_id=engine_id,
            ),
            facts=facts,
            household=who.household,
        )
    else:
        tenant_id = await parts.commands.register_elsewhere(
            actor,
            name=sent.name,
            country_code=sent.country_code,
            kind=kind,
            facts=facts,
            household=who.household,
        )
    parts.access.users.moved_in()
    _, made = await parts.pages.page(TenantFilter(ids=(tenant_id,)), skip=0, limit=1)
    return CompactJson(
        _created(
            sent, made[0], who, parts.first_steps[made[0].engine_id] if kind in by_name else ()
        )
    )


def _created(
    sent: bodies.NewTenant,
    tenant: ListedTenant,
    who: people.SigningUp,
    steps: tuple[str, ...],
) -> Mapping[str, Any]:
    names = people.reference(tenant)
    answer: dict[str, Any] = {
        "message": "Tenant created successfully",
        "tenant": {
            "id": names["id"],
            "code": names["code"],
            "name": names["name"],
            "category": sent.category,
            "description": sent.description,
            "engine": names["engine"],
        },
        "owner": {"code": who.owner.code, "email": who.owner.email, "role": people.AS_OWNER},
        "admin": {"code": who.admin.code, "email": who.admin.email, "role": people.AS_ADMIN},
    }
    if steps:
        answer["company"] = {
            "created": False,
            "name": tenant.name,
            "message": "Company will be created by provisioning",
        }
        # As it was when the run was opened: by now it may be further.
        answer["provisioning"] = {
            "status": LegacyStatus.IN_PROGRESS.value,
            "progress": 0,
            "current_step": steps[0],
            "steps_completed": 0,
            "total_steps": len(steps),
            "message": "Provisioning started in background",
        }
    return answer


async def _invite(parts: Parts, request: Request, tenant_id: str) -> CompactJson:
    actor = await parts.doorman.registrant(request)
    if parts.doorman.compat:
        # Whatever tenants the caller sees: old clients invite without signing in.
        checked = checked_id(tenant_id)
    else:
        await parts.admit(actor, "InviteMember")
        checked = await parts.tenant_of(actor, tenant_id)
    sent = await bodies.read(request, bodies.Invitation)
    if not await parts.access.store.tenant_exists(checked):
        raise NotFound("Tenant not found")
    made = await people.invite(
        parts.access,
        actor,
        checked,
        email=sent.email,
        full_name=sent.full_name,
        role=sent.role.strip() or "CASHIER",
    )
    if made is None:
        raise Refusal(409, "This user is an active member of the tenant already.")
    return CompactJson(
        {
            "message": "Invitation created",
            "invitation_code": made.code,
            "user_code": made.user.code,
            "type": made.kind,
        }
    )


def _demand_all(actor: Actor) -> None:
    if actor.scope is not None:
        raise NotAllowed("Only a super admin may list all tenants.")


def _filter(status: str, engine: str) -> TenantFilter:
    """Return the filter that a status and an engine ask for.

    Raises:
        Refusal: 422: there is no such status, or there can be no engine of that name.
    """
    kind = engine.strip().lower()
    if not kind.isprintable():
        raise _no_filter("engine", "This can't be an engine's name. Send one such as erpnext.")
    wanted = TenantFilter(
        at_site=None if not kind else kind == people.ERPNEXT_KIND,
        engine_id=None if kind in {"", people.ERPNEXT_KIND} else kind,
    )
    if not status.strip():
        return wanted
    if status.strip().upper() == _IN_USE:
        return replace(wanted, free=IN_USE, held=IN_USE)
    word = parse_status(status)
    if word is None:
        raise _no_filter("status", f"There is no such status. Send one of {_WORDS}.")
    return replace(
        wanted,
        free=frozenset(each for each in TenantState if legacy_status(each, held=False) is word),
        held=frozenset(each for each in TenantState if legacy_status(each, held=True) is word),
    )


def _no_filter(name: str, why: str) -> Refusal:
    return Refusal(422, [{"loc": ["query", name], "msg": why, "type": "enum"}])


def _line(tenant: ListedTenant) -> Mapping[str, Any]:
    names = people.reference(tenant)
    owner = tenant.owner
    return {
        "id": names["id"],
        "tenant_code": names["code"],
        "name": names["name"],
        "country_code": tenant.country_code,
        "status": legacy_status(tenant.state, held=tenant.held).value,
        "engine": names["engine"],
        "member_count": tenant.member_count,
        "owner": None
        if owner is None
        else {"id": owner.id, "email": owner.email, "full_name": owner.full_name},
        "created_at": time_text(tenant.created_at),
    }
