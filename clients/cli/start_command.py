"""The command `start`: one tenant from options, or many from a file, into a request."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from clients.cli import requests
from clients.cli import spec_options as wanted
from clients.cli import tenant_commands as common

commands = typer.Typer(rich_markup_mode=None)

Name = Annotated[
    str, typer.Argument(metavar="[NAME]", help="Legal name of the company.", show_default=False)
]
File = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Start every tenant of a YAML file instead; the same file again changes nothing.",
    ),
]
TenantId = Annotated[
    str | None,
    typer.Option(metavar="UUID", help="UUID for the tenant. Default: the service chooses one."),
]
Plan = Annotated[
    bool,
    typer.Option(
        "--plan", help="First show what would be made and whether the engine is ready, then ask."
    ),
]
Yes = Annotated[
    bool,
    typer.Option(
        "--yes", "-y", help="With --plan: go on without asking if nothing stands in the way."
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
    name: Name = "",
    file: File = None,
    country: wanted.Country = None,
    currency: wanted.Currency = None,
    chart: wanted.Chart = None,
    demo_data: wanted.DemoData = None,
    pos_store: wanted.PosStore = None,
    till_user: wanted.TillUser = None,
    engine: wanted.Engine = None,
    payment: wanted.Payment = None,
    opening_amount: wanted.OpeningAmount = None,
    tenant_id: TenantId = None,
    request_id: common.RequestId = None,
    plan: Plan = False,
    yes: Yes = False,
    watch: common.Watch = False,
    address: common.Address = common.DEFAULT_ADDRESS,
    timeout: common.Timeout = common.DEFAULT_TIMEOUT_SECONDS,
    as_json: common.Json = False,
) -> int:
    """Provision a new tenant for a company.

    Ends as soon as the order is durable or, with --watch, when the tenant is at rest, and then with
    1 unless it is COMPLETED. docs/cli.md describes the file.
    """
    spec = requests.Spec(
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
    )
    _demand_one_source(file, spec, of_one_tenant=plan or yes or bool(tenant_id or request_id))
    if file is not None:
        return common.call(
            requests.StartMany(
                address=address, timeout_seconds=timeout, as_json=as_json, file=file, watch=watch
            )
        )
    return common.call(
        requests.Start(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            spec=spec,
            tenant_id=tenant_id,
            request_id=request_id or str(uuid.uuid4()),
            watch=watch,
            plan=plan,
            yes=yes,
        )
    )


def _demand_one_source(file: str | None, spec: requests.Spec, *, of_one_tenant: bool) -> None:
    """Refuse a file and a tenant beside it, and neither of the two."""
    if file is not None and (of_one_tenant or spec != requests.NO_SPEC):
        raise typer.BadParameter("With --file everything about the tenants is in the file.")
    if file is None and not spec.company_name:
        raise typer.BadParameter("Give NAME, or --file with the tenants in it.")
