"""Examines a tenant from all sides and explains why it is where it is; read-only."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from server.access.policy import demand, unknown_tenant
from server.diagnosis.diagnose import diagnose
from server.diagnosis.picture import Asked, EngineLook, Picture
from server.errors import EngineError, ProvisionerError
from server.model.actor import Right
from server.model.blueprint import BLUEPRINTS, ERPNEXT
from server.model.elsewhere import why_other_site
from server.model.states import TenantState
from server.queries import status_of
from server.validation import validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.diagnosis.causes import Diagnosis
    from server.diagnosis.picture import StepSeen
    from server.model.actor import Actor
    from server.model.blueprint import Blueprint
    from server.model.identifiers import TenantId
    from server.model.records import Record
    from server.store.database import Database

_log = structlog.get_logger(__name__)

# Somebody is waiting for the diagnosis, and an engine slower than this is evidence enough.
ENGINE_SECONDS = 5.0


class ProbeAll(Protocol):
    """Asks a tenant's engine what it holds, with the reading half of all steps."""

    async def __call__(self, tenant_id: TenantId) -> Sequence[StepSeen]:
        """Return what was seen of each step, in order.

        Raises:
            ProvisionerError: the engine can't be asked, or the tenant can't be looked at.
        """


class Diagnoser:
    """Diagnoses tenants of one store."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        lease_seconds: float,
        probe_all: ProbeAll | None = None,
        engine_seconds: float = ENGINE_SECONDS,
    ) -> None:
        """Take what a diagnosis reads; nothing is read yet.

        Args:
            database: The store.
            engines: The configured engines, by id.
            now: The clock, by which what stands still is told from what moves.
            lease_seconds: The lease of this installation's workers.
            probe_all: Asks the engine how far a tenant's steps are; None to ask no engine.
            engine_seconds: How long the engine may take; then the record alone is explained.
        """
        self._database = database
        self._engines = engines
        self._now = now
        self._lease_seconds = lease_seconds
        self._probe_all = probe_all
        self._engine_seconds = engine_seconds

    async def diagnose(self, actor: Actor, tenant_id: str, *, ask_engine: bool = True) -> Diagnosis:
        """Explain why a tenant is where it is.

        An engine that does not answer is no error: what is stored is explained without it.

        Args:
            actor: Who asks.
            tenant_id: The tenant, in any state.
            ask_engine: Whether to ask the engine what it really holds.

        Raises:
            InvalidInput: the id is no UUID.
            NotFound: no such tenant.
            NotAllowed: not the caller's to see.
            StoreUnavailable: the database can't be read now.
        """
        checked = validate_tenant_id(tenant_id)
        demand(actor, Right.READ, checked)
        now = self._now()
        stored = await self._database.picture(checked, now)
        if stored is None:
            raise unknown_tenant(checked)
        record = stored.live.record
        entry = self._engines.get(record.tenant.spec.engine_id)
        configured = entry is not None
        other_site = "" if entry is None else why_other_site(record.tenant, entry.site)
        step_types = self._blueprint(record).steps_for(record.tenant.spec)
        status = status_of(stored.live, step_types, now, self._lease_seconds)
        if status.standing.state is TenantState.DEPROVISIONED:
            # What has its names there by now may be somebody else's.
            unasked = "nothing there is this tenant's any more"
        elif not ask_engine:
            unasked = "by request"
        elif other_site:
            unasked = "it is another site than the tenant's"
        else:
            unasked = "" if configured and self._probe_all else "it can't be asked from here"
        engine = await self._ask(checked, unasked)
        return diagnose(
            Picture(
                stored=stored,
                status=status,
                step_types=step_types,
                engine_configured=configured,
                engine=engine,
                lease_seconds=self._lease_seconds,
                now=now,
                names_others=actor.scope is None,
                other_site=other_site,
            )
        )

    async def _ask(self, tenant_id: TenantId, unasked: str) -> EngineLook:
        if unasked or self._probe_all is None:
            return EngineLook(asked=Asked.NOT_ASKED, says=f"The engine was not asked: {unasked}.")
        try:
            async with asyncio.timeout(self._engine_seconds):
                steps = await self._probe_all(tenant_id)
        except TimeoutError:
            return EngineLook(
                asked=Asked.NO_ANSWER,
                says=f"The engine did not answer within {self._engine_seconds:g} s.",
            )
        except EngineError as error:
            return EngineLook(
                asked=Asked.NO_ANSWER,
                says=f"The engine could not be asked ({error.code}): {error.message}",
            )
        except ProvisionerError as error:
            return EngineLook(
                asked=Asked.NO_ANSWER, says=f"The engine could not be asked: {error.message}"
            )
        except Exception as error:  # noqa: BLE001 - a bug there must not hide the rest; recorded
            _log.exception("diagnosis.probe_bug", tenant=tenant_id)
            return EngineLook(
                asked=Asked.NO_ANSWER,
                says=f"Asking the engine ran into a bug of ours ({type(error).__name__}).",
            )
        done = sum(step.done is True or bool(step.skipped) for step in steps)
        return EngineLook(
            asked=Asked.ANSWERED,
            says=f"The engine answered: {done} of {len(steps)} steps are done there.",
            steps=tuple(steps),
        )

    def _blueprint(self, record: Record) -> Blueprint:
        entry = self._engines.get(record.tenant.spec.engine_id)
        if entry is not None:
            return entry.blueprint
        return BLUEPRINTS.get(record.run.blueprint, ERPNEXT) if record.run else ERPNEXT
