"""Checks that a file with a secret can be read by its user only."""

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pathlib import Path


def demand_private(file: Path, status: os.stat_result, what: str) -> None:
    """Refuse a file that others than the caller could read or change.

    A file of root that reaches the caller through its group is private too, with mode 0440 or 0640:
    so Kubernetes mounts a secret (fsGroup) and systemd hands over a credential. The server has the
    same rule for its key files.

    Args:
        file: The file, for the command to give.
        status: How the open file is owned, and its mode.
        what: What the message calls it, such as "The key 'jane.key'".

    Raises:
        typer.BadParameter: if others may read or change it.
    """
    handed_over = status.st_uid == 0 and os.geteuid() != 0
    if status.st_mode & (0o037 if handed_over else 0o077):
        command = f"chmod {640 if handed_over else 600} {shlex.quote(str(file))}"
        raise typer.BadParameter(
            f"{what} has mode {stat.S_IMODE(status.st_mode):04o}, so others may read or change the "
            f"secret. {'Have root run' if handed_over else 'Run'}: {command}"
        )
