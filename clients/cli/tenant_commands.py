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
        metavar="SECONDS", min=0.1, help="Longest time to wait for an answer, in seconds."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON only, errors too.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow until the tenant is at rest.")]
RequestId = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Names this order: given again with the same id, it is the same order."
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
  provisioner start "Acme Ltd" --watch
  provisioner start "Acme Ltd" --country UG --payment Cash --payment "Credit Card"
  provisioner start "Acme Ltd" --plan
  provisioner start "Acme Ltd" --tenant-id "$ID" --json
  provisioner start -f tenants.yaml --watch
"""
)
def start(
    *,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Legal name of the company.", show_default=False)
    ] = "",
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Start every tenant of a YAML file instead; the same file again changes nothing.",
        ),
    ] = None,
    country: Annotated[
        str | None, typer.Option(metavar="CODE", help="ISO 3166-1 alpha-2 code. Default: KE.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="ISO 4217 code. Default: the country's.")
    ] = None,
    chart: Annotated[
        str | None, typer.Option(metavar="NAME", help="Chart of accounts. Default: Standard.")
    ] = None,
    demo_data: Annotated[
        bool | None,
        typer.Option("--demo-data/--no-demo-data", help="Make demo items. Default: no."),
    ] = None,
    pos_store: Annotated[
        bool | None,
        typer.Option("--pos-store/--no-pos-store", help="A warehouse of its own. Default: yes."),
    ] = None,
    till_user: Annotated[
        str | None,
        typer.Option(
            metavar="USER", help="ERPNext user who opens the till. Default: left to a person."
        ),
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Id of the engine. Default: the configured one."),
    ] = None,
    payment: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Means of payment, the default one first; repeat it for more."
            " Default: Cash, M-Pesa.",
        ),
    ] = None,
    opening_amount: Annotated[
        float | None,
        typer.Option(
            metavar="AMOUNT", help="Cash in the till for each means of payment. Default: 0."
        ),
    ] = None,
    tenant_id: Annotated[
        str | None,
        typer.Option(metavar="UUID", help="UUID for the tenant. Default: the service makes one."),
    ] = None,
    request_id: RequestId = None,
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="First show what would be made and whether the engine is ready; then ask.",
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --plan: go on without asking, if nothing stops it.")
    ] = False,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Provision a new tenant for a company.

    Ends as soon as the order is taken and durable; with --watch when the tenant is at
    rest, and then with 1 unless it is COMPLETED. docs/cli.md says what a file may hold.
    """
    spec = (country, currency, chart, demo_data, pos_store, till_user, engine, payment)
    if file is not None:
        if name or plan or tenant_id or any(value is not None for value in (*spec, opening_amount)):
            raise typer.BadParameter("With --file everything about the tenants is in the file.")
        return call(
            requests.StartMany(
                address=address, timeout_seconds=timeout, as_json=as_json, file=file, watch=watch
            )
        )
    if not name:
        raise typer.BadParameter("Give NAME, or --file with the tenants in it.")
    return call(
        requests.Start(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            company_name=name,
            country=country,
            currency=currency,
            chart=chart,
            demo_data=demo_data,
            pos_store=pos_store,
            till_user=till_user,
            engine=engine,
            payments=tuple(payment or ()),
            opening_amount=opening_amount,
            tenant_id=tenant_id,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
            plan=plan,
            yes=yes,
        )
    )


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

    A lost connection is mended by itself. With --json one object a line.
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
    """Drive on the steps that are not done, with fresh budgets.

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
        typer.Option(metavar="KEY", help="This step and those that need it. Default: all steps."),
    ] = "",
    reason: Reason = "",
    expected_revision: ExpectedRevision = None,
    request_id: RequestId = None,
    watch: Watch = False,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Look again at all steps, or at one and those that need it, and make what is missing."""
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
    """Carry out a command that calls the service; return its exit code."""
    # gRPC's own log lines on stderr would stand between what people are told.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Here and nowhere else: gRPC takes longer to import than --help may take.
    from clients.cli import calls  # noqa: PLC0415 - see above

    return calls.run(request)
