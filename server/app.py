"""Wires the parts together into one thing with `start` and `stop`.

The order matters: the store is checked before anything listens, and health says SERVING last; on
the way down health says NOT_SERVING first, and the store is closed last.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.access.http_door import door_for
from server.access.wiring import open_access
from server.commands import Commands, EngineEntry
from server.diagnosis import Diagnoser
from server.diagnosis.surveyed import SurveyedTenant
from server.erpnext.client import Credentials, ErpNextEngine
from server.erpnext.timeouts import Timeouts
from server.executor.clock import CommonClock
from server.executor.executor import Executor, ExecutorOptions
from server.healing import History
from server.model.blueprint import ENGINE_BLUEPRINTS, NOOP
from server.model.budget import Pacing
from server.model.states import GateState
from server.noop import NoopEngine
from server.probing import Prober
from server.queries import Queries
from server.queries.fleet import Fleet
from server.queries.surveys import Surveys
from server.rest import HttpServer
from server.rest.lazy import LazyApp
from server.rpc.certificates import demand_taken
from server.rpc.fleet import FleetService
from server.rpc.identity import by_token
from server.rpc.server import RpcServer
from server.rpc.service import ProvisioningService
from server.rpc.signing_in import AccessService
from server.settings import TlsFiles, ensure_database_directory, load_tls
from server.store.database import Database
from server.store.operations import GateOperation
from server.store.retention import Kept, Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from starlette.types import ASGIApp

    from server.access.wiring import Access
    from server.healing import Healer
    from server.model.step_context import Engine
    from server.rpc.answering import Answering
    from server.settings import EngineConfig, EnginesConfig, Settings


def utc_now() -> datetime:
    """Return the current time in UTC; the process's only clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What both the server and the reconciler need: a store, the orders, the engines.

    Attributes:
        engines: The adapters of the configured engines, by id.
        entries: What orders know about the same engines, by id.
    """

    database: Database
    commands: Commands
    engines: Mapping[str, Engine]
    entries: Mapping[str, EngineEntry]
    prober: Prober


async def open_core(
    settings: Settings,
    config: EnginesConfig,
    stack: AsyncExitStack,
    *,
    register: bool = True,
    existing: bool = False,
) -> Core:
    """Open the store and build the engines; `stack` closes them.

    Args:
        settings: The process's settings.
        config: The engines' configuration.
        stack: Closes what is opened here.
        register: Whether to make the rows of sites that have none yet (a dry run must not).
        existing: Refuse a database that does not exist or is empty (`Database.open`).

    Raises:
        SettingsError, SchemaMismatch, StoreUnavailable: with what to do.
    """
    if not existing:
        ensure_database_directory(settings)
    database = await Database.open(settings.database_url, existing=existing)
    stack.push_async_callback(database.close)
    engines = _engines(config)
    for engine in engines.values():
        stack.push_async_callback(engine.close)
    now = utc_now()
    if register:
        await database.register_engines(
            [
                GateOperation(site=engine.site, at=now, gate=GateState.UP)
                for engine in engines.values()
            ]
        )
    entries = {
        engine_id: EngineEntry(site=engine.site, blueprint=ENGINE_BLUEPRINTS[engine.blueprint_name])
        for engine_id, engine in engines.items()
    }
    prober = Prober(database, engines, ENGINE_BLUEPRINTS, now=utc_now)
    commands = Commands(
        database,
        engines=entries,
        default_engine=config.default or None,
        now=utc_now,
        adapters=engines,
        prober=prober,
    )
    return Core(
        database=database, commands=commands, engines=engines, entries=entries, prober=prober
    )


class App:
    """The server: gRPC, HTTP and the executor over one store."""

    def __init__(
        self,
        settings: Settings,
        config: EnginesConfig,
        *,
        pacing: Pacing | None = None,
        healer_of: Callable[[Core], Healer] | None = None,
    ) -> None:
        """Take what to serve.

        Args:
            settings: The process's settings.
            config: The engines' configuration.
            pacing: The pauses between tries; None for the usual ones.
            healer_of: Makes what sweeps, because this package does not know the reconciler; None
                for no sweeps.
        """
        self._settings = settings
        self._healer_of = healer_of
        self.healer: Healer | None = None
        # The executor adjusts it to the database's clock; queries and diagnoses then use the same.
        self._clock = CommonClock(utc_now)
        self._config = config
        self._pacing = pacing or Pacing()
        self._stack = AsyncExitStack()
        self.core: Core
        self.access: Access
        self._executor: Executor
        self.tls_files: TlsFiles | None = None
        self.grpc_port = 0
        self.http_port = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Open the store, start driving runs, then listen.

        Raises:
            SettingsError, SchemaMismatch, StoreUnavailable: with what to do; nothing is left
                running.
        """
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def stop(self) -> None:
        """Drain: take no more orders, wait for engines' answers, record unknown outcomes, close."""
        await self._stack.aclose()

    def hurry(self) -> None:
        """Make a stop that is under way wait no longer for engines' answers."""
        self._executor.hurry()

    async def _start(self) -> None:
        settings, stack = self._settings, self._stack
        # Before anything is opened, so that a wrong file is reported at once.
        tls = load_tls(settings)
        if tls is not None:
            self.tls_files = TlsFiles(tls, now=utc_now, try_out=demand_taken)
        self.core = await open_core(settings, self._config, stack)
        self.access = await open_access(settings, self.core.database, stack, now=utc_now)
        self.healer = None if self._healer_of is None else self._healer_of(self.core)
        queries = await self._start_queries()
        await self._start_driving()
        self._start_retention()
        service, fleet, doors = self._services(queries)
        await self._serve_http(queries, {"ProvisioningService": service, "FleetService": fleet})
        await self._serve_grpc(service, fleet, doors)
        if self.tls_files is not None:
            self.tls_files.start()
            stack.push_async_callback(self.tls_files.stop)

    async def _start_queries(self) -> Queries:
        queries = Queries(
            self.core.database,
            engines=self.core.entries,
            now=self._clock,
            lease_seconds=self._settings.lease_seconds,
        )
        await queries.start()
        self._stack.push_async_callback(queries.stop)
        return queries

    async def _start_driving(self) -> None:
        settings = self._settings
        self._executor = Executor(
            self.core.database,
            self.core.engines,
            now=self._clock,
            options=ExecutorOptions(
                lease_seconds=settings.lease_seconds,
                max_runs=settings.max_runs,
                site_runs={
                    self.core.engines[each.id].site: each.max_runs
                    for each in self._config.engines.values()
                    if each.max_runs
                },
                drain_seconds=settings.drain_seconds,
                pacing=self._pacing,
            ),
        )
        await self._executor.start()
        self._stack.push_async_callback(self._executor.stop)

    def _start_retention(self) -> None:
        settings = self._settings
        retention = Retention(
            self.core.database,
            Kept(
                log_days=settings.log_retention_days,
                attempt_days=settings.attempt_retention_days,
                request_days=settings.request_retention_days,
                finding_days=settings.finding_retention_days,
                audit_days=settings.audit_retention_days,
            ),
            # Of all servers, one whose clock is ahead must not delete what is not old yet.
            now=self._clock,
        )
        retention.start()
        self._stack.push_async_callback(retention.stop)

    def _services(
        self, queries: Queries
    ) -> tuple[ProvisioningService, FleetService, AccessService]:
        identify = by_token(self.access.authenticator)
        service = ProvisioningService(
            self.core.commands,
            queries,
            identify=identify,
            diagnoser=self._diagnoser(),
            surveys=self._surveys(),
        )
        fleet = FleetService(
            History(self.core.database, now=utc_now),
            fleet=self._fleet(),
            commands=self.core.commands,
            identify=identify,
            healer=self.healer,
        )
        doors = AccessService(self.access, identify=identify)
        for each in (service, fleet, doors):
            each.note_refusal = self.access.note_refusal
            each.rate = self.access.rate
        service.changes_of_rights = lambda: self.access.authenticator.times_forgotten
        return service, fleet, doors

    async def _serve_grpc(
        self, service: ProvisioningService, fleet: FleetService, doors: AccessService
    ) -> None:
        rpc = RpcServer(
            service,
            str(self._settings.grpc_address),
            fleet=fleet,
            access=doors,
            tls=None if self.tls_files is None else self.tls_files.served,
        )
        await rpc.start()
        if self.tls_files is not None:
            self.tls_files.on_change(rpc.take)
        self.core.database.pulse.on_change(rpc.serving)
        # Closed first, so that callers get their answers before the executor drains.
        self._stack.push_async_callback(rpc.stop, 5.0)
        self.grpc_port = rpc.port

    async def _serve_http(self, queries: Queries, services: Mapping[str, Answering]) -> None:
        settings = self._settings

        def build() -> ASGIApp:
            from server.rest.wiring import open_rest  # noqa: PLC0415 - see LazyApp

            return open_rest(
                settings,
                self.core.database,
                commands=self.core.commands,
                queries=queries,
                access=self.access,
                services=services,
                engines=self.core.entries,
                default_engine=self._config.default or None,
                swept_seconds_ago=self._seconds_since_sweep,
                tls_files=self.tls_files,
            ).app

        app = door_for(LazyApp(build), settings)
        address = settings.http_address
        tls = None if self.tls_files is None else self.tls_files.served
        http = HttpServer(app, address.host, address.port, tls=tls)
        await http.start()
        if self.tls_files is not None:
            self.tls_files.on_change(http.take)
        self._stack.push_async_callback(http.stop)
        self.http_port = http.port

    def _seconds_since_sweep(self) -> float | None:
        """Return how many seconds ago this process's last full sweep ended; None without one."""
        watch = None if self.healer is None else self.healer.watch()
        if watch is None or watch.last_full_sweep_at is None:
            return None
        return max((utc_now() - watch.last_full_sweep_at).total_seconds(), 0.0)

    def _fleet(self) -> Fleet:
        return Fleet(
            self.core.database,
            engines=self.core.entries,
            default_engine=self._config.default,
            max_runs={each.id: each.max_runs for each in self._config.engines.values()},
        )

    def _surveys(self) -> Surveys:
        return Surveys(
            self.core.database,
            self.core.prober,
            engine_ids=self.core.entries.keys(),
            default_engine=self._config.default or None,
            seen_clean=None if self.healer is None else self.healer.seen_clean,
        )

    def _diagnoser(self) -> Diagnoser:
        return Diagnoser(
            self.core.database,
            engines=self.core.entries,
            now=self._clock,
            lease_seconds=self._settings.lease_seconds,
            probe_all=SurveyedTenant(self.core.prober),
        )


def _credentials(engine: EngineConfig) -> Credentials | Callable[[], Credentials]:
    keys = engine.keys
    if keys is None:
        return Credentials(
            api_key=engine.api_key.get_secret_value(),
            api_secret=engine.api_secret.get_secret_value(),
        )

    def current() -> Credentials:
        key, secret = keys.current()
        return Credentials(api_key=key.get_secret_value(), api_secret=secret.get_secret_value())

    return current


def _engines(config: EnginesConfig) -> dict[str, Engine]:
    return {engine.id: build_engine(engine) for engine in config.engines.values()}


def build_engine(engine: EngineConfig) -> Engine:
    """Return the adapter for a configured engine; nothing is sent, and it must be closed."""
    if engine.blueprint == NOOP.name:
        return NoopEngine(engine.id)
    return ErpNextEngine(
        url=engine.url,
        host=engine.host,
        credentials=_credentials(engine),
        ca_file=engine.ca_file,
        timeouts=Timeouts(
            seconds=engine.timeout_seconds, company_seconds=engine.company_timeout_seconds
        ),
    )
