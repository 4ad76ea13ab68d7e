"""The command `list`: filters in, a request out; `listing` carries it out."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from clients.cli import requests, tenant_commands

commands = typer.Typer(rich_markup_mode=None)

_DEFAULT_LIMIT = 50
_MAX_LIMIT = 1_000_000
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class State(StrEnum):
    """The words a list can be narrowed to."""

    PENDING = "PENDING"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    DEPROVISIONING = "DEPROVISIONING"
    DEPROVISIONED = "DEPROVISIONED"


class Order(StrEnum):
    """Which tenants come first."""

    NEWEST = "newest"
    OLDEST = "oldest"
    UPDATED = "updated"
    NAME = "name"


def _seconds(text: str | None) -> str | None:
    if text is not None and not _SPAN.fullmatch(text):
        raise typer.BadParameter(f"{text!r} must be like 90s, 15m, 2h or 3d.")
    return text


@commands.command(
    "list",
    epilog="""\b
Examples:
  provisioner list
  provisioner list --state FAILED --state PARTIAL --order updated
  provisioner list acme --engine main
  provisioner list --stuck 2h --json | jq -r '.tenants[].tenant_id'
""",
)
def list_(
    *,
    text: Annotated[
        str,
        typer.Argument(
            metavar="[TEXT]",
            help="The beginning of a word in the company's name, or the tenant's id.",
            show_default=False,
        ),
    ] = "",
    state: Annotated[
        list[State] | None,
        typer.Option(case_sensitive=False, help="In this state; repeat it for more. Default: any."),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="ID", help="On this engine. Default: any.")] = "",
    held: Annotated[
        bool | None,
        typer.Option("--held/--not-held", help="Only held tenants, or only those that are not."),
    ] = None,
    stuck: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN",
            callback=_seconds,
            help="Neither completed nor ended by a person for longer than this: 90s, 15m, 2h, 3d.",
        ),
    ] = None,
    order: Annotated[
        Order, typer.Option(case_sensitive=False, help="Which to list first.")
    ] = Order.NEWEST,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=_MAX_LIMIT, help="Most tenants to show.")
    ] = _DEFAULT_LIMIT,
    page_token: Annotated[
        str,
        typer.Option(
            metavar="TOKEN", help="Go on after an earlier page: its `next_page_token` from --json."
        ),
    ] = "",
    address: tenant_commands.Address = "127.0.0.1:50051",
    timeout: tenant_commands.Timeout = 10.0,
    as_json: tenant_commands.Json = False,
) -> int:
    """List tenants: state, progress, and what is wrong.

    For one that is under way, WHY says what it waits for.

    The time says how long the tenant has had its state or, if it is not well, how long ago it last
    was. Ends with 0 even if none is found.
    """
    return tenant_commands.call(
        requests.ListTenants(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            text=text,
            states=tuple(word.value for word in state or ()),
            engine=engine,
            held=held,
            stuck_seconds=None if stuck is None else _span(stuck),
            order=order.name,
            limit=limit,
            page_token=page_token,
        )
    )


def _span(text: str) -> float:
    match = _SPAN.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} must be like 90s, 15m, 2h or 3d.")
    return float(match[1]) * _SECONDS[match[2]]
