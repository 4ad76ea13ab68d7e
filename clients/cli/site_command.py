"""The command `accept-site`: over a server, or with --local in the database itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.cli import requests
from clients.cli.local_commands import (
    Config,  # noqa: TC001 - typer reads it
    DatabaseUrl,  # noqa: TC001 - typer reads it
    EnginesFile,  # noqa: TC001 - typer reads it
)
from clients.cli.order_commands import DryRun, Yes  # noqa: TC001 - typer reads them
from clients.cli.tenant_commands import (
    DEFAULT_ADDRESS,
    DEFAULT_TIMEOUT_SECONDS,
    Address,
    Json,
    Reason,
    Timeout,
    call,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    "accept-site",
    epilog="""\b
Examples:
  provisioner accept-site main --dry-run
  provisioner accept-site main --reason "moved to the new machine on Monday"
  provisioner accept-site main --local --yes
""",
)
def accept_site(
    engine: Annotated[
        str, typer.Argument(metavar="ENGINE", help="Name of the engine in the engines file.")
    ],
    *,
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
    local: Annotated[
        bool,
        typer.Option(
            "--local", help="Ask no server: write into the database, where no server runs."
        ),
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    engines_file: EnginesFile = None,
    address: Address = DEFAULT_ADDRESS,
    timeout: Timeout = DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Accept an engine's site as it is, after asking.

    It may be a different one than before, or lack Companies.

    Shows why its gate is shut, and asks. The options that name settings go with --local.
    """
    local_settings = {
        "config": config,
        "database_url": database_url,
        "engines_file": engines_file,
    }
    if local:
        return _accept_locally(
            engine,
            {name: value for name, value in local_settings.items() if value is not None},
            reason=reason,
            dry_run=dry_run,
            yes=yes,
            as_json=as_json,
        )
    for name, value in local_settings.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            raise typer.BadParameter(f"{option} is for --local, which asks no server. Add it.")
    return call(
        requests.AcceptSite(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            engine=engine,
            reason=reason,
            dry_run=dry_run,
            yes=yes,
        )
    )


def _accept_locally(
    engine: str,
    settings: dict[str, Any],  # Any: paths and texts
    *,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Write into the database, after showing the same and asking the same."""
    # Imported here, as the --help of other commands needs neither the server nor the texts.
    from clients.cli.accepting import QUESTION, lines  # noqa: PLC0415 - see above
    from clients.cli.asking import agreed  # noqa: PLC0415 - see above
    from clients.cli.output import Output  # noqa: PLC0415 - see above
    from server.upkeep import accept_site as program  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)

    async def confirm(seen: Mapping[str, Any]) -> bool:  # Any: JSON values
        output.lines(lines(dict(seen)))
        return not dry_run and await agreed(QUESTION, output, yes=yes)

    config = settings.pop("config", None)
    return program(
        engine,
        config=config,
        overrides=settings,
        reason=reason,
        confirm=confirm,
        dry_run=dry_run,
        as_json=as_json,
    )
