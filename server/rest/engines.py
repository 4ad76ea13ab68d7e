"""The engine routes of the old API: whether engines take work, as their prober last saw.

No caller waits for an engine. Hosts and users of engines are never told.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request

from server.errors import InvalidInput
from server.model.states import GateState
from server.queries.gates import is_open
from server.rest import bodies, documented, people
from server.rest.answers import (
    NOT_A_MEMBER,
    TENANT_UNKNOWN,
    CompactJson,
    Refusal,
    refusal_of,
)
from server.rest.words import plain, time_text
from server.store.tenant_pages import TenantFilter
from server.validation import validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.actor import Actor
    from server.rest.parts import Parts
    from server.store.found import Gate
    from server.store.tenant_pages import ListedTenant

_WORKS = "The engine takes work."
_ENGINE_WORDS = {
    GateState.UP: "online",
    GateState.DOWN: "offline",
    GateState.MISCONFIGURED: "degraded",
}


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["engines"])

    @router.get("/erpnext/health", **documented.ENGINE_HEALTH)
    async def engine_health(request: Request) -> CompactJson:
        """Return whether the default engine takes work; a 503 has the same facts."""
        try:
            await parts.identify(request)
            gate = await parts.gates.of_default()
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="health_error").answer()
        facts = _facts(parts.gates.default_engine, gate)
        if facts["authenticated"]:
            return CompactJson(facts)
        return Refusal(503, facts).answer()

    @router.post("/auth/engine-health", **documented.ENGINES_HEALTH)
    async def engines_health(request: Request) -> CompactJson:
        """Return whether the engines of some tenants take work."""
        try:
            actor = await parts.identify(request)
            sent = await bodies.read(request, bodies.TenantIds)
            results = await _results(parts, actor, sent.tenant_ids)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="health_error").answer()
        return CompactJson({"results": results})

    return router


def _facts(engine_id: str | None, gate: Gate | None) -> dict[str, Any]:
    works = engine_id is not None and is_open(gate)
    message = _WORKS
    if engine_id is None:
        message = "No engine is configured here."
    elif gate is not None and not works:
        message = gate.message or "It does not answer."
    return {
        "erpnext_host": None,
        "erpnext_site": engine_id,
        "erpnext_user": None,
        "tenant_id": None,
        "resolved_site": engine_id,
        # A misconfigured engine answers, but we can't work with it.
        "connected": works or (gate is not None and gate.state is GateState.MISCONFIGURED),
        "authenticated": works,
        "error": None if works else (gate.code if gate else "ENGINE_NOT_CONFIGURED"),
        "message": plain(message),
    }


async def _results(parts: Parts, actor: Actor, sent: list[str]) -> Mapping[str, Any]:
    wanted: dict[str, str] = {}
    results: dict[str, Any] = {}
    now = time_text(datetime.now(UTC))
    for text in dict.fromkeys(sent):
        try:
            wanted[text] = validate_tenant_id(text)
        except InvalidInput:
            results[text] = _result("error", None, "This is no tenant's id.", now)
    ids = list(wanted.values())
    _, found = await parts.pages.page(TenantFilter(ids=ids), skip=0, limit=max(len(ids), 1))
    by_id = {tenant.id: tenant for tenant in found}
    gates = await parts.gates.by_site()
    for text, tenant_id in wanted.items():
        if (tenant := by_id.get(tenant_id)) is None:
            results[text] = _result("not_found", None, TENANT_UNKNOWN, now)
        elif not actor.sees(tenant_id):
            results[text] = _result("unauthorized", None, NOT_A_MEMBER, now)
        else:
            results[text] = _of_tenant(tenant, gates.get(tenant.site), now)
    return results


def _of_tenant(tenant: ListedTenant, gate: Gate | None, now: str | None) -> Mapping[str, Any]:
    kind = people.engine_kind(tenant)
    if not tenant.site:
        return _result("not_provisioned", kind, f"Nothing is provisioned on {kind} here.", now)
    if gate is None or is_open(gate):
        return _result("online", kind, _WORKS, now, error=None)
    return _result(_ENGINE_WORDS[gate.state], kind, gate.message or "It does not answer.", now)


def _result(
    status: str, kind: str | None, message: str, now: str | None, *, error: str | None = ""
) -> Mapping[str, Any]:
    said = plain(message)
    return {
        "status": status,
        "engine": kind,
        "message": said,
        "checked_at": now,
        "response_time_ms": None,
        "error": said if error == "" else error,
    }
