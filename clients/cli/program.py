"""The program `provisioner`: its commands in one, and how it ends, whatever happens.

Starts fast: gRPC, the contract and the server are imported by the command that needs
them, so `--help` and a mistyped option answer at once.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Annotated, Any

import typer

from clients.cli import (
    bundle_command,
    connection,
    diagnose_commands,
    engine_commands,
    healing_commands,
    list_command,
    local_commands,
    login_commands,
    order_commands,
    site_command,
    start_command,
    streams,
    survey_commands,
    tenant_commands,
    users_commands,
    watch_command,
)
from clients.cli.exit_codes import ExitCode

_EPILOG = """\b
Exit codes: 0 done, 1 the tenant failed or is stuck, 2 wrong use, 3 not reachable,
4 not allowed, 5 not found.

\b
Begin here:
  provisioner serve --demo
  provisioner start "Acme Ltd" --watch
"""

app = typer.Typer(
    name="provisioner",
    help="Provision tenants step by step, and see where they stand.",
    epilog=_EPILOG,
    # Plain help: examples keep their lines, and a pipe gets no boxes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:  # noqa: FBT001 - typer's way to call it
    if wanted:
        # Imported here only: importing it takes as long as parsing a command.
        from importlib.metadata import version  # noqa: PLC0415 - see above

        typer.echo(f"provisioner {version('tenant-provisioner')}")
        raise typer.Exit


@app.callback()
def _program(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and exit.", is_eager=True, callback=_say_version
        ),
    ] = False,
) -> None:
    pass


app.add_typer(login_commands.commands)
app.add_typer(bundle_command.commands)
app.add_typer(users_commands.commands)
app.add_typer(start_command.commands)
app.add_typer(tenant_commands.commands)
app.add_typer(diagnose_commands.commands)
app.add_typer(healing_commands.commands)
app.add_typer(list_command.commands)
app.add_typer(watch_command.commands)
app.add_typer(survey_commands.commands)
app.add_typer(order_commands.commands)
app.add_typer(engine_commands.commands)
app.add_typer(site_command.commands)
app.add_typer(local_commands.commands)


def main() -> None:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: What was typed behind the program's name; nothing stands for --help.
    """
    streams.fill()
    # A locale without UTF-8 must not turn a company's name into a stack trace.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _flushed(_run(arguments or ["--help"]))
    except typer.TyperException as error:
        return _wrong_use(error, as_json=_wants_json(arguments))
    except (KeyboardInterrupt, typer.Abort):
        # Abort: Ctrl-C or Ctrl-D where a password was asked for.
        return ExitCode.INTERRUPTED
    except (OSError, SystemExit) as error:
        if not streams.lost(error):
            raise
        return ExitCode.OUTPUT_CLOSED


def _flushed(code: int) -> int:
    # Flushed here, where an error can still be reported, and not when the interpreter ends.
    sys.stdout.flush()
    return code


def _run(arguments: list[str]) -> int:
    for argument in arguments:
        if not argument.isprintable() and _is_broken(argument):
            raise typer.BadParameter(f"{argument!a} is not text in UTF-8.")
    command = typer.main.get_command(app)
    code = command.main(
        arguments,
        prog_name="provisioner",
        standalone_mode=False,
        default_map=_defaults(command),
    )
    return int(code or ExitCode.DONE)


def _defaults(command: Any) -> dict[str, dict[str, str]]:  # Any: the library's own group
    """Return the profile's address, for when neither an option nor the environment gives one."""
    try:
        profile = connection.current()
    except typer.BadParameter:
        # The commands that need the profile report this; it must not stop the others.
        return {}
    if profile is None:
        return {}
    return {
        name: {"address": profile.address}
        for name, each in command.commands.items()
        if any(parameter.name == "address" for parameter in each.params)
    }


def _is_broken(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return True
    return False


def _wants_json(arguments: list[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _wrong_use(error: typer.TyperException, *, as_json: bool) -> ExitCode:
    context = getattr(error, "ctx", None)
    # The library's own words for an error that one of its checks raised.
    message = error.format_message().replace("Value error, ", "")
    path = context.command_path if context is not None else "provisioner"
    if as_json:
        failure = {
            "code": "INVALID_ARGUMENT",
            "reason": "WRONG_USE",
            "message": message,
            "fields": [],
            "next_command": f"{path} --help",
        }
        sys.stdout.write(json.dumps({"error": failure}) + "\n")
    else:
        sys.stderr.write(f"Error: {message}\nNext: {path} --help\n")
    return ExitCode.WRONG_USE
