"""The provisioning routes of the old API: where a tenant stands, and orders for it.

Nothing here waits for an engine: whether one takes work is read where its prober recorded it. An
order is durable when it is answered, so the next status shows it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from server.commands import BeginOptions, OrderTerms, chart_of
from server.errors import NotFound, NotSignedIn
from server.model.actor import Right, Role
from server.model.blueprint import BLUEPRINTS
from server.model.states import DONE_STEP_STATES, GateState, TenantState
from server.queries.gates import is_open
from server.rest import bodies, documented
from server.rest.answers import (
    RECORD_UNKNOWN,
    TENANT_UNKNOWN,
    CompactJson,
    Refusal,
    compact,
    refusal_of,
    typed,
)
from server.rest.parts import checked_id
from server.rest.words import DEMO_STEP, NO_RECORD, log_lines, status_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.queries import Answer, Status
    from server.rest.parts import Parts
    from server.store.found import Gate

_PATH = "/provisioning/tenants/{tenant_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One of the orders.

    Attributes:
        error: The answer's `type` if the error is the server's own.
        unknown: The answer for a tenant that does not exist.
    """

    error: str
    unknown: str = RECORD_UNKNOWN


_START = _Kind(error="provisioning_error", unknown=TENANT_UNKNOWN)
_RETRY = _Kind(error="retry_error")
_CONTINUE = _Kind(error="continue_error")
_SKIP = _Kind(error="skip_error")
_NOT_SKIPPABLE = "step_not_skippable"

# The old clients' words for an engine that takes no work now.
_ENGINE_WORDS = {GateState.DOWN: "offline", GateState.MISCONFIGURED: "degraded"}


def routes(parts: Parts) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix=_PATH, tags=["provisioning"])
    desk = _Desk(parts)
    router.add_api_route("/status", desk.status, methods=["GET"], **documented.STATUS)
    router.add_api_route("/start", desk.start, methods=["POST"], **documented.START)
    router.add_api_route("/retry", desk.retry, methods=["POST"], **documented.RETRY)
    router.add_api_route("/continue", desk.drive_on, methods=["POST"], **documented.CONTINUE)
    router.add_api_route("/skip-step", desk.skip_step, methods=["POST"], **documented.SKIP_STEP)
    router.add_api_route("/logs", desk.logs, methods=["GET"], **documented.LOGS)
    return router


class _Desk:
    """Answers the routes' requests."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def start(self, request: Request, tenant_id: str) -> CompactJson:
        """Start a registered tenant with options, or resume one that was started.

        What is done stays done, because the engine is probed. The answer is 409 if the tenant was
        started with other options, or is in motion.
        """

        async def give(actor: Actor, checked: TenantId) -> None:
            sent = await bodies.read(request, bodies.StartOptions)
            await self._demand_movable(actor, checked, _START)
            options = BeginOptions(
                include_demo_data=sent.include_demo_data,
                pos_store_enabled=sent.pos_store_enabled,
                chart_template=chart_of(sent.country_template),
            )
            await self._parts.commands.begin(actor, checked, options)

        return await self._order(request, tenant_id, _START, give)

    async def retry(self, request: Request, tenant_id: str) -> CompactJson:
        """Check all steps again, or one and those that need it; make what is missing or wrong."""

        async def give(actor: Actor, checked: TenantId) -> None:
            sent = await bodies.read(request, bodies.RetryOptions)
            await self._demand_movable(actor, checked, _RETRY)
            await self._parts.commands.retry(actor, checked, OrderTerms(), step_key=sent.step or "")

        return await self._order(request, tenant_id, _RETRY, give)

    async def drive_on(self, request: Request, tenant_id: str) -> CompactJson:
        """Do the steps that are not done; a COMPLETED tenant stays as it is. A body is ignored."""

        async def give(actor: Actor, checked: TenantId) -> None:
            await self._demand_movable(actor, checked, _CONTINUE)
            await self._parts.commands.continue_(actor, checked, OrderTerms())

        return await self._order(request, tenant_id, _CONTINUE, give)

    async def skip_step(self, request: Request, tenant_id: str) -> CompactJson:
        """Leave the demo items out; every other step is needed."""

        async def give(actor: Actor, checked: TenantId) -> None:
            step = (await bodies.read(request, bodies.SkippedStep)).step
            if not actor.may(Right.ORDER, checked):
                await self._give_skip(actor, checked, step)
            found = await self._parts.queries.status(actor, checked)
            if found.run is None and found.tenant.state is TenantState.PENDING:
                raise Refusal(404, RECORD_UNKNOWN)
            if step != DEMO_STEP:
                raise Refusal(400, typed(_NOT_SKIPPABLE, _why_not_skippable(found, step)))
            row = next((each for each in found.steps if each.key == step), None)
            if row is None or row.state in DONE_STEP_STATES:
                # It is not part of the run, or is done or skipped: nothing is left to skip.
                return
            await self._give_skip(actor, checked, step)

        return await self._order(request, tenant_id, _SKIP, give)

    async def _give_skip(self, actor: Actor, tenant_id: TenantId, step: str) -> None:
        terms = OrderTerms(reason="Skipped by an old client.")
        await self._parts.commands.skip_step(actor, tenant_id, terms, step_key=step)

    async def status(self, request: Request, tenant_id: str) -> Response:
        """Return where a tenant stands; NOT_STARTED if nothing is known about it."""
        try:
            found = await self._answer(request, tenant_id)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="status_error").answer()
        if found is None:
            return CompactJson(NO_RECORD.as_json())
        if found.json is None:
            found.json = compact(status_object(found.status).as_json())
        return Response(found.json, media_type=CompactJson.media_type)

    async def logs(self, request: Request, tenant_id: str) -> CompactJson:
        """Return what became of each step, in step order."""
        try:
            found = await self._look(request, tenant_id)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="logs_error").answer()
        if found is None:
            return CompactJson({"logs": []})
        blueprint = BLUEPRINTS.get(found.run.blueprint) if found.run is not None else None
        return CompactJson({"logs": log_lines(found, blueprint.steps if blueprint else ())})

    async def _look(self, request: Request, tenant_id: str) -> Status | None:
        """Return where a tenant stands, like `_answer`."""
        found = await self._answer(request, tenant_id)
        return None if found is None else found.status

    async def _answer(self, request: Request, tenant_id: str) -> Answer | None:
        """Return where a tenant stands; None, for those who see all tenants, if it is unknown."""
        actor, checked = await self._reader(request, tenant_id)
        try:
            return await self._parts.queries.answer(actor, checked)
        except NotFound:
            if actor.scope is not None:
                raise
            return None

    async def _order(
        self,
        request: Request,
        tenant_id: str,
        kind: _Kind,
        give: Callable[[Actor, TenantId], Awaitable[None]],
    ) -> CompactJson:
        """Give an order, and answer with where the tenant stands then."""
        try:
            actor = await self._parts.identify(request)
            checked = await self._parts.tenant_of(actor, tenant_id)
            await give(actor, checked)
            found = await self._parts.queries.status(actor, checked)
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind=kind.error, unknown=kind.unknown, fields=_FIELDS).answer()
        return CompactJson(status_object(found).as_json())

    async def _reader(self, request: Request, tenant_id: str) -> tuple[Actor, TenantId]:
        """Return who reads which tenant; old clients may read one without signing in."""
        try:
            actor = await self._parts.identify(request)
        except NotSignedIn:
            # A bad token is not the same as none.
            if not self._parts.compat or "authorization" in request.headers:
                raise
            checked = checked_id(tenant_id)
            passer_by = self._parts.doorman.passer_by(request)
            return replace(passer_by, tenants={checked: Role.VIEWER}), checked
        return actor, await self._parts.tenant_of(actor, tenant_id)

    async def _demand_movable(self, actor: Actor, tenant_id: TenantId, kind: _Kind) -> None:
        """Refuse what would only wait: a tenant in motion, or one whose engine is away."""
        if not actor.may(Right.ORDER, tenant_id):
            # The order itself refuses this caller, and the audit says so, wherever the tenant
            # stands.
            return
        found = await self._parts.queries.status(actor, tenant_id)
        standing = found.standing
        if standing.state is TenantState.IN_PROGRESS and not standing.record_lost:
            raise Refusal(
                409,
                typed("already_provisioning", "Provisioning is under way and goes on by itself."),
            )
        if standing.state is TenantState.COMPLETED and kind is not _RETRY:
            return
        if not found.tenant.site:
            if kind is _START:
                raise Refusal(
                    503,
                    _engine_unstable(
                        f"This tenant lives on {found.tenant.spec.engine_id}, where this "
                        "service provisions nothing.",
                        engine=found.tenant.spec.engine_id,
                        word="not_provisioned",
                    ),
                )
            raise Refusal(404, RECORD_UNKNOWN)
        gate = await self._parts.gates.of_site(found.tenant.site)
        if gate is not None and not is_open(gate):
            raise Refusal(503, engine_away(gate))


# The old requests' names for our fields.
_FIELDS = {"step_key": "step", "chart_template": "country_template"}


def engine_away(gate: Gate) -> dict[str, str]:
    """Return the detail of an answer that refuses because the engine takes no work."""
    return _engine_unstable(
        f"{gate.message or 'It does not answer.'} Nothing is lost: try again once it is back.",
        engine="erpnext",
        word=_ENGINE_WORDS.get(gate.state, "offline"),
    )


def _engine_unstable(message: str, *, engine: str, word: str) -> dict[str, str]:
    # The old page recognises this case by its type, and by how the message begins.
    return typed("engine_unstable", f"Engine not stable. {message}", engine=engine, status=word)


def _why_not_skippable(found: Status, step: str) -> str:
    title = found.titles.get(step)
    if title is None:
        return f"There is no step of this name. Only {DEMO_STEP} can be skipped."
    return f"{title} is needed. Only {DEMO_STEP} can be skipped."
