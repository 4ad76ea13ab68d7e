"""The commands that heal and tell about it: options in, a request out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from clients.cli import requests
from clients.cli.tenant_commands import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    Address,
    Json,
    Timeout,
    call,
)

commands = typer.Typer(rich_markup_mode=None)

# A sweep looks at every tenant that needs a look; ten thousand of them take a while.
_SWEEP_TIMEOUT_SECONDS = 120.0

Limit = Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Most of them to show.")]


def _time(text: str | None) -> str | None:
    if text is not None:
        try:
            # The last day of all, as it is elsewhere, is none in UTC.
            datetime.fromtimestamp(_seconds(text), UTC)
        except (ValueError, OverflowError) as error:
            raise typer.BadParameter(
                f"{text!r} must be a time like 2026-11-24 or 2026-11-24T18:00:00+00:00."
            ) from error
    return text


@commands.command(
    epilog="""\b
Examples:
  provisioner fix "$ID"
  provisioner fix "$ID" --yes
  provisioner fix --all-stuck --dry-run
"""
)
def fix(
    *,
    tenant: Annotated[
        str, typer.Argument(metavar="[TENANT]", help="UUID of the tenant.", show_default=False)
    ] = "",
    all_stuck: Annotated[
        bool,
        typer.Option(
            "--all-stuck", help="All tenants that a sweep finds stuck or hands to a person."
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show causes and remedies, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Apply without asking.")] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = _SWEEP_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Diagnose a tenant, and apply the remedy after asking. Follows it to the end.

    Ends with 0 if the tenant is done; with 1 if it is not, or if a person must fix something first;
    with 2 if it asks and nobody answers (--yes does not ask).
    """
    if bool(tenant) == all_stuck:
        raise typer.BadParameter("Name a TENANT, or give --all-stuck.")
    return call(
        requests.Fix(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            all_stuck=all_stuck,
            dry_run=dry_run,
            yes=yes,
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner sweep --dry-run
  provisioner sweep --json | jq '.findings[].cause'
"""
)
def sweep(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and why; change nothing.")
    ] = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = _SWEEP_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Sweep now: look at every tenant that needs it, and heal."""
    return call(
        requests.Sweep(address=address, timeout_seconds=timeout, as_json=as_json, dry_run=dry_run)
    )


@commands.command(
    epilog="""\b
Example:
  provisioner sweeps --limit 10
"""
)
def sweeps(
    *,
    limit: Limit = 20,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """List sweeps that found something. Says also whether sweeps run on time.

    Ends with 1 if the server's own reconciler is late.
    """
    return call(
        requests.ListSweeps(address=address, timeout_seconds=timeout, as_json=as_json, limit=limit)
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner findings --open
  provisioner findings "$ID"
  provisioner findings --person --json
"""
)
def findings(
    *,
    tenant: Annotated[
        str, typer.Argument(metavar="[TENANT]", help="Only this tenant's.", show_default=False)
    ] = "",
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that have not ended: how things stand now.")
    ] = False,
    person_only: Annotated[
        bool, typer.Option("--person", help="Only those for which a person must act.")
    ] = False,
    members: Annotated[
        bool, typer.Option("--members", help="Also those that are counted in another finding.")
    ] = False,
    limit: Limit = 50,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """List what sweeps found and what became of it. Newest first."""
    return call(
        requests.ListFindings(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            open_only=open_only,
            person_only=person_only,
            members=members,
            limit=limit,
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner report > healed-overnight.md
  provisioner report --hours 168 --json
  provisioner report --from 2026-11-23 --to 2026-11-24
"""
)
def report(
    *,
    hours: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.01, max=87_600, help="How many hours back. Default: 24."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", callback=_time, help="Begin of the period, UTC."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", callback=_time, help="End of the period, UTC."),
    ] = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Report what got stuck and what became of it. As Markdown: causes, remedies, times."""
    if hours is not None and begin is not None:
        raise typer.BadParameter("Give --hours or --from, not both.")
    return call(
        requests.Report(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            begins_at=None if begin is None else _seconds(begin),
            ends_at=None if end is None else _seconds(end),
            hours=hours,
        )
    )


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text)
    return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment).timestamp()
