"""What is secret is read from private files only, and is never shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from server.errors import SettingsError
from server.settings import load_settings, read_secret_file
from tests.server.settings.given import load, refused, secret_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:hunter2@h/d",
        "postgresql+asyncpg://u:hun@ter2@h/d",
        "postgresql+asyncpg://u@h/d?password=hunter2&ssl=require",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    settings = load(database_url=url, admin_password="hunter2")
    for shown in (repr(settings), str(settings), settings.safe_database_url):
        assert "hunter2" not in shown
        assert "ter2" not in shown
        assert "***" in shown


@given(password=st.from_regex(r"[a-z0-9/?#@:\[\]]{12,20}", fullmatch=True))
def test_nothing_shows_the_password_of_a_database_url(password: str) -> None:
    refused = f"postgres://u:{password}@h/d"
    with pytest.raises(SettingsError) as caught:
        load(database_url=refused)
    assert password not in str(caught.value)
    assert password not in str(caught.value.__cause__)
    # Whether this one can be read hangs on the password.
    try:
        shown = repr(load(database_url=f"postgresql+asyncpg://u:{password}@h:x/d"))
    except SettingsError as error:
        shown = str(error)
    assert password not in shown


def test_a_config_file_with_a_password_must_be_private(tmp_path: Path) -> None:
    config = secret_file(tmp_path / "c.toml", 'admin_password = "hunter2"', 0o644)
    assert "chmod 600" in refused(config)
    config.chmod(0o600)
    assert load(config).admin_password == SecretStr("hunter2")


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("k", 0o644, "mode 0644.*chmod 600"),
        ("k", 0o640, "mode 0640"),
        ("k", 0o620, "mode 0620"),
        (" \n", 0o600, "is empty"),
        ("a\nb", 0o600, "not one line"),
        ("k" * 70_000, 0o600, "not one line"),
    ],
)
def test_a_secret_file_that_is_open_to_others_or_no_secret_is_refused(
    tmp_path: Path, content: str, mode: int, problem: str
) -> None:
    file = secret_file(tmp_path / "s", content, mode)
    with pytest.raises(SettingsError, match=f"(?s)THE KEY: .*{problem}"):
        read_secret_file(file, "THE KEY")


def test_a_secret_file_must_be_there_and_be_a_file_of_text(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        read_secret_file(tmp_path / "none", "THE KEY")
    with pytest.raises(SettingsError, match="not a regular file"):
        read_secret_file(tmp_path, "THE KEY")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(SettingsError, match="not a regular file"):
        read_secret_file(tmp_path / "pipe", "THE KEY")
    file = secret_file(tmp_path / "s", "")
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not one line"):
        read_secret_file(file, "THE KEY")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_secret_file_is_read_also_through_a_link(tmp_path: Path, mode: int) -> None:
    file = secret_file(tmp_path / "s", " hunter2\n", mode)
    (tmp_path / "link").symlink_to(file)
    secret = read_secret_file(tmp_path / "link", "THE KEY")
    assert secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(secret)


def test_a_password_that_reads_as_a_query_is_not_quoted() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(
            config=None,
            overrides={"database_url": "postgresql+asyncpg://u:12?secretpart@db/p"},
            environ={},
        )
    assert "secretpart" not in refused.value.message
