"""The commands about tenants: options in, a request out; `calls` carries it out."""

from __future__ import annotations

import os
import uuid
from typing import Annotated

import typer

from clients.cli import requests

commands = typer.Typer(rich_markup_mode=None)

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT_SECONDS = 10.0
_MAX_INT64 = 2**63 - 1
LONGEST_TIMEOUT_SECONDS = 86_400
# Targets that gRPC resolves in its own way, without a port at the end.
_SCHEMES = ("unix:", "unix-abstract:", "vsock:", "dns:", "ipv4:", "ipv6:", "xds:")


def _host_and_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not address.startswith(_SCHEMES) and not (host and port.isdecimal()):
        raise typer.BadParameter(f"{address!r} must be like {DEFAULT_ADDRESS}.")
    return address


Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="UUID of the tenant.")]
Address = Annotated[
    str,
    typer.Option(
        envvar="PROVISIONER_GRPC_ADDRESS",
        metavar="HOST:PORT",
        callback=_host_and_port,
        help="Where the service listens.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.1,
        max=LONGEST_TIMEOUT_SECONDS,
        help="Longest time to wait for an answer, in seconds.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, for errors too.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow until the tenant is at rest.")]
RequestId = Annotated[
    str | None,
    typer.Option(
        metavar="ID",
        help="Names this order: repeated with the same id, it is carried out only once.",
    ),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")]
ExpectedRevision = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=_MAX_INT64, help="Only if the tenant still has this revision."
    ),
]


@commands.command(
    epilog="""\b
Examples:
  provisioner status 01900000-0000-7000-8000-000000000001
  provisioner status "$ID" --watch
  provisioner status "$ID" --json | jq -r .state
"""
)
def status(
    *,
    tenant: Tenant,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Show where a tenant stands, why, and the next command.

    Ends with 1 if the tenant is PARTIAL, FAILED, held or stalled.
    """
    return call(
        requests.Status(
            address=address, timeout_seconds=timeout, as_json=as_json, tenant=tenant, watch=watch
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner logs "$ID"
  provisioner logs "$ID" -f
  provisioner logs "$ID" --after 120 --json
"""
)
def logs(
    *,
    tenant: Tenant,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the tenant is at rest.")
    ] = False,
    after: Annotated[
        int,
        typer.Option(metavar="CURSOR", min=0, max=_MAX_INT64, help="Begin after this entry."),
    ] = 0,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Show a tenant's log, each entry once; times are UTC.

    Reconnects by itself. With --json it prints one object per line.
    """
    return call(
        requests.Logs(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            after=after,
            follow=follow,
        )
    )


@commands.command(
    "continue",
    epilog="""\b
Examples:
  provisioner continue "$ID" --watch
  provisioner continue "$ID" --reason "user added in ERPNext" --expected-revision 17
""",
)
def continue_(
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
    """Resume the steps that are not done, with fresh budgets.

    Does nothing to a COMPLETED tenant. Lifts a hold.
    """
    return call(
        requests.Continue(
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
  provisioner retry "$ID"
  provisioner retry "$ID" --step step_8_pos_profile --watch
"""
)
def retry(
    *,
    tenant: Tenant,
    step: Annotated[
        str,
        typer.Option(
            metavar="KEY", help="This step and those that depend on it. Default: all steps."
        ),
    ] = "",
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Check steps again, and make what is missing. All of them, or one and those that depend on it.

    Skipped steps are done, too: all of them without --step, only those that are checked with it.
    Continue leaves them out. The till of a shop that was COMPLETED once is never opened again.
    """
    return call(
        requests.Retry(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=tenant,
            step=step,
            reason=reason,
            expected_revision=expected_revision,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
        )
    )


def call(request: requests.Request) -> int:
    """Carry out a command that calls the service; return its exit code.

    Raises:
        typer.BadParameter: a file that the command needs, or a setting, can't be used.
    """
    # gRPC's own log lines on stderr would appear among the lines for people.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here only: importing gRPC takes longer than --help may take.
    from clients.cli import calls  # noqa: PLC0415 - see above

    return calls.run(request)
