"""The commands that look at the engine: options in, a request out; `surveying` carries it out."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Annotated

import typer

from clients.cli import requests
from clients.cli import spec_options as wanted
from clients.cli.tenant_commands import DEFAULT_ADDRESS, Address, Json, Tenant, Timeout, call

commands = typer.Typer(rich_markup_mode=None)

# A look makes some thirty requests; the service itself gives up after a minute.
LOOK_SECONDS = 65.0


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


@commands.command(
    epilog="""\b
Examples:
  provisioner plan "Acme Ltd"
  provisioner plan "Acme Ltd" --country UG --demo-data --json
  provisioner plan "$ID"
"""
)
def plan(
    *,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="NAME|TENANT", help="Legal name of a new company, or UUID of a tenant."
        ),
    ],
    country: wanted.Country = None,
    currency: wanted.Currency = None,
    chart: wanted.Chart = None,
    demo_data: wanted.DemoData = None,
    pos_store: wanted.PosStore = None,
    till_user: wanted.TillUser = None,
    engine: wanted.Engine = None,
    payment: wanted.Payment = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = LOOK_SECONDS,
    as_json: Json = False,
) -> int:
    """Show what a run would find and make, without writing. Also what is in its way.

    For an existing tenant, or for a company that nobody has started yet. Ends with 1 if something
    stands in the way, with 3 if the engine is not ready.
    """
    spec = requests.Spec(
        country=country,
        currency=currency,
        chart=chart,
        demo_data=demo_data,
        pos_store=pos_store,
        till_user=till_user,
        engine=engine,
        payments=tuple(payment or ()),
    )
    known = _is_uuid(subject)
    if known and spec != requests.NO_SPEC:
        raise typer.BadParameter("A tenant that is there has its spec; leave those options out.")
    return call(
        requests.Plan(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            tenant=subject if known else "",
            spec=None if known else replace(spec, company_name=subject),
        )
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner verify "$ID"
  provisioner verify "$ID" --json | jq '.survey.steps[] | select(.standing != "OK")'
"""
)
def verify(
    *,
    tenant: Tenant,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = LOOK_SECONDS,
    as_json: Json = False,
) -> int:
    """Show how a tenant differs from what it should have. Writes nothing.

    Ends with 0 if nothing differs, with 1 on drift, with 3 if the engine is not ready. Only an
    order (retry) corrects drift, and a till is never opened again.
    """
    return call(
        requests.Verify(address=address, timeout_seconds=timeout, as_json=as_json, tenant=tenant)
    )
