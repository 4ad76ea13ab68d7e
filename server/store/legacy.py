"""Reads the previous system's database as it was left, and never writes to it.

Columns and whole tables may be missing (migrations were rolled back), words may come from another
flow (the onboarding row was shared), and JSON may be text, null or broken. All of that reads as
"nothing was recorded".
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import inspect, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from server.errors import SettingsError, StoreUnavailable
from server.model.legacy import CompanyEvidence, LegacyStep, LegacyTenant
from server.settings.postgresql_url import check_postgresql
from server.store import postgres
from server.store.failures import DRIVER_ERRORS, detail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sqlalchemy import URL, Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_TENANTS, _ONBOARDING = "tenants", "tenant_onboarding"
# A run left about four documents. All are looked for at the engine in one request, whose length is
# limited.
_MOST_DOCUMENTS = 12
# The words of the provisioning flow; the other flow's DRAFT and PAUSED say nothing about it.
_FLOW_WORDS = frozenset({"NOT_STARTED", "IN_PROGRESS", "COMPLETED", "PARTIAL", "FAILED"})


async def read_legacy(url: str) -> list[LegacyTenant]:
    """Read every tenant of the old database, oldest first.

    Args:
        url: `sqlite+aiosqlite:///file` or `postgresql+asyncpg://…`, of a copy or of the original.

    Raises:
        SettingsError: it is not such a database.
        StoreUnavailable: it can't be read.
    """
    async with _reading(url) as connection:
        columns = await connection.run_sync(_columns)
        if not columns.get(_TENANTS, set()) >= {"id", "name"}:
            raise SettingsError(
                "The database named by --from has no table tenants(id, name): it is not the old "
                "system's. Check the URL."
            )
        tenants = await _rows(connection, _TENANTS)
        onboarding = await _rows(connection, _ONBOARDING) if _ONBOARDING in columns else []
    by_tenant = {_id(row["tenant_id"]): row for row in onboarding if row.get("tenant_id")}
    found = [_tenant(row, by_tenant.get(_id(row["id"]), {})) for row in tenants]
    return sorted(found, key=lambda tenant: (tenant.id, tenant.name))


@asynccontextmanager
async def _reading(url: str) -> AsyncIterator[AsyncConnection]:
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
    except Exception as error:
        # Without the error's words, which may contain the URL's password.
        raise SettingsError(
            "--from is no database URL. Give postgresql+asyncpg://user:password@host/database "
            "or sqlite+aiosqlite:////path/of/old.db."
        ) from error
    if kind not in _DRIVERS:
        raise SettingsError(f"--from names a database of kind {kind}; say sqlite or postgresql.")
    parsed = parsed.set(drivername=_DRIVERS[kind])
    engine = _engine_of(parsed, url)
    try:
        async with engine.connect() as connection:
            if kind == "sqlite":
                raw = (await connection.get_raw_connection()).driver_connection
                if raw is not None:
                    raw.text_factory = _text_or_bytes
            else:
                await connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            yield connection
    except DRIVER_ERRORS as error:
        # It is not the URL of our own database that is wrong here.
        words = detail(error).replace("PROVISIONER_DATABASE_URL", "--from")
        raise StoreUnavailable(f"The old database can't be read: {words}") from error
    finally:
        await engine.dispose()


def _engine_of(parsed: URL, url: str) -> AsyncEngine:
    if parsed.get_backend_name() == "sqlite":
        return create_async_engine(_only_reading(parsed), hide_parameters=True)
    try:
        check_postgresql(url)
    except ValueError as error:
        raise SettingsError(f"--from {error}.") from None
    return postgres.engine(parsed, connections=1, slow=True)


def _text_or_bytes(value: bytes) -> str | bytes:
    """Return a text that is not UTF-8 as its bytes: one such text must not hide every tenant."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _only_reading(url: URL) -> URL:
    file = Path(url.database or "")
    if not file.is_file():
        raise StoreUnavailable(f"There is no file {file}. Check --from.")
    # A file name may contain characters that mean something in a URI and name another file.
    return url.set(database=file.absolute().as_uri(), query={"mode": "ro", "uri": "true"})


def _columns(connection: Connection) -> dict[str, set[str]]:
    inspector = inspect(connection)
    there = set(inspector.get_table_names())
    return {
        table: {column["name"] for column in inspector.get_columns(table)}
        for table in (_TENANTS, _ONBOARDING)
        if table in there
    }


async def _rows(connection: AsyncConnection, table: str) -> list[dict[str, Any]]:
    query = text(f"SELECT * FROM {table}")  # noqa: S608 - one of two names of ours
    rows = (await connection.execute(query)).mappings()
    return [_storable({str(name): value for name, value in row.items()}) for row in rows]


def _tenant(row: Mapping[str, Any], onboarding: Mapping[str, Any]) -> LegacyTenant:
    steps = _steps(onboarding.get("provisioning_steps"))
    config = _document(onboarding.get("provisioning_config"))
    # The row is shared with another setup flow, whose words mean something else.
    is_ours = bool(onboarding.get("provisioning_type")) or bool(steps)
    word = str(onboarding.get("status") or "").upper()
    return LegacyTenant(
        id=_id(row["id"]),
        code=str(row.get("tenant_code") or ""),
        # Anything but a text is not a name, however Python would write it.
        name=row["name"] if isinstance(row["name"], str) else "",
        country_code=str(row.get("country_code") or "KE"),
        engine=str(row.get("engine") or ""),
        word=_tenant_word(row.get("provisioning_status")),
        onboarding_word=word if is_ours and word in _FLOW_WORDS - {"NOT_STARTED"} else "",
        steps=steps,
        error_message=str(onboarding.get("error_message") or row.get("provisioning_error") or ""),
        error_step=str(onboarding.get("error_step") or ""),
        evidence_of_company=_evidence_of_company(
            _document(onboarding.get("provisioning_metadata")),
            _document(onboarding.get("provisioning_steps")),
        ),
        include_demo_data=_flag(config.get("include_demo_data")),
        pos_store_enabled=_flag(config.get("pos_store_enabled")) is not False,
        chart=str(config.get("country_template") or ""),
        updated_at=_last_written(row, onboarding),
        evidence=json.dumps(
            {"tenant": dict(row), "onboarding": dict(onboarding)},
            default=str,
            ensure_ascii=False,
            sort_keys=True,
        ),
    )


def _last_written(row: Mapping[str, Any], onboarding: Mapping[str, Any]) -> datetime | None:
    """Return when the old system last wrote anything about a tenant.

    A tenant is PROVISIONING before it has an onboarding row: the run that its creation started is
    at work, although only the tenant's own time says so.
    """
    told = [onboarding.get(name) for name in ("updated_at", "completed_at", "started_at")]
    told += [each.get("created_at") for each in (onboarding, row)]
    return max((at for value in told if (at := _time(value)) is not None), default=None)


def _id(value: object) -> str:
    """Return an id as it is written here; a copy in SQLite may have its bare digits, or bytes."""
    try:
        return str(UUID(bytes=value) if isinstance(value, bytes) else UUID(str(value)))
    except ValueError:
        return str(value)


def _tenant_word(value: object) -> str:
    word = str(value or "").upper()
    return "" if word == "NOT_PROVISIONED" else word


def _steps(value: object) -> dict[str, LegacyStep]:
    return {
        key: LegacyStep(
            status=str(entry.get("status") or "").lower(),
            message=str(entry.get("message") or ""),
            error=str(entry.get("error") or ""),
        )
        for key, entry in _document(value).items()
        if isinstance(entry, dict)
    }


def _evidence_of_company(notes: Mapping[str, Any], steps: Mapping[str, Any]) -> CompanyEvidence:
    """Read what a run noted about its Company, in its own notes and in those of each step."""
    copies = [
        _document(entry.get("metadata")) for entry in steps.values() if isinstance(entry, dict)
    ]
    told = [notes, *copies]
    documents: dict[tuple[str, str], None] = {}
    for each in told:
        names = each.get("warehouse_names")
        warehouses = [*names] if isinstance(names, list) else []
        warehouses += [each.get(key) for key in ("main_store", "parent_warehouse", "warehouse")]
        for name in warehouses:
            if isinstance(name, str) and name:
                documents["Warehouse", name] = None
        profile = each.get("pos_profile_id")
        if isinstance(profile, str) and profile:
            documents["POS Profile", profile] = None
    return CompanyEvidence(
        name=_first_text(told, "company_name"),
        abbreviation=_first_text(told, "company_abbr"),
        documents=tuple(documents)[:_MOST_DOCUMENTS],
    )


def _first_text(documents: Sequence[Mapping[str, Any]], key: str) -> str:
    for document in documents:
        value = document.get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _document(value: object) -> dict[str, Any]:
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            # JSON nested too deeply counts as broken, too.
            return {}
    return _storable(value) if isinstance(value, dict) else {}


def _storable(value: Any) -> Any:
    """Return a value with texts that both databases take: without NULs and lone surrogates."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(each) for key, each in value.items()}
    return [_storable(each) for each in value] if isinstance(value, list) else value


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        return None  # in UTC it would be outside the years that Python knows
