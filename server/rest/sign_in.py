"""The sign-in routes of the old API: a token for an e-mail address and a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from server.errors import NotSignedIn
from server.limits import MAX_OLD_PAGE
from server.model.access import MembershipStatus
from server.model.actor import Role
from server.rest import bodies, documented, people
from server.rest.answers import NOT_A_MEMBER, UNAUTHORIZED, CompactJson, Refusal, refusal_of
from server.rest.words import IN_USE, legacy_status
from server.store.tenant_pages import TenantFilter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from server.model.access import User
    from server.rest.parts import Parts
    from server.store.tenant_pages import ListedTenant


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/auth", tags=["sign-in"])

    @router.post("/login", **documented.SIGN_IN)
    async def sign_in(request: Request) -> CompactJson:
        """Sign in with an e-mail address and a password."""
        return await _answer(
            lambda: _sign_in(parts, request), refused="Incorrect email or password"
        )

    @router.post("/v1/login-with-tenant", **documented.SIGN_IN_TO_TENANT)
    async def sign_in_to_tenant(request: Request) -> CompactJson:
        """Sign in to one tenant: the one that is named, or the user's only one."""
        return await _answer(
            lambda: _sign_in_to_tenant(parts, request), refused="Invalid credentials"
        )

    @router.get("/me/memberships", **documented.MEMBERSHIPS)
    async def memberships(request: Request) -> CompactJson:
        """List the tenants that the caller belongs to."""
        return await _answer(lambda: _memberships(parts, request), refused=UNAUTHORIZED)

    return router


async def _answer(work: Callable[[], Awaitable[object]], *, refused: str) -> CompactJson:
    try:
        return CompactJson(await work())
    except NotSignedIn:
        return Refusal(401, refused, {"WWW-Authenticate": "Bearer"}).answer()
    except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
        return refusal_of(error, kind="sign_in_error").answer()


async def _sign_in(parts: Parts, request: Request) -> Mapping[str, Any]:
    sent = await bodies.read(request, bodies.SignIn)
    parts.doorman.passer_by(request)
    signed = await parts.access.sign_in.sign_in(
        sent.email, sent.password, origin=people.origin_of(request)
    )
    user = signed.user
    return {
        "access_token": signed.token.text.get_secret_value(),
        "token_type": "bearer",
        "user_id": user.id,
        "user_code": user.code,
        "email": user.email,
        "full_name": user.full_name,
        "kyc_tier": user.kyc_tier,
        "tenants": [people.reference(each) for each in await _tenants_of(parts, user)],
    }


async def _sign_in_to_tenant(parts: Parts, request: Request) -> Mapping[str, Any]:
    sent = await bodies.read(request, bodies.SignInToTenant)
    parts.doorman.passer_by(request)
    signed = await parts.access.sign_in.sign_in(
        sent.email, sent.password, origin=people.origin_of(request)
    )
    found = await _tenants_of(parts, signed.user)
    references = [people.reference(each) for each in found]
    wanted = (sent.tenant_id or "").strip().lower()
    chosen = [each for each in references if each["id"] == wanted] if wanted else references
    if wanted and not chosen:
        raise Refusal(403, NOT_A_MEMBER)
    if len(chosen) != 1:
        return {
            "message": "Select a tenant",
            "tenants": references,
            "require_tenant_selection": True,
        }
    tenant = chosen[0]
    roles = await _roles_in(parts, signed.user, tenant["id"])
    token = parts.access.tokens.tenant(
        signed.user, tenant_id=tenant["id"], tenant_code=tenant["code"], roles=roles
    )
    return {
        "access_token": token.text.get_secret_value(),
        "token_type": "bearer",
        "tenant": tenant,
    }


async def _tenants_of(parts: Parts, user: User) -> list[ListedTenant]:
    """Return the tenants a user works with, newest first."""
    ids = None
    if not (user.all_tenants and user.role is Role.ADMIN):
        ids = [
            each.tenant_id
            for each in await parts.access.users.memberships(user.id)
            if each.status is MembershipStatus.ACTIVE
        ]
    wanted = TenantFilter(free=IN_USE, held=IN_USE, ids=ids)
    _, found = await parts.pages.page(wanted, skip=0, limit=MAX_OLD_PAGE)
    if ids is None:
        return found
    # Newest membership first.
    return sorted(found, key=lambda tenant: ids.index(tenant.id))


async def _roles_in(parts: Parts, user: User, tenant_id: str) -> list[str]:
    for each in await parts.access.users.memberships(user.id):
        if each.tenant_id == tenant_id and each.status is MembershipStatus.ACTIVE:
            return [each.role]
    return [people.AS_ADMIN]


async def _memberships(parts: Parts, request: Request) -> list[Mapping[str, Any]]:
    actor = await parts.identify(request)
    user = await parts.access.users.by_id(actor.user_id) if actor.user_id else None
    if user is None:
        # A machine's key, or a caller on this machine where nobody needs to sign in.
        return []
    memberships = await parts.access.users.memberships(user.id)
    ids = [each.tenant_id for each in memberships][:MAX_OLD_PAGE]
    _, found = await parts.pages.page(TenantFilter(ids=ids), skip=0, limit=MAX_OLD_PAGE)
    by_id = {tenant.id: tenant for tenant in found}
    return [
        {
            **people.reference(tenant),
            "status": legacy_status(tenant.state, held=tenant.held).value,
            "role": each.role,
            "membership_status": each.status.value,
        }
        for each in memberships
        if (tenant := by_id.get(each.tenant_id)) is not None
    ]
