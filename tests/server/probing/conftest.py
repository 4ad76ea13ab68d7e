"""A stand-in site, the engine that talks to it, and looks at tenants on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.blueprint import ERPNEXT
from server.probing import Subject, probe_all
from tests.server.erpnext.conftest import engine, site
from tests.server.erpnext.context import NOON

if TYPE_CHECKING:
    from server.model.step_context import Engine
    from server.probing import Survey
    from tests.server.erpnext.context import MemoryContext

__all__ = ["engine", "look", "site", "subject"]


def subject(context: MemoryContext, *, completed_once: bool = False) -> Subject:
    """The tenant of a driven run, with its record."""
    return Subject(
        spec=context.spec,
        tenant_id="this-tenant",
        abbreviation=context.abbreviation,
        resources=context.resources,
        passed_company_step=context.passed_company_step,
        completed_once=completed_once,
    )


async def look(engine: Engine, whom: Subject) -> Survey:
    """Look at a tenant."""
    return await probe_all(engine, ERPNEXT, whom, now=lambda: NOON)
