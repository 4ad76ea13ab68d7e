"""Tenants whose stored spec can't be read: nothing is made for them from defaults."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.model.records import Tenant
    from server.model.spec import TenantSpec

SPEC_UNREADABLE = "SPEC_UNREADABLE"

# For each field, the option of `provisioner start` and a placeholder for an unknown value.
_OPTIONS = {
    "country_code": ("--country", "COUNTRY"),
    "currency": ("--currency", "CURRENCY"),
    "chart_template": ("--chart", "CHART"),
    "till_user": ("--till-user", "USER"),
    "payment_methods": ("--payment", "METHOD"),
    "opening_amount": ("--opening-amount", "AMOUNT"),
}
_FLAGS = {"include_demo_data": "--demo-data", "pos_store_enabled": "--pos-store"}


def why_unreadable(tenant: Tenant) -> str:
    """Say for people what is wrong, and what to do about it."""
    return (
        f"Of the tenant's stored spec {', '.join(tenant.spec_damage)} can't be read: its row was "
        "damaged from outside (SQL, a restore, an import). Nothing is filled in with defaults. "
        f"State the spec again as provisioner diagnose {tenant.id} shows, then continue."
    )


def say_again(tenant: Tenant) -> str:
    """Return the command that gives the spec again, with capitals for what is not known here."""
    spec = tenant.spec
    words = ["provisioner", "start", spec.company_name, "--tenant-id", tenant.id]
    words += ["--engine", spec.engine_id]
    for name, (option, unknown) in _OPTIONS.items():
        value = getattr(spec, name)
        if name in tenant.spec_damage:
            words += [option, unknown]
        elif isinstance(value, tuple):
            words += [word for each in value for word in (option, each)]
        elif value is not None:
            words += [option, f"{value:g}" if isinstance(value, float) else value]
    for name, flag in _FLAGS.items():
        no = "" if name in tenant.spec_damage or getattr(spec, name) else "no-"
        words.append(flag.replace("--", f"--{no}", 1))
    return shlex.join(words)


def as_said_again(tenant: Tenant, said: TenantSpec) -> TenantSpec:
    """Return the stored spec, with the fields that can't be read as a person gives them now.

    Args:
        tenant: The tenant, with the damage to its spec.
        said: What the person gives, checked; its other fields are not looked at.
    """
    return replace(tenant.spec, **{name: getattr(said, name) for name in tenant.spec_damage})
