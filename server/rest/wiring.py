"""Puts the parts of this package together with those of the server."""

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
        settings: The process's settings.
        database: The store.
        commands: The orders that can be given.
        queries: The questions that can be asked.
        access: Who may call.
        services: The gRPC services, by their names in the contract.
        engines: The configured engines, by id.
        default_engine: The id of the engine for tenants that name none, or None.
        swept_seconds_ago: Returns how many seconds ago this process's last full sweep ended; None
            if there was none.
        tls_files: The certificate of this process; None if it does not use TLS.
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
        # If only this machine can ask, a monitor needs no token.
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
    """Return the keys of the steps for a new tenant about which only the name is known."""
    plain = TenantSpec(
        company_name="",
        country_code=DEFAULT_COUNTRY_CODE,
        currency=CURRENCY_OF_COUNTRY[DEFAULT_COUNTRY_CODE],
        engine_id=engine_id,
    )
    return tuple(step.key for step in entry.blueprint.steps_for(plain))
