"""The commands about engines: `list` asks the service, `check` asks the engine itself.

`check` runs on the machine that has the engines file and its keys; no server need be up.
"""

from __future__ import annotations

from typing import Annotated

import typer

from clients.cli import requests
from clients.cli.local_commands import Config, EnginesFile  # noqa: TC001 - typer reads them
from clients.cli.tenant_commands import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    Address,
    Json,
    Timeout,
    call,
)

commands = typer.Typer(rich_markup_mode=None)
engines = typer.Typer(name="engines", help="Look at the ERPNext sites.", rich_markup_mode=None)
commands.add_typer(engines)


@engines.command(
    "list",
    epilog="""\b
Examples:
  provisioner engines list
  provisioner engines list --json | jq '.engines[] | select(.gate != "UP")'
""",
)
def list_(
    *,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Show each engine's gate, slot, queue and step times.

    Ends with 1 if a gate is shut.
    """
    return call(requests.ListEngines(address=address, timeout_seconds=timeout, as_json=as_json))


@engines.command(
    "check",
    epilog="""\b
Examples:
  provisioner engines check main
  provisioner engines check main --engines-file engines.toml --country UG --json
""",
)
def check(
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Id in the engines file.")],
    country: Annotated[
        str, typer.Option(metavar="CODE", help="Country whose charts of accounts it looks for.")
    ] = "KE",
    config: Config = None,
    engines_file: EnginesFile = None,
    as_json: Json = False,
) -> int:
    """Check what an engine must have, and say how to fix it.

    Only reads. Ends with 0 if a tenant could be made now, 1 if something is missing, 2 if
    there is no such engine, 3 if it can't be reached.
    """
    from server.upkeep import engines_check as program  # noqa: PLC0415 - needed here alone

    return program(
        config=config,
        overrides={} if engines_file is None else {"engines_file": engines_file},
        name=name,
        country=country,
        as_json=as_json,
    )
