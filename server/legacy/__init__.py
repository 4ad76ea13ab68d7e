"""Imports the old system's tenants: reads them there, checks them in ERPNext, writes them here.

What the old record says is never believed until the engine has been checked; if it can't be
checked, nothing is imported. An import can be repeated: a tenant that is already here is left as
it is. Nothing is marked as made by us, so nothing imported is ever deleted without an order.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.errors import EngineNotReady, InvalidInput, StoreUnavailable, Violation
from server.legacy.record import look_of, record_of, state_of
from server.legacy.telling import Imported, as_decided, as_facts, paragraph, told, totals
from server.model.identifiers import TenantId, canonical_uuid
from server.model.legacy import (
    ImportedAs,
    decide,
    recognised,
    under_another_name,
    with_draft_tills,
)
from server.model.naming import fold_name
from server.store.operations import Refusal
from server.validation import RawSpec, validate_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.model.legacy import Decision, LegacyTenant
    from server.model.spec import TenantSpec
    from server.probing import Prober, Survey
    from server.store.database import Database

__all__ = ["Imported", "Importer", "as_facts", "paragraph", "totals"]

# Longer than the old system's longest run: after that, no old process can still be at work.
QUIET = timedelta(hours=1)
_ENGINE = "erpnext"
_HERE = "It is here already and left as it is."
_BOUND = (
    "Another tenant of this site is bound to its Company or abbreviation. Decide whose it is, "
    "then import again."
)
# An engine that does not answer may take a minute for each tenant to say so.
_ENOUGH_SILENCE = 3
_NOT_ASKED = (
    "The engine did not answer about the tenants before this one, so it was not asked again. "
    "See what is wrong with: provisioner engines check {engine}"
)


class Importer:
    """Imports into one store."""

    def __init__(
        self,
        database: Database,
        prober: Prober,
        *,
        engines: Mapping[str, EngineEntry],
        engine_id: str,
        now: Callable[[], datetime],
        quiet: timedelta = QUIET,
    ) -> None:
        """Take the parts.

        Args:
            database: The store to import into.
            prober: Examines tenants at the engine.
            engines: The configured engines, by id.
            engine_id: The id of the engine that the old tenants live on.
            now: The time, in UTC.
            quiet: How long the old system must have left a running tenant untouched.
        """
        self._database = database
        self._prober = prober
        self._engines = engines
        self._engine_id = engine_id
        self._now = now
        self._quiet = quiet
        self._names: Counter[str] = Counter()
        # What earlier tenants of a dry run would have taken: nothing of theirs is written.
        self._ids: set[TenantId] = set()
        self._bound: set[str] = set()
        # About how many tenants in a row the engine did not answer.
        self._silences = 0

    async def run(
        self,
        tenants: Sequence[LegacyTenant],
        *,
        dry_run: bool,
        on_done: Callable[[Imported], None],
    ) -> None:
        """Import tenants, one after another; if this is cancelled, none is half-imported.

        Args:
            tenants: The tenants as read from the old system.
            dry_run: Whether only to check and report what would be done, writing nothing.
            on_done: Called with what became of each tenant, as soon as that is known.

        Raises:
            StoreUnavailable: this store can't be read or written.
        """
        names = Counter(fold_name(each.name) for each in tenants if each.engine == _ENGINE)
        self._names = names
        self._ids.clear()
        self._bound.clear()
        self._silences = 0
        for tenant in tenants:
            alone = names[fold_name(tenant.name)] == 1
            on_done(await self._import(tenant, alone=alone, dry_run=dry_run))

    async def _import(self, tenant: LegacyTenant, *, alone: bool, dry_run: bool) -> Imported:
        if tenant.engine != _ENGINE:
            return told(tenant, "SKIPPED", f"Its engine is {tenant.engine or 'none'}: not ours.")
        try:
            tenant_id, spec = self._checked(tenant)
        except InvalidInput as error:
            wrong = "; ".join(f"{each.field}: {each.description}" for each in error.violations)
            return told(tenant, ImportedAs.NOT_IMPORTED, f"Its data is not valid: {wrong}")
        if await self._database.reads.live(tenant_id) is not None:
            return told(tenant, "UNCHANGED", _HERE)
        if tenant.runs and not tenant.is_quiet(self._now(), self._quiet):
            return told(
                tenant,
                ImportedAs.NOT_IMPORTED,
                "The old system may still be working on it: stop that first, then import again.",
            )
        return await self._look_and_decide(tenant, tenant_id, spec, alone=alone, dry_run=dry_run)

    async def _look_and_decide(
        self,
        tenant: LegacyTenant,
        tenant_id: TenantId,
        spec: TenantSpec,
        *,
        alone: bool,
        dry_run: bool,
    ) -> Imported:
        entry = self._engines[self._engine_id]
        if self._silences >= _ENOUGH_SILENCE:
            why = _NOT_ASKED.format(engine=self._engine_id)
            return told(tenant, ImportedAs.NOT_IMPORTED, why)
        try:
            survey, decision = await self._looked(tenant, spec, entry, alone=alone)
        except EngineNotReady as error:
            self._silences += 1
            return told(
                tenant,
                ImportedAs.NOT_IMPORTED,
                f"The engine could not be looked at, so nothing was decided: {error.message}",
            )
        self._silences = 0
        if dry_run:
            return await self._foreseen(tenant, tenant_id, survey, decision, entry)
        operation = record_of(tenant, tenant_id, survey, decision, entry=entry, now=self._now())
        outcome = await self._database.submit(operation)
        if outcome.refusal is Refusal.TENANT_EXISTS:
            return told(tenant, "UNCHANGED", _HERE)
        if outcome.refusal in {Refusal.NAME_TAKEN, Refusal.ABBREVIATION_TAKEN}:
            return told(tenant, ImportedAs.NOT_IMPORTED, _BOUND)
        if not outcome.applied or operation.standing is None:
            raise StoreUnavailable(f"The import of {tenant_id} was refused: {outcome.refusal}.")
        return as_decided(tenant, decision, operation.standing.state.value)

    async def _looked(
        self, tenant: LegacyTenant, spec: TenantSpec, entry: EngineEntry, *, alone: bool
    ) -> tuple[Survey, Decision]:
        survey, decision = await self._decided(tenant, spec, entry, alone=alone)
        if tenant.was_begun and not look_of(survey).company and tenant.evidence_of_company:
            survey, decision = await self._under_another_name(
                tenant, spec, entry, (survey, decision)
            )
        if decision.imported_as in {ImportedAs.COMPLETED, ImportedAs.STOPPED}:
            decision = with_draft_tills(decision, await self._drafts(survey))
        return survey, decision

    async def _drafts(self, survey: Survey) -> tuple[str, ...]:
        """Return its till's drafts; no step looks for them, as the till's user is not recorded."""
        if not look_of(survey).company:
            return ()
        return await self._prober.draft_tills(self._engine_id, survey.spec.company_name)

    async def _foreseen(
        self,
        tenant: LegacyTenant,
        tenant_id: TenantId,
        survey: Survey,
        decision: Decision,
        entry: EngineEntry,
    ) -> Imported:
        """Report what an import would if those before it in the list were imported."""
        if tenant_id in self._ids:
            return told(tenant, "UNCHANGED", _HERE)
        if decision.imported_as is not ImportedAs.HELD:
            name = survey.spec.company_name
            bound = await self._database.reads.bound_to(entry.site, name)
            if bound is not None or fold_name(name) in self._bound:
                return told(tenant, ImportedAs.NOT_IMPORTED, _BOUND)
            self._bound.add(fold_name(name))
        self._ids.add(tenant_id)
        return as_decided(tenant, decision, state_of(decision, survey))

    async def _decided(
        self, tenant: LegacyTenant, spec: TenantSpec, entry: EngineEntry, *, alone: bool
    ) -> tuple[Survey, Decision]:
        bound = await self._database.reads.bound_to(entry.site, spec.company_name)
        alone = alone and bound is None
        survey = await self._prober.unrecorded(
            spec, passed_company_step=tenant.passed_company, only_tenant_of_name=alone
        )
        decision = decide(
            tenant,
            look_of(survey),
            required=frozenset(kind.key for kind in entry.blueprint.steps if kind.required),
            alone=alone,
        )
        return survey, decision

    async def _under_another_name(
        self,
        tenant: LegacyTenant,
        spec: TenantSpec,
        entry: EngineEntry,
        seen: tuple[Survey, Decision],
    ) -> tuple[Survey, Decision]:
        """Look for the Company by the record's other evidence, and check the one that it proves."""
        evidence = tenant.evidence_of_company
        traced = await self._prober.trace(self._engine_id, evidence)
        company = recognised(evidence, traced)
        if company is None:
            return (seen[0], under_another_name(traced)) if traced else seen
        folded = fold_name(company.name)
        others = self._names[folded] - (folded == fold_name(tenant.name))
        renamed = replace(spec, company_name=company.name)
        survey, decision = await self._decided(tenant, renamed, entry, alone=not others)
        proof = ", ".join(company.proofs)
        why = f"Its Company is called {company.name!r} (known by {proof}). {decision.why}"
        return survey, replace(decision, why=why)

    def _checked(self, tenant: LegacyTenant) -> tuple[TenantId, TenantSpec]:
        canonical = canonical_uuid(tenant.id)
        if canonical is None:
            raise InvalidInput((Violation(field="id", description="is no UUID"),))
        return TenantId(canonical), self._spec(tenant)

    def _spec(self, tenant: LegacyTenant) -> TenantSpec:
        return validate_spec(
            RawSpec(
                company_name=tenant.name,
                country_code=tenant.country_code,
                chart_template=tenant.chart or None,
                include_demo_data=tenant.include_demo_data,
                pos_store_enabled=tenant.pos_store_enabled,
                engine_id=self._engine_id,
            ),
            engines=self._engines.keys(),
            default_engine=self._engine_id,
        )
