"""Metrics for Prometheus: what is cheap to know, gathered when somebody asks.

The database is read every few seconds at most, however many ask: counts of tenants come from an
index, gates from a handful of rows. The reconciler's last sweep and the certificate are left out
if this process has none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.model.states import GateState, TenantState

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from server.queries.gates import EngineGates
    from server.settings import TlsFiles
    from server.store.tenant_pages import TenantPages

# Counting a table with a million tenants takes some hundred milliseconds.
_FRESH_SECONDS = 10.0


class Metrics:
    """Gathers metrics; one read of the database serves everybody who asks at the same time.

    Attributes:
        http: Requests answered, by method and status.
        grpc: Calls answered, by rpc and status code.
        swept_seconds_ago: Returns how many seconds ago this process's last full sweep ended; None
            if there was none.
        tls_files: The certificate of this process; None if it does not use TLS.
    """

    def __init__(
        self,
        pages: TenantPages,
        gates: EngineGates,
        *,
        http: Counter[tuple[str, int]],
        grpc: Counter[tuple[str, str]],
        clock: Callable[[], float],
    ) -> None:
        self.http = http
        self.grpc = grpc
        self.swept_seconds_ago: Callable[[], float | None] = lambda: None
        self.tls_files: TlsFiles | None = None
        self._pages = pages
        self._gates = gates
        self._clock = clock
        self._lock = asyncio.Lock()
        self._looked_at: float | None = None
        self._tenants: dict[str, int] = {}
        self._open_runs = 0
        self._engine_gates: dict[str, GateState] = {}

    async def text(self) -> bytes:
        """Return the metrics in Prometheus's text format.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        from prometheus_client import CollectorRegistry  # noqa: PLC0415 - only who asks pays
        from prometheus_client.exposition import generate_latest  # noqa: PLC0415 - likewise

        async with self._lock:
            now = self._clock()
            if self._looked_at is None or now - self._looked_at > _FRESH_SECONDS:
                self._tenants = await self._pages.counts()
                self._open_runs = await self._pages.open_runs()
                self._engine_gates = {
                    engine_id: GateState.UP if gate is None else gate.state
                    for engine_id, gate in (await self._gates.by_engine()).items()
                }
                self._looked_at = now
        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator[Metric]:
        """Yield each metric, as prometheus-client's collectors do."""
        from prometheus_client.core import (  # noqa: PLC0415 - only who asks pays
            CounterMetricFamily,
            GaugeMetricFamily,
        )

        tenants = GaugeMetricFamily(
            "provisioner_tenants", "Tenants by stored state.", labels=["state"]
        )
        # Always with all known states, so that an alarm finds its series; somebody may have put
        # others there with SQL.
        for state in dict.fromkeys([*(each.value for each in TenantState), *self._tenants]):
            tenants.add_metric([_label(state)], self._tenants.get(state, 0))
        yield tenants
        yield GaugeMetricFamily(
            "provisioner_open_runs", "Runs queued, running or waiting.", value=self._open_runs
        )
        gates = GaugeMetricFamily(
            "provisioner_engine_gate",
            "1 for the state an engine's gate is in, 0 for the others.",
            labels=["engine", "state"],
        )
        for engine_id, found in self._engine_gates.items():
            for state in GateState:
                gates.add_metric([engine_id, state.value], float(found is state))
        yield gates
        ago = self.swept_seconds_ago()
        if ago is not None:
            yield GaugeMetricFamily(
                "provisioner_last_full_sweep_age_seconds",
                "How long ago this process's reconciler ended its last full sweep.",
                value=ago,
            )
        if self.tls_files is not None:
            yield GaugeMetricFamily(
                "provisioner_tls_certificate_not_after_timestamp_seconds",
                "When the certificate that is served ends.",
                value=self.tls_files.served.ends.timestamp(),
            )
            yield GaugeMetricFamily(
                "provisioner_tls_files_refused",
                "1 while the TLS files are wrong and what they held before is served.",
                value=float(bool(self.tls_files.refused)),
            )
        http = CounterMetricFamily(
            "provisioner_http_requests", "HTTP requests answered.", labels=["method", "status"]
        )
        for (method, status), count in sorted(self.http.items()):
            http.add_metric([method, str(status)], count)
        yield http
        grpc = CounterMetricFamily(
            "provisioner_grpc_calls", "gRPC calls answered.", labels=["rpc", "code"]
        )
        for (rpc, code), count in sorted(self.grpc.items()):
            grpc.add_metric([rpc, code], count)
        yield grpc


def _label(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:40]
