"""Puts the routes together into one ASGI application."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from server.rest import description, engines, provisioning, service, sign_in, tenants, v1
from server.rest.answers import CompactJson, Refusal
from server.rest.front import Front
from server.rest.metrics import Metrics
from server.rest.routes_v1 import routes_of

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from server.rest.parts import Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The application, and its metrics."""

    app: Front
    metrics: Metrics


def create_app(
    parts: Parts,
    *,
    origins: frozenset[str],
    calls: Counter[tuple[str, str]],
    clock: Callable[[], float] = time.monotonic,
) -> Built:
    """Build the application.

    Args:
        parts: What the routes work with.
        origins: Other origins whose pages may read the answers.
        calls: gRPC calls answered, by rpc and status code.
        clock: A clock in seconds.
    """
    app = FastAPI(
        title="Tenant provisioner",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A path with a trailing slash is another path: a redirect would lose the `/api`.
        redirect_slashes=False,
    )
    front = Front(app, origins=origins)
    metrics = Metrics(parts.pages, parts.gates, http=front.counts, grpc=calls, clock=clock)
    # Paths are tried in this order, so what is asked most comes first.
    for room in (provisioning, tenants, sign_in, engines, v1):
        app.include_router(room.routes(parts))
    app.include_router(
        service.routes(
            lambda: description.openapi(app, routes_of(parts.services)),
            metrics,
            parts.admit_monitor,
            parts.access.store.demand_writes,
        )
    )
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _no_route(v1.no_route(parts.services)))
    app.add_exception_handler(ClientDisconnect, _gone)
    return Built(app=front, metrics=metrics)


async def _refused(_request: Request, error: Exception) -> CompactJson:
    assert isinstance(error, Refusal)  # noqa: S101 - registered for it alone
    return error.answer()


async def _invalid(_request: Request, error: Exception) -> CompactJson:
    """Answer with the wrong parameters of a request, without repeating what was sent."""
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    return Refusal(
        422,
        [
            {"loc": list(problem["loc"]), "msg": problem["msg"], "type": problem["type"]}
            for problem in problems
        ],
    ).answer()


def _no_route(
    of_v1: Callable[[str], CompactJson | None],
) -> Callable[[Request, Exception], Awaitable[CompactJson]]:
    """Return what answers that there is nothing here, or that it takes another method.

    In the old API a known path with another method is also "not found": its clients do not know
    any other answer.
    """

    async def answer(request: Request, error: Exception) -> CompactJson:
        status = error.status_code if isinstance(error, HTTPException) else 404
        if status in {404, 405}:
            found = of_v1(request.scope["path"])
            return found or CompactJson({"detail": "Not Found"}, 404)
        return CompactJson({"detail": str(getattr(error, "detail", ""))}, status)

    return answer


async def _gone(_request: Request, _error: Exception) -> CompactJson:
    """Answer a caller who hung up in mid-request: this is not a bug, so no traceback is logged."""
    return CompactJson({"detail": "Client Closed Request"}, 499)
