"""The commands that sign in and out: `login`, `logout`, `whoami`."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import Annotated

import typer

from clients.cli import connection, requests
from clients.cli.private_files import demand_private
from clients.cli.tenant_commands import Address, Json, Timeout  # noqa: TC001 - typer reads them

commands = typer.Typer(rich_markup_mode=None)

_DEFAULT_ADDRESS = "127.0.0.1:50051"
_DEFAULT_TIMEOUT_SECONDS = 10.0


@commands.command(
    epilog="""\b
Examples:
  provisioner login jane@example.com
  provisioner login jane@example.com --password-file jane.password --json
  pass show provisioner | provisioner login jane@example.com --password-stdin
  provisioner login jane@example.com --address prov.example.com:50051 --tls-ca system
  provisioner login jane@example.com --tls-ca ca.pem --client-cert jane.pem --client-key jane.key
"""
)
def login(
    *,
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the user.")],
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from stdin.")
    ] = False,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the password from this file.")
    ] = None,
    tls_ca: Annotated[
        str | None,
        typer.Option(
            envvar="PROVISIONER_TLS_CA",
            metavar="FILE|system",
            help="Speak TLS, and trust these certificate authorities. Default: no TLS.",
        ),
    ] = None,
    client_cert: Annotated[
        str | None,
        typer.Option(
            envvar="PROVISIONER_CLIENT_CERT",
            metavar="FILE",
            help="This client's own certificate (PEM), if the service asks for one.",
        ),
    ] = None,
    client_key: Annotated[
        str | None,
        typer.Option(
            envvar="PROVISIONER_CLIENT_KEY", metavar="FILE", help="Its key (PEM, mode 0600)."
        ),
    ] = None,
    address: Address = _DEFAULT_ADDRESS,
    timeout: Timeout = _DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Sign in, and store the token for later commands.

    Prompts for the password, or reads it from stdin or a file. It is never an option, which others
    could see.
    """
    password = read_password(password_file, from_stdin=password_stdin)
    return _call(
        requests.Login(
            address=address,
            timeout_seconds=timeout,
            as_json=as_json,
            email=email,
            password=password,
            tls=connection.TlsFiles(
                authorities=tls_ca or "", certificate=client_cert or "", key=client_key or ""
            ),
        )
    )


@commands.command(epilog="\b\nExample:\n  provisioner logout\n")
def logout(*, as_json: Json = False) -> int:
    """Forget the token that `login` stored. The token itself stays valid until it expires."""
    from clients.cli import signing_in  # noqa: PLC0415 - as `_call`

    return signing_in.forget(as_json=as_json)


@commands.command(epilog="\b\nExample:\n  provisioner whoami --json\n")
def whoami(
    *,
    address: Address = _DEFAULT_ADDRESS,
    timeout: Timeout = _DEFAULT_TIMEOUT_SECONDS,
    as_json: Json = False,
) -> int:
    """Show who the service takes you for, and what you may see."""
    return _call(requests.WhoAmI(address=address, timeout_seconds=timeout, as_json=as_json))


def read_password(file: Path | None, *, from_stdin: bool, confirm: bool = False) -> str:
    """Read a password from a file, from stdin, or from a person who is asked for it.

    Args:
        file: The file, which its owner alone can read, or a pipe; None for no file.
        from_stdin: Whether to read the first line of stdin. It is also read if stdin is no
            terminal.
        confirm: Whether a person has to type it twice.

    Returns:
        The password, without the line break at its end.

    Raises:
        typer.BadParameter: there is none, two places are named, or the file can't be read.
        typer.Abort: the person ended the question.
    """
    if file is not None and from_stdin:
        raise typer.BadParameter("Give --password-file or --password-stdin, not both.")
    if file is not None:
        password = _password_in(file)
    elif from_stdin or not sys.stdin.isatty():
        password = sys.stdin.readline()
    else:
        password = str(
            typer.prompt("Password", hide_input=True, confirmation_prompt=confirm, err=True)
        )
    password = password.rstrip("\r\n")
    if not password:
        raise typer.BadParameter(
            "There is no password. Type it when asked, or use --password-stdin or --password-file."
        )
    return password


def _password_in(file: Path) -> str:
    """Read a file that its owner alone can read, as every file with a secret must be."""
    try:
        with file.open(encoding="utf-8") as handle:
            # A pipe or a terminal belongs to nobody else; `<(pass show …)` is a pipe.
            if file.is_file():
                demand_private(file, os.fstat(handle.fileno()), str(file))
            return handle.read()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise typer.BadParameter(f"Cannot read the password from {file} ({why}).") from error


def _call(request: requests.Request) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from clients.cli import calls  # noqa: PLC0415 - gRPC takes longer than --help may take

    return calls.run(request)
