"""The description of the API at /openapi.json: old routes from FastAPI, `/v1` from the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from server.rest import documented, documented_v1

if TYPE_CHECKING:
    from fastapi import FastAPI

    from server.rest.routes_v1 import Route

_ABOUT = """Provisions tenants of a point-of-sale system, step by step.

Every address answers with and without `/api` before it. The routes without a version are
those of the old API. `/v1` carries the gRPC contract as JSON: the same rights, limits and
errors.
"""


def openapi(app: FastAPI, routes: tuple[Route, ...]) -> dict[str, Any]:  # Any: JSON
    """Return the description, which is made only once."""
    if app.openapi_schema is None:
        described = get_openapi(
            title=app.title, version=app.version, description=_ABOUT, routes=app.routes
        )
        components = described.setdefault("components", {})
        shapes = components.setdefault("schemas", {})
        shapes.update(documented.schemas())
        shapes.update(documented_v1.schemas(routes))
        components["securitySchemes"] = {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "A token of POST /auth/login, or an API key.",
            }
        }
        for path in described["paths"].values():
            for operation in path.values():
                _tidy(operation)
        app.openapi_schema = described
    return app.openapi_schema


def _tidy(operation: dict[str, Any]) -> None:
    """Remove FastAPI's own schema for errors, which we do not use, and double parameters."""
    refusals = operation.get("responses", {})
    invalid = refusals.get("422", {}).get("content", {}).get("application/json", {})
    if invalid.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
        del refusals["422"]
    known: dict[tuple[str, str], dict[str, Any]] = {}
    for parameter in operation.get("parameters", ()):
        known.setdefault((parameter["in"], parameter["name"]), parameter)
    if known:
        operation["parameters"] = list(known.values())
