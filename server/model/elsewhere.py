"""Tenants that no worker here can drive: those of another kind of engine or of another site."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from server.model.spec import DEFAULT_COUNTRY_CODE

if TYPE_CHECKING:
    from server.model.records import Tenant

ENGINE_ELSEWHERE = "ENGINE_ELSEWHERE"


def is_elsewhere(tenant: Tenant) -> bool:
    """Tell whether a tenant lives on no site of ours, and never will: its row names no site."""
    return not tenant.site


def why_nothing_moves(tenant: Tenant) -> str:
    """Say for people why nothing drives such a tenant, and what helps.

    Returns:
        A text without a full stop: the caller adds one, or the command (`start_here`).
    """
    return (
        f"It was registered for an engine of kind {tenant.spec.engine_id!r}, where this service "
        "makes nothing: no order moves it. To have the company on an engine of this service, "
        "start it there as another tenant"
    )


def why_other_site(tenant: Tenant, site: str) -> str:
    """Say why no worker takes up a tenant although its engine is configured.

    Args:
        tenant: The tenant; it lives on the site that its row names.
        site: The site of its engine, as configured here.

    Returns:
        What is wrong and what to do; "" if its row names that site, or no site.
    """
    if tenant.site in {site, ""}:
        return ""
    return (
        f"Its row names the site {tenant.site!r}, and engine {tenant.spec.engine_id!r} is the "
        f"site {site!r} here, so no worker takes it up. If the engine's address was changed by "
        "mistake, set it back in PROVISIONER_ENGINES_FILE and start again. If it is the same site "
        'at another address, or the row was damaged, correct the rows by SQL: see "Another '
        'address" in docs/operations.md.'
    )


def why_not_here(tenant: Tenant, site: str | None) -> str:
    """Say why neither an order nor a worker of this server reaches a tenant.

    Args:
        tenant: The tenant whose engine is looked up.
        site: The site of the engine of that name here; None if there is no such engine.

    Returns:
        What is wrong and what to do; "" if it is reached.
    """
    if site is not None:
        return why_other_site(tenant, site)
    engine_id = tenant.spec.engine_id
    return (
        f"Its engine {engine_id!r} is not configured at this server: no order given here reaches "
        f"it. Add [engines.{engine_id}] to PROVISIONER_ENGINES_FILE and start the server again."
    )


def start_here(tenant: Tenant) -> str:
    """Return the command that starts the same company as a new tenant on the default engine."""
    spec = tenant.spec
    country = "" if spec.country_code == DEFAULT_COUNTRY_CODE else f" --country {spec.country_code}"
    return f"provisioner start {shlex.quote(spec.company_name)}{country}"
