"""Which values are taken, which are refused with a remedy, and which do not fit together."""

from __future__ import annotations

import inspect
import stat
from typing import TYPE_CHECKING

import asyncpg
import pytest
from asyncpg.connect_utils import SessionAttribute, SSLMode
from sqlalchemy import make_url

from server.errors import SettingsError, StoreUnavailable
from server.settings import ensure_database_directory
from server.settings.postgresql_url import CHOICES, QUERY
from server.store.database import Database
from tests.server.settings.given import load, refused

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["lease_seconds", "sweep_seconds"])
@pytest.mark.parametrize(
    ("given", "used"), [("1", 1), ("86399.5", 86_399.5), ("86401", 86_400), ("1e300", 86_400)]
)
def test_more_than_a_day_counts_as_a_day(name: str, given: str, used: float) -> None:
    assert getattr(load(**{name: given}), name) == used


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("lease_seconds", "0.5", "greater than or equal to 1"),
        ("lease_seconds", "ten", "must be a number (it is 'ten')"),
        ("lease_seconds", "inf", "finite"),
        ("lease_seconds", "nan", "1"),
        ("sweep_seconds", "0", "greater than or equal to 1"),
        ("sweep_seconds", "inf", "finite"),
        ("drain_seconds", "-1", "greater than or equal to 0"),
        ("log_retention_days", "-1", "greater than or equal to 0"),
        ("request_retention_days", "6.9", "must be 7 or more, or 0 for ever"),
        ("max_runs", "0", "greater than or equal to 1"),
        ("max_runs", "1025", "less than or equal to 1024"),
        ("max_runs", "1.5", "must be a whole number"),
        ("auth", "offf", "must be on or off"),
        ("compat", "2", "must be on or off"),
        ("log_format", "xml", "'console' or 'json'"),
        ("admin_email", "admin", "not an e-mail address"),
        ("grpc_address", "localhost", "a host and a port"),
        ("grpc_address", ":50051", "a host and a port"),
        ("grpc_address", "127.0.0.1:65536", "a number from 0 to 65535"),
        ("grpc_address", "127.0.0.1:-1", "a number from 0 to 65535"),
        ("http_address", "::1:4000", "brackets"),
        ("http_address", "[127.0.0.1]:4000", "brackets"),
        ("http_address", "a b:4000", "neither an IP address nor a name"),
        ("http_address", "http://localhost:4000", "neither an IP address nor a name"),
        ("database_url", "provisioner.db", "not a database url"),
        ("database_url", "mysql://h/d", "neither SQLite nor PostgreSQL"),
        ("database_url", "sqlite:///x.db", "sqlite+aiosqlite:///"),
        ("database_url", "sqlite+aiosqlite://x.db", "third slash"),
        ("database_url", "sqlite+aiosqlite:///:memory:", "in memory"),
        ("database_url", "postgresql+asyncpg://u@h/d?pooler=session", "pooler=transaction"),
        ("database_url", "postgres://u@h/d", "postgresql+asyncpg://"),
        ("database_url", "postgresql://u@h/d", "postgresql+asyncpg://"),
        ("database_url", "postgresql+psycopg://u@h/d", "postgresql+asyncpg://"),
        ("database_url", "postgresql+asyncpg://u@h:x/d", "an impossible host or port"),
        ("database_url", "postgresql+asyncpg://u@h/d?sslmode=require", "write ssl= with the same"),
        ("database_url", "postgresql+asyncpg://u@h/d?sslrootcert=/x", "PGSSLROOTCERT"),
        ("database_url", "postgresql+asyncpg://u@h/d?options=-csearch_path%3Dx", "ALTER ROLE"),
        ("database_url", "postgresql+asyncpg://u@h/d?connect_timeout=3", "leave it out"),
        ("database_url", "postgresql+asyncpg://u@/d?host=/a&host=/b", "without a port each"),
        ("database_url", "postgresql+asyncpg://u@/d?host=a:1&host=b:1&port=1", "a port each"),
        ("database_url", "postgresql+asyncpg://u@/d?host=a,b:5432", "without a port each"),
        ("database_url", "postgresql+asyncpg://u@h/d?port=x", "a port in its query"),
        ("database_url", "postgresql+asyncpg://u@/d?host=a:x&host=b:1", "a port in its query"),
        ("database_url", "postgresql+asyncpg://u@h/d?port=65536", "a port in its query"),
        ("database_url", "postgresql+asyncpg://u@h/d?ssl=true", "not ssl=disable or allow"),
        ("database_url", "postgresql+asyncpg://u@h/d?ssl=", "not ssl=disable or allow"),
        ("database_url", "postgresql+asyncpg://u@h/d?user=a&user=b", "user= more than once"),
        ("database_url", "postgresql+asyncpg://u@h/d?statement_cache_size=0", "pooler=transac"),
        ("database_url", "postgresql+asyncpg://u@h/d?prepared_statement_cache_size=x", "no number"),
        ("database_url", "postgresql+asyncpg://u@h/d?target_session_attrs=rw", "=any or primary"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_a_remedy(
    name: str, value: str, problem: str
) -> None:
    message = refused(**{name: value})
    assert message.startswith(f"PROVISIONER_{name.upper()}: ")
    assert problem in message
    assert message.rstrip().endswith(".")
    assert message.count(". ") >= 1


def test_all_wrong_values_are_told_at_once() -> None:
    message = refused(None, {"max_runs": "0"}, lease_seconds="0")
    assert "--max-runs" in message
    assert "PROVISIONER_LEASE_SECONDS" in message


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:////var/lib/p.db",
        "sqlite+aiosqlite:///p.db",
        "postgresql+asyncpg://u:p%40@db.example.com:5432/provisioner",
        "postgresql+asyncpg://postgres@/postgres?host=/run/postgresql",
        "postgresql+asyncpg:///postgres?host=/run/postgresql",
        "postgresql+asyncpg://u@[::1]:5432/d?ssl=verify-full&pooler=transaction",
        "postgresql+asyncpg://u@/d?host=one:5432&host=two:5432&target_session_attrs=read-write",
        "postgresql+asyncpg://u@/d?host=/a,/b&port=5432,5432",
    ],
)
def test_a_good_database_url_is_kept_as_it_is(url: str) -> None:
    assert load(database_url=url).database_url == url
    made = make_url(url)
    if made.get_backend_name() == "postgresql":
        # What the driver would fall over is refused.
        asked = made.difference_update_query(["pooler"])
        _, arguments = asked.get_dialect()().create_connect_args(asked)
        inspect.signature(asyncpg.connect).bind(**arguments)


def test_what_a_url_may_have_in_its_query_is_what_the_driver_knows() -> None:
    # `prepared_…` is SQLAlchemy's, `pooler` our own.
    driver = set(inspect.signature(asyncpg.connect).parameters)
    assert driver | {"prepared_statement_cache_size", "pooler"} >= QUERY
    assert set(CHOICES["ssl"]) == {each.name.replace("_", "-") for each in SSLMode}
    assert set(CHOICES["target_session_attrs"]) == {each.value for each in SessionAttribute}


async def test_nothing_that_a_url_may_have_makes_the_driver_fall_over() -> None:
    """It raised a TypeError at a number, which it gets as text."""
    words = {**dict.fromkeys(QUERY, "1"), **{name: kind[0] for name, kind in CHOICES.items()}}
    query = "&".join(f"{name}={word}" for name, word in words.items() if name != "host")
    url = f"postgresql+asyncpg://u@/d?host=/nowhere&{query}"
    assert load(database_url=url).database_url == url
    with pytest.raises(StoreUnavailable, match="No such file"):
        await Database.open(url)


@pytest.mark.parametrize(
    ("text", "host", "port", "is_loopback"),
    [
        ("127.0.0.1:0", "127.0.0.1", 0, True),
        ("127.8.8.8:1", "127.8.8.8", 1, True),
        ("localhost:50051", "localhost", 50051, True),
        ("[::1]:50051", "::1", 50051, True),
        ("[::ffff:127.0.0.1]:1", "::ffff:127.0.0.1", 1, True),
        ("0.0.0.0:1", "0.0.0.0", 1, False),  # noqa: S104 - nothing listens here
        ("[::]:1", "::", 1, False),
        ("localhost.example.com:1", "localhost.example.com", 1, False),
    ],
)
def test_an_address_knows_whether_others_can_reach_it(
    text: str, host: str, port: int, is_loopback: bool
) -> None:
    address = load(grpc_address=text, insecure="on").grpc_address
    assert (address.host, address.port, address.is_loopback) == (host, port, is_loopback)
    assert str(address) == text


@pytest.mark.parametrize("name", ["grpc_address", "http_address"])
def test_auth_is_off_only_while_nobody_else_can_call(name: str) -> None:
    assert not load(auth="off").auth
    assert load(**{"auth": "on", "insecure": "on", name: "0.0.0.0:1"}).auth
    message = refused(**{"auth": "off", name: "0.0.0.0:1"})
    assert "auth (PROVISIONER_AUTH) is off" in message
    assert f"{name} (PROVISIONER_{name.upper()}) is 0.0.0.0:1" in message


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"grpc_address": "0.0.0.0:1"}, ["grpc_address", "tls_cert_file", "tls_key_file"]),
        ({"tls_cert_file": "c"}, ["tls_cert_file", "tls_key_file"]),
        ({"tls_key_file": "k"}, ["tls_key_file", "tls_cert_file"]),
        ({"tls_client_ca_file": "a"}, ["tls_client_ca_file", "tls_cert_file", "tls_key_file"]),
        ({"webhook_url": "https://a.example"}, ["webhook_url", "webhook_secret_file"]),
        (
            {"admin_password": "x", "admin_password_file": "y"},
            ["admin_password", "admin_password_file"],
        ),
    ],
)
def test_settings_that_do_not_fit_are_named_as_the_operator_set_them(
    given: dict[str, str], named: list[str]
) -> None:
    message = refused(**given)
    for name in named:
        assert f"{name} (PROVISIONER_{name.upper()})" in message


def test_the_directory_of_the_database_is_made_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    settings = load(database_url=f"sqlite+aiosqlite:///{directory}/p.db")
    ensure_database_directory(settings)
    ensure_database_directory(settings)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    ensure_database_directory(load(database_url="postgresql+asyncpg:///d"))
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot make the directory"):
        ensure_database_directory(load(database_url=f"sqlite+aiosqlite:///{tmp_path}/file/x/p"))
    # The folder is there: it is the file that can't be.
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(SettingsError, match="round can't be written"):
        ensure_database_directory(load(database_url=f"sqlite+aiosqlite:///{tmp_path}/round"))
