"""A database as the old system left it, damaged in the ways that were seen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import URL

TENANTS = """CREATE TABLE tenants (id {uuid} PRIMARY KEY, tenant_code varchar(32),
 name varchar(255) NOT NULL, country_code varchar(2), status varchar(20), engine varchar(20),
 created_at {time}{more})"""
MORE = ", provisioning_status varchar(20), provisioned_at {time}, provisioning_error text"
ONBOARDING = """CREATE TABLE tenant_onboarding (id {uuid} PRIMARY KEY, tenant_id {uuid} UNIQUE,
 workspace_type varchar(50), template varchar(50), status varchar(20), current_step varchar(100),
 provisioning_type varchar(20), provisioning_config {json}, provisioning_steps {json},
 provisioning_metadata {json}, error_message text, error_step varchar(100), started_at {time},
 completed_at {time}, updated_at {time})"""
KINDS = {
    "sqlite": {"uuid": "varchar(36)", "time": "text", "json": "text"},
    "postgresql": {"uuid": "uuid", "time": "timestamptz", "json": "jsonb"},
}
LONG_AGO = "2026-01-20T21:30:11+00:00"


def tenant_id(number: int) -> str:
    return f"0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f{number:02d}"


def steps(*keys: str, status: str = "completed") -> dict[str, Any]:
    return {key: {"status": status, "message": "done", "error": None} for key in keys}


async def make_old(
    url: URL | str,
    tenants: Sequence[dict[str, Any]],
    *,
    columns_dropped: bool = False,
    onboarding: bool = True,
) -> None:
    """Make the tables and their rows.

    Args:
        url: Of an empty database.
        tenants: Each with `number`, `name`, and what else is not as usual.
        columns_dropped: Whether the migration was rolled back.
        onboarding: Whether there is that table.
    """
    engine = create_async_engine(url)
    kind = KINDS[engine.dialect.name]
    more = "" if columns_dropped else MORE.format(**kind)
    async with engine.begin() as connection:
        await connection.execute(text(TENANTS.format(more=more, **kind)))
        if onboarding:
            await connection.execute(text(ONBOARDING.format(**kind)))
        for tenant in tenants:
            row: dict[str, Any] = {
                "id": tenant_id(tenant["number"]),
                "name": tenant["name"],
                "country_code": tenant.get("country_code", "KE"),
                "engine": tenant.get("engine", "erpnext"),
            }
            if not columns_dropped:
                row["provisioning_status"] = tenant.get("word", "NOT_PROVISIONED")
            await _insert(connection, "tenants", row, engine.dialect.name)
            if onboarding and "onboarding" in tenant:
                given = {
                    "id": tenant_id(tenant["number"] + 50),
                    "tenant_id": row["id"],
                    "template": "company_to_pos",
                    "provisioning_type": "company_to_pos",
                    "updated_at": LONG_AGO,
                    **tenant["onboarding"],
                }
                await _insert(connection, "tenant_onboarding", given, engine.dialect.name)
    await engine.dispose()


async def _insert(connection: Any, table: str, row: dict[str, Any], kind: str) -> None:
    shaped = {
        name: json.dumps(value) if isinstance(value, dict) else value for name, value in row.items()
    }
    casts: dict[str, str] = {}
    if kind == "postgresql":
        casts = {"id": "uuid", "tenant_id": "uuid", "updated_at": "timestamptz"}
        casts |= dict.fromkeys(("provisioning_config", "provisioning_steps"), "jsonb")
    values = ", ".join(
        f"CAST(CAST(:{name} AS text) AS {casts[name]})" if name in casts else f":{name}"
        for name in shaped
    )
    await connection.execute(
        text(f"INSERT INTO {table} ({', '.join(shaped)}) VALUES ({values})"),  # noqa: S608 - ours
        shaped,
    )
