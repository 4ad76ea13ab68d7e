"""Tenants that an old client registered for another kind of engine: no run here moves them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from server.model.spec import DEFAULT_COUNTRY_CODE

if TYPE_CHECKING:
    from server.model.records import Tenant

ENGINE_ELSEWHERE = "ENGINE_ELSEWHERE"


def is_elsewhere(tenant: Tenant) -> bool:
    """Tell whether a tenant lives at no site of ours, and never will."""
    return not tenant.site


def why_nothing_moves(tenant: Tenant) -> str:
    """Say it for people, up to the command that helps."""
    return (
        f"It was registered for an engine of kind {tenant.spec.engine_id!r}, where this service "
        "makes nothing: no order moves it. To have the company on an engine of this service, "
        "start it there as another tenant"
    )


def start_here(tenant: Tenant) -> str:
    """Return the command that starts the company on the default engine, as a new tenant."""
    spec = tenant.spec
    country = "" if spec.country_code == DEFAULT_COUNTRY_CODE else f" --country {spec.country_code}"
    return f"provisioner start {shlex.quote(spec.company_name)}{country}"
