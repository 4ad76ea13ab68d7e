"""Completes the commands that are printed, so that they reach the same service when pasted.

If `--address` was given to this command, the next one needs it too. An address from the
environment or from the profile need not be repeated.
"""

from __future__ import annotations

import os
import shlex
from contextvars import ContextVar

import typer

from clients.cli import connection

ADDRESS = "PROVISIONER_GRPC_ADDRESS"
DEFAULT_ADDRESS = "127.0.0.1:50051"

# They work on this machine's database, or start a program, and call no service.
LOCAL = frozenset(
    {"db", "import-legacy", "reconcile", "selftest", "serve", "standin", "users", "logout"}
)
_LOCAL_PAIRS = frozenset({("engines", "check")})

# A process runs one command, and everything that it prints is about one service.
_called: ContextVar[str] = ContextVar("called_address", default="")


def call(address: str) -> None:
    """Remember which service this command calls."""
    _called.set(address)


def pasted(command: str) -> str:
    """Return a command that reaches the service which this one called.

    Args:
        command: A command such as "provisioner continue ID"; anything else is returned as it is.
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
