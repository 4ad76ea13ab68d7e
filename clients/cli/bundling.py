"""Carries out `bundle`: asks for everything the service tells about a tenant, and writes it.

The service returns no secrets. If something looks like one all the same (because somebody wrote it
into a reason, or an engine into an error), it is removed here.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from clients.cli.exit_codes import ExitCode
from clients.cli.json_view import as_object
from clients.cli.kept_log import kept_log
from clients.cli.wire_text import plain
from clients.sdk import ProvisionerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from clients.cli.output import Output
    from clients.cli.requests import Bundle
    from clients.sdk import ProvisionerClient

HIDDEN = "[secret]"
_SECRETS = (
    # Tokens and keys of this service, JWTs, keys of ERPNext in a header, passwords in urls.
    re.compile(r"provisioner_[0-9a-f]{16}_[A-Za-z0-9_-]{20,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"(?i)\b(?:bearer|basic|token)\s+[A-Za-z0-9._~+/=:-]{8,}"),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(
        r"(?i)(?:password|passwd|pwd|secret|api[_-]?key|api[_-]?secret|access[_-]?token)"
        r"[\"']?\s*[=:]\s*[\"']?[^\s\"',;}]+"
    ),
)


async def bundle(client: ProvisionerClient, request: Bundle, output: Output) -> ExitCode:
    """Ask for everything, and write it into one file.

    What the service refuses, besides the status, is left out and named in the file.

    Raises:
        ProvisionerError: the status can't be had.
        typer.BadParameter: the file can't be written.
    """
    # It comes first, as it alone must succeed: the tenant exists, and the caller may see it.
    status = await client.get_status(request.tenant)
    content: dict[str, Any] = {
        "bundle": 1,
        "written_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "service": request.address,
        "status": as_object(status),
        "log": await _or_why(lambda: _log(client, request.tenant)),
        "diagnosis": await _or_why(lambda: _diagnosis(client, request)),
        "findings": await _or_why(lambda: _findings(client, request.tenant)),
    }
    file = Path(request.file)
    _write(file, without_secrets(content))
    lines = len(content["log"]) if isinstance(content["log"], list) else 0
    if output.as_json:
        output.json({"file": str(file), "tenant_id": status.tenant_id, "log_entries": lines})
    else:
        output.lines([Text(f"Wrote {plain(str(file))}: status, {lines} log entries, diagnosis.")])
    return ExitCode.DONE


def without_secrets(value: Any) -> Any:  # Any: what JSON holds
    """Return a value without anything in it that looks like a secret.

    Args:
        value: Text, or what JSON holds; the keys of objects are left as they are.
    """
    if isinstance(value, str):
        for pattern in _SECRETS:
            value = pattern.sub(HIDDEN, value)
        return value
    if isinstance(value, dict):
        return {key: without_secrets(each) for key, each in value.items()}
    return [without_secrets(each) for each in value] if isinstance(value, list) else value


async def _or_why(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Return what was asked for, or why it could not be had: the rest is useful without it."""
    try:
        return await ask()
    except ProvisionerError as error:
        return {"missing": error.reason or error.code, "message": error.message}


async def _log(client: ProvisionerClient, tenant: str) -> list[dict[str, Any]]:
    async with kept_log(client, tenant) as log:
        return [as_object(entry) async for entry in log]


async def _diagnosis(client: ProvisionerClient, request: Bundle) -> dict[str, Any]:
    return as_object(await client.diagnose(request.tenant, skip_engine=request.skip_engine))


async def _findings(client: ProvisionerClient, tenant: str) -> list[dict[str, Any]]:
    found = await client.list_findings(tenant_id=tenant)
    return [as_object(finding) for finding in found.findings]


def _write(file: Path, content: Any) -> None:
    text = json.dumps(content, indent=2, ensure_ascii=True, allow_nan=False)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            os.fchmod(handle.fileno(), 0o600)
            handle.write(text + "\n")
    except OSError as error:
        raise typer.BadParameter(f"Cannot write {file} ({error.strerror}).") from error
