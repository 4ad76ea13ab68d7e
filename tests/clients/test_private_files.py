"""Which files with a secret are private enough: the command line judges as the server does."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer

from clients.cli import private_files
from server.errors import SettingsError
from server.settings import files

if TYPE_CHECKING:
    from collections.abc import Callable

    Demand = Callable[[Path, os.stat_result, str], None]

_ME = 1000
_ROOT = 0


def _status(mode: int, owner: int) -> os.stat_result:
    return os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, 1000, 1, 0, 0, 0))


@pytest.mark.parametrize("demand", [files.demand_private, private_files.demand_private])
@pytest.mark.parametrize(
    ("mode", "owner", "caller", "refused"),
    [
        pytest.param(0o600, _ME, _ME, None, id="one's own"),
        pytest.param(0o400, _ME, _ME, None, id="one's own, read-only"),
        pytest.param(0o640, _ME, _ME, "chmod 600", id="one's own, the group's too"),
        pytest.param(0o440, _ROOT, _ME, None, id="mounted by Kubernetes with fsGroup"),
        pytest.param(0o640, _ROOT, _ME, None, id="root's, the group's to read"),
        pytest.param(0o460, _ROOT, _ME, "root.*chmod 640", id="root's, the group's to write"),
        pytest.param(0o444, _ROOT, _ME, "root.*chmod 640", id="root's, everybody's"),
        pytest.param(0o440, _ROOT, _ROOT, "chmod 600", id="root's own, the group's too"),
        pytest.param(0o440, 1001, _ME, "chmod 600", id="another user's, the group's too"),
    ],
)
def test_a_secret_of_root_may_come_through_the_group_and_no_other_may(
    *,
    monkeypatch: pytest.MonkeyPatch,
    demand: Demand,
    mode: int,
    owner: int,
    caller: int,
    refused: str | None,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: caller)
    file, status = Path("tls.key"), _status(mode, owner)
    if refused is None:
        demand(file, status, "THE KEY")
    else:
        with pytest.raises(
            (SettingsError, typer.BadParameter), match=f"THE KEY.* has mode {mode:04o}.*{refused}"
        ):
            demand(file, status, "THE KEY")
