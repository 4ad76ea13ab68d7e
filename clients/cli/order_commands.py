"""The commands skip, cancel, deprovision, adopt and release; `ordering` carries them out."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from clients.cli import requests
from clients.cli.tenant_commands import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    Address,
    ExpectedRevision,
    Json,
    Reason,
    RequestId,
    Tenant,
    Timeout,
    Watch,
    call,
)

commands = typer.Typer(rich_markup_mode=None)

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show; change nothing.")]


@commands.command(
    epilog="""\b
Examples:
  provisioner skip "$ID" --step step_9_pos_session --reason "opened by hand"
  provisioner skip "$ID" --step step_6_items --reason "no demo data after all" --json
"""
)
def skip(
    *,
    tenant: Tenant,
    step: Annotated[
        str, typer.Option(metavar="KEY", help="The step: step_6_items or step_9_pos_session.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record; needed.")],
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Skip a step, with your name and the reason on record.

    A PARTIAL tenant that lacks nothing else becomes COMPLETED. To have the demo items made after
    all: provisioner retry TENANT --step step_6_items. The till of a shop that was COMPLETED once is
    opened in ERPNext.
    """
    return call(
        requests.Skip(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            step=step,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner cancel "$ID" --reason "wrong company name"
  provisioner cancel "$ID" --watch
"""
)
def cancel(
    *,
    tenant: Tenant,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Stop a tenant's run, and say what is left at the engine.

    The run is closed at once if no request is out, and otherwise once its outcome is known;
    until then the status says CANCELLING. Continue drives a cancelled tenant on, deprovision
    removes what is left.
    """
    return call(
        requests.Cancel(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner deprovision "$ID" --dry-run
  provisioner deprovision "$ID" --yes --watch
  provisioner deprovision "$ID" --even-if-sold --delete-transactions --reason "closed down"
"""
)
def deprovision(
    *,
    tenant: Tenant,
    even_if_sold: Annotated[
        bool, typer.Option("--even-if-sold", help="Remove a shop that has sold something.")
    ] = False,
    delete_transactions: Annotated[
        bool,
        typer.Option(
            "--delete-transactions",
            help="Have ERPNext delete the Company's transactions and ledger entries first.",
        ),
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Remove what was made for a tenant, after asking. Shows the list first.

    Removes only what the service made; what existed before, and what tenants share, stays. If it
    stops half-way, the same command goes on. Start with the same --tenant-id and values makes the
    tenant anew.
    """
    return call(
        requests.Deprovision(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            even_if_sold=even_if_sold,
            delete_transactions=delete_transactions,
            dry_run=dry_run,
            yes=yes,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner adopt "$ID" --dry-run
  provisioner adopt "$ID" --yes --watch --reason "made by hand on Monday"
"""
)
def adopt(
    *,
    tenant: Tenant,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Accept an existing Company as the tenant's, after asking. Shows the checks first.

    For a tenant that stopped with COMPANY_NOT_OURS or COMPANY_VANISHED. An adopted Company
    is used and never deleted.
    """
    return call(
        requests.Adopt(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            dry_run=dry_run,
            yes=yes,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner release "$ID" --dry-run
  provisioner release "$ID" --yes --reason "Company restored from backup"
"""
)
def release(
    *,
    tenant: Tenant,
    dry_run: DryRun = False,
    yes: Yes = False,
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Lift a hold, or free a dead worker's run, after asking. Shows who holds it, and since when.

    A worker that is alive keeps its run; cancel stops that one.
    """
    return call(
        requests.Release(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            dry_run=dry_run,
            yes=yes,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
        )
    )
