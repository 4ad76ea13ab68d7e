"""Reads a password out of a file of PostgreSQL's own form, as its own programs do.

The driver reads such files too, but takes the password as it stands: with the backslashes that
PostgreSQL wants before a colon and a backslash, which is then another password.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORT = "5432"
# Host, port, database and user; then the password, to the end of the line.
_LINE = re.compile(r"((?:\\.|[^:\\])*):" * 4 + "(.*)")
_ESCAPED = re.compile(r"\\(.)")


def password_in_file(arguments: Mapping[str, Any]) -> str | None:  # Any: asyncpg has no types
    """Return the password for one connection.

    Args:
        arguments: Those of `asyncpg.connect`.

    Returns:
        The password; None leaves it to the driver, which also says that others can read the file.
    """
    host, user, database = (arguments.get(name) for name in ("host", "user", "database"))
    one = isinstance(host, str) and user and database
    if not one or arguments.get("password") or os.environ.get("PGPASSWORD"):
        return None
    named = arguments.get("passfile") or os.environ.get("PGPASSFILE") or "~/.pgpass"
    file = Path(os.path.expanduser(named))  # noqa: PTH111 - Path's raises where there is no home
    port = str(arguments.get("port") or os.environ.get("PGPORT") or _PORT)
    hosts = {host, "localhost"} if str(host).startswith("/") else {host}
    try:
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return None
        lines = file.read_text().split("\n")
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        found = _LINE.fullmatch(line.removesuffix("\r"))
        if found is None or line.startswith("#"):
            continue
        *asked, password = (_ESCAPED.sub(r"\1", each) for each in found.groups())
        fits = zip(asked, (hosts, {port}, {database}, {user}), strict=True)
        if all(word == "*" or word in wanted for word, wanted in fits):
            return password
    return None
