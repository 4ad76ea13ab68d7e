"""Puts the parts of this room together over what the server has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from server.access.http_door import allowed_origins
from server.countries import CURRENCY_OF_COUNTRY
from server.model.spec import DEFAULT_COUNTRY_CODE, TenantSpec
from server.queries.gates import EngineGates
from server.rest.app import Built, create_app
from server.rest.parts import Parts
from server.rest.people import Doorman
from server.store.tenant_pages import TenantPages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from server.access.wiring import Access
    from server.commands import Commands, EngineEntry
    from server.queries import Queries
    from server.rpc.answering import Answering
    from server.settings import Settings, TlsFiles
    from server.store.database import Database


def open_rest(
    settings: Settings,
    database: Database,
    *,
    commands: Commands,
    queries: Queries,
    access: Access,
    services: Mapping[str, Answering],
    engines: Mapping[str, EngineEntry],
    default_engine: str | None,
    swept_seconds_ago: Callable[[], float | None] = lambda: None,
    tls_files: TlsFiles | None = None,
) -> Built:
    """Build the application.

    Args:
        settings: Of the process.
        database: The store.
        commands: What may be ordered.
        queries: What may be known.
        access: Who may come in.
        services: The gRPC services by their names in the contract.
        engines: Those that are configured.
        default_engine: The one for tenants that name none, or None.
        swept_seconds_ago: How long ago the last full sweep of this process ended.
        tls_files: Its certificate; None where it speaks no TLS.
    """
    parts = Parts(
        commands=commands,
        queries=queries,
        gates=EngineGates(database.reads, engines=engines, default_engine=default_engine),
        pages=TenantPages(database),
        access=access,
        doorman=Doorman(access=access, compat=settings.opens_to_old_clients),
        services=services,
        first_steps={
            engine_id: _first_steps(engine_id, entry) for engine_id, entry in engines.items()
        },
        # Where only this machine can ask, a monitor needs no token.
        open_metrics=settings.open_metrics
        or not settings.auth
        or settings.http_address.is_loopback,
    )
    calls = next((each.calls for each in services.values()), Counter())
    built = create_app(parts, origins=allowed_origins(settings), calls=calls)
    built.metrics.swept_seconds_ago = swept_seconds_ago
    built.metrics.tls_files = tls_files
    return built


def _first_steps(engine_id: str, entry: EngineEntry) -> tuple[str, ...]:
    """Return the steps of a new tenant of whom nothing but the name is known."""
    plain = TenantSpec(
        company_name="",
        country_code=DEFAULT_COUNTRY_CODE,
        currency=CURRENCY_OF_COUNTRY[DEFAULT_COUNTRY_CODE],
        engine_id=engine_id,
    )
    return tuple(step.key for step in entry.blueprint.steps_for(plain))
