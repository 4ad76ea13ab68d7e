"""Routes that are not about tenants: whether the service is there, its API, and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from server.errors import StoreUnavailable
from server.rest import documented
from server.rest.answers import CompactJson, refusal_of
from server.rest.docs_page import PAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.rest.metrics import Metrics

_METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"
# The page has all it needs, and only reads the description of the API that it shows.
_ONLY_ITS_OWN = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(
    openapi: Callable[[], dict[str, Any]],
    metrics: Metrics,
    admit: Callable[[Request], Awaitable[None]],
    demand_writes: Callable[[], None],
) -> APIRouter:
    """Return the routes.

    Args:
        openapi: Returns the API's description.
        metrics: The service's metrics.
        admit: Refuses callers who may not read the metrics.
        demand_writes: Refuses while the database is away or takes no writes.
    """
    router = APIRouter(tags=["service"])

    @router.get("/health", **documented.HEALTH)
    async def health() -> CompactJson:
        """Say that the service is there; scripts compare the answer byte for byte."""
        return CompactJson({"status": "healthy"})

    @router.get("/ready", **documented.READY)
    async def ready() -> CompactJson:
        """Say whether orders and questions can be answered now.

        They can't while the database is away, its disk is full, or its file may not be written.
        """
        try:
            demand_writes()
        except StoreUnavailable as error:
            return refusal_of(error, kind="health_error").answer()
        return CompactJson({"status": "ready"})

    @router.get("/", **documented.ROOT)
    async def root() -> CompactJson:
        """Say what this service is, and where its API is described."""
        return CompactJson({"message": "Tenant provisioner. The API is described at /docs."})

    @router.get("/metrics", response_class=Response, **documented.METRICS)
    async def prometheus(request: Request) -> Response:
        """Return the metrics in Prometheus's text format."""
        try:
            await admit(request)
            text = await metrics.text()
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            return refusal_of(error, kind="metrics_error").answer()
        return Response(text, media_type=_METRICS_TYPE)

    _describe(router, openapi)
    return router


def _describe(router: APIRouter, openapi: Callable[[], dict[str, Any]]) -> None:
    """Add the routes that describe the API."""

    @router.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        """Show the API to people."""
        return HTMLResponse(PAGE, headers={"Content-Security-Policy": _ONLY_ITS_OWN})

    @router.get("/openapi.json", include_in_schema=False)
    async def described() -> CompactJson:
        """Describe the API to programs."""
        return CompactJson(openapi())
