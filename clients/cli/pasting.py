"""Makes the commands that are printed ones that can be pasted: they reach the same service.

Whoever gave `--address` to this command wants it in the next one, too. The address of the
environment or of the profile need not be said again.
"""

from __future__ import annotations

import os
import shlex
from contextvars import ContextVar

import typer

from clients.cli import connection

ADDRESS = "PROVISIONER_GRPC_ADDRESS"
DEFAULT_ADDRESS = "127.0.0.1:50051"

# They work on this machine's database, or start a program: there is no service to reach.
LOCAL = frozenset(
    {"db", "import-legacy", "reconcile", "selftest", "serve", "standin", "users", "logout"}
)
_LOCAL_PAIRS = frozenset({("engines", "check")})

# One command is one process; every line it prints is about one service.
_called: ContextVar[str] = ContextVar("called_address", default="")


def call(address: str) -> None:
    """Say which service this command calls."""
    _called.set(address)


def pasted(command: str) -> str:
    """Return a command that reaches the service which this one called.

    Args:
        command: Such as "provisioner continue ID"; anything else is left as it is.
    """
    address = _called.get()
    words = command.split()
    if not address or address == _unsaid() or words[:1] != ["provisioner"]:
        return command
    local = words[1] in LOCAL or tuple(words[1:3]) in _LOCAL_PAIRS or "--local" in words
    if local or "--address" in words:
        return command
    return f"{command} --address {shlex.quote(address)}"


def _unsaid() -> str:
    """Return the address that a command calls when none is given."""
    if told := os.environ.get(ADDRESS):
        return told
    try:
        profile = connection.current()
    except typer.BadParameter:
        return DEFAULT_ADDRESS
    return DEFAULT_ADDRESS if profile is None else profile.address
