"""The commands that start programs or touch the database on this machine.

Each only turns its options into one call of `server.__main__` or `server.upkeep`, which decide
everything and also check the settings. Options that are not given are not passed on, so that the
environment and the file named by --config still count. The server is imported only by the command
that needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

_YEAR_OF_MINUTES = 525_600

commands = typer.Typer(rich_markup_mode=None)
database = typer.Typer(
    name="db",
    help="Look after the database.",
    rich_markup_mode=None,
)
commands.add_typer(database)

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="Read settings from this file.")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="sqlite+aiosqlite:///... or postgresql+asyncpg://... (a file by default).",
    ),
]
GrpcAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where gRPC listens. Default: 127.0.0.1:50051."),
]
HttpAddress = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Where HTTP listens. Default: 127.0.0.1:4000."),
]
LeaseSeconds = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS", help="Time until a dead worker's runs are taken over. Default: 10."
    ),
]
SweepSeconds = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Time between two sweeps of the reconciler. Default: 30."),
]
DrainSeconds = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Time to wait for answers when stopping. Default: 25."),
]
EnginesFile = Annotated[
    str | None, typer.Option(metavar="FILE", help="TOML file that names the engines.")
]
Auth = Annotated[
    str | None, typer.Option(metavar="on|off", help="Make callers sign in. Default: on.")
]
Insecure = Annotated[
    bool,
    typer.Option("--insecure", help="Start even though others may reach what is not protected."),
]
Compat = Annotated[
    str | None, typer.Option(metavar="on|off", help="Grant old clients what they rely on.")
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON, for errors too.")]


@commands.command(
    epilog="""\b
Examples:
  provisioner serve --with-reconciler --engines-file engines.toml
  provisioner serve --demo
"""
)
def serve(
    *,
    with_reconciler: Annotated[
        bool, typer.Option("--with-reconciler", help="Heal stuck tenants in this process too.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add a stand-in ERPNext and a first tenant.")
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    grpc_address: GrpcAddress = None,
    http_address: HttpAddress = None,
    lease_seconds: LeaseSeconds = None,
    sweep_seconds: SweepSeconds = None,
    drain_seconds: DrainSeconds = None,
    engines_file: EnginesFile = None,
    auth: Auth = None,
    compat: Compat = None,
    insecure: Insecure = False,
    as_json: Json = False,  # noqa: ARG001 - read by `program` for wrong use; the rest is on stderr
) -> int:
    """Run the service until it is told to stop."""
    from server.__main__ import serve as program  # noqa: PLC0415 - see the module's docstring

    return program(
        config=config,
        overrides=_given(
            database_url=database_url,
            grpc_address=grpc_address,
            http_address=http_address,
            lease_seconds=lease_seconds,
            sweep_seconds=sweep_seconds,
            drain_seconds=drain_seconds,
            engines_file=engines_file,
            auth=auth,
            compat=compat,
            insecure="on" if insecure else None,
        ),
        with_reconciler=with_reconciler,
        demo=demo,
    )


@commands.command(
    name="import-legacy",
    epilog="""\b
Examples:
  provisioner import-legacy --from postgresql+asyncpg://reader@old/app --dry-run
  provisioner import-legacy --from sqlite+aiosqlite:///copy.db --json
""",
)
def import_legacy(
    *,
    source: Annotated[
        str, typer.Option("--from", metavar="URL", help="The old database; it is only read.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Look, say what would be done, and write nothing.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(metavar="ID", help="The engine they live on. Default: the default engine."),
    ] = "",
    quiet_minutes: Annotated[
        float,
        typer.Option(
            min=0,
            max=_YEAR_OF_MINUTES,
            help="Leave out tenants that the old system touched in this time. Default: 60.",
        ),
    ] = 60.0,
    config: Config = None,
    database_url: DatabaseUrl = None,
    engines_file: EnginesFile = None,
    as_json: Json = False,
) -> int:
    """Import the old system's tenants. Each is looked up in ERPNext first."""
    from server.upkeep import import_legacy as program  # noqa: PLC0415 - see the docstring

    return program(
        source=source,
        engine=engine,
        quiet_minutes=quiet_minutes,
        dry_run=dry_run,
        config=config,
        overrides=_given(database_url=database_url, engines_file=engines_file),
        as_json=as_json,
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner reconcile --sweep-seconds 10
  provisioner reconcile --once --dry-run --json
"""
)
def reconcile(
    *,
    once: Annotated[bool, typer.Option("--once", help="Make one sweep, then end.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    config: Config = None,
    database_url: DatabaseUrl = None,
    lease_seconds: LeaseSeconds = None,
    sweep_seconds: SweepSeconds = None,
    drain_seconds: DrainSeconds = None,
    engines_file: EnginesFile = None,
    as_json: Json = False,
) -> int:
    """Find and heal stuck tenants, as a separate process."""
    from server.__main__ import reconcile as program  # noqa: PLC0415 - see the module's docstring

    return program(
        config=config,
        overrides=_given(
            database_url=database_url,
            lease_seconds=lease_seconds,
            sweep_seconds=sweep_seconds,
            drain_seconds=drain_seconds,
            engines_file=engines_file,
        ),
        once=once,
        dry_run=dry_run,
        as_json=as_json,
    )


@commands.command(
    epilog="""\b
Examples:
  provisioner standin
  provisioner standin --listen 127.0.0.1:8081 --latency recorded --site second.local
"""
)
def standin(
    *,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where it listens.")
    ] = "127.0.0.1:8080",
    latency: Annotated[
        Literal["none", "recorded"],
        typer.Option(help="Answer at once, or as slowly as a real ERPNext."),
    ] = "none",
    site: Annotated[
        str, typer.Option(metavar="NAME", help="Name of the site it plays.")
    ] = "erpnext.local",
    as_json: Json = False,  # noqa: ARG001 - read by `program` for wrong use; the rest is on stderr
) -> int:
    """Run a stand-in ERPNext, for trying things out."""
    from server.__main__ import standin as program  # noqa: PLC0415 - see the module's docstring

    return program(listen=listen, latency=latency, site=site)


@commands.command(
    epilog="""\b
Examples:
  provisioner selftest
  provisioner selftest --json | jq .passed
"""
)
def selftest(
    *,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="Longest time to wait for each kind.")
    ] = 60.0,
    as_json: Json = False,
) -> int:
    """Plant stuck tenants in a throwaway database, and heal them.

    Touches no real database and no engine. Ends with 1 if one was not healed.
    """
    from server.__main__ import selftest as program  # noqa: PLC0415 - see the module's docstring

    return program(patience_seconds=patience, as_json=as_json)


@database.command(
    "upgrade",
    epilog="""\b
Example:
  provisioner db upgrade --database-url postgresql+asyncpg://localhost/provisioner
""",
)
def db_upgrade(
    *, config: Config = None, database_url: DatabaseUrl = None, as_json: Json = False
) -> int:
    """Bring the database to the schema of this version."""
    from server.upkeep import db_upgrade as program  # noqa: PLC0415 - see the module's docstring

    return program(config=config, overrides=_given(database_url=database_url), as_json=as_json)


@database.command(
    "backup",
    epilog="""\b
Example:
  provisioner db backup provisioner-monday.db
""",
)
def db_backup(
    *,
    target: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to write the copy; must not exist yet.")
    ],
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Copy the SQLite database, even while the service runs."""
    from server.upkeep import db_backup as program  # noqa: PLC0415 - see the module's docstring

    return program(
        target, config=config, overrides=_given(database_url=database_url), as_json=as_json
    )


@database.command(
    "move",
    epilog="""\b
Example:
  provisioner db move --to postgresql+asyncpg://provisioner@db-host/provisioner
""",
)
def db_move(
    *,
    to: Annotated[
        str,
        typer.Option(metavar="URL", help="The PostgreSQL to fill: postgresql+asyncpg://..."),
    ],
    config: Config = None,
    database_url: DatabaseUrl = None,
    as_json: Json = False,
) -> int:
    """Move everything from SQLite to an empty PostgreSQL.

    Stop every server and reconciler first. All of it is moved, or nothing. No server starts on
    the SQLite file afterwards.
    """
    from server.upkeep import db_move as program  # noqa: PLC0415 - see the module's docstring

    return program(to, config=config, overrides=_given(database_url=database_url), as_json=as_json)


@database.command(
    "restored",
    epilog="""\b
Example:
  provisioner db restored --engines-file engines.toml
""",
)
def db_restored(
    *,
    config: Config = None,
    database_url: DatabaseUrl = None,
    engines_file: EnginesFile = None,
    as_json: Json = False,
) -> int:
    """Make a restored database safe, before any server starts."""
    from server.upkeep import db_restored as program  # noqa: PLC0415 - see the docstring

    return program(
        config=config,
        overrides=_given(database_url=database_url, engines_file=engines_file),
        as_json=as_json,
    )


@database.command(
    "check",
    epilog="""\b
Example:
  provisioner db check --json
""",
)
def db_check(
    *, config: Config = None, database_url: DatabaseUrl = None, as_json: Json = False
) -> int:
    """Say whether the database fits this version."""
    from server.upkeep import db_check as program  # noqa: PLC0415 - see the module's docstring

    return program(config=config, overrides=_given(database_url=database_url), as_json=as_json)


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}
