"""Where settings come from, which are refused, and what is never shown."""

from __future__ import annotations

import inspect
import os
import stat
from pathlib import Path

import asyncpg
import pytest
from asyncpg.connect_utils import SessionAttribute, SSLMode
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from sqlalchemy import make_url

from server.errors import SettingsError, StoreUnavailable
from server.settings import (
    ENV_PREFIX,
    Address,
    EnginesConfig,
    Settings,
    ensure_database_directory,
    load_engines,
    load_settings,
    read_secret_file,
)
from server.settings.postgresql_url import CHOICES, QUERY
from server.store.database import Database

_KEYS = 'api_key_file = "key"\napi_secret_file = "secret"\n'


def _load(
    config: Path | None = None,
    overrides: dict[str, str] | None = None,
    /,
    **environ: str,
) -> Settings:
    return load_settings(
        config=config,
        overrides=overrides or {},
        environ={ENV_PREFIX + name.upper(): value for name, value in environ.items()},
    )


def _refused(
    config: Path | None = None, overrides: dict[str, str] | None = None, /, **environ: str
) -> str:
    with pytest.raises(SettingsError) as caught:
        _load(config, overrides, **environ)
    return caught.value.message


def _engines(directory: Path, text: str) -> EnginesConfig:
    for name in ("key", "secret"):
        _secret(directory / name, f"the-{name}\n")
    file = directory / "engines.toml"
    file.write_text(text, encoding="utf-8")
    return load_engines(Settings(engines_file=file))


def _no_engines(directory: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        _engines(directory, text)
    return caught.value.message


def _secret(file: Path, content: str, mode: int = 0o600) -> Path:
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    return file


def test_without_any_source_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = _load()
    file = tmp_path / "tenant-provisioner" / "provisioner.db"
    assert settings.database_url == f"sqlite+aiosqlite:///{file}"
    assert settings.database_file == file
    assert settings.is_sqlite
    assert settings.grpc_address == Address(host="127.0.0.1", port=50051)
    assert settings.http_address == Address(host="127.0.0.1", port=4000)
    assert (settings.lease_seconds, settings.sweep_seconds, settings.drain_seconds) == (10, 30, 25)
    assert (settings.auth, settings.compat, settings.max_runs) == (True, False, 32)
    assert settings.engines_file is None
    assert settings.admin_email is None
    assert settings.admin_password is None
    assert settings.admin_password_file is None
    assert settings.jwt_key_file is None
    assert not file.parent.exists()


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("lease_seconds = 11\nsweep_seconds = 11.5\nmax_runs = 11\nauth = true\n")
    settings = _load(config, {"max-runs": "13"}, max_runs="12", sweep_seconds="12")
    assert settings.lease_seconds == 11
    assert settings.sweep_seconds == 12
    assert settings.max_runs == 13


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_MAX_RUNS", "7")
    assert _load().max_runs == 32
    assert Settings().max_runs == 32


def test_an_empty_variable_is_not_set_and_an_empty_option_is_wrong() -> None:
    assert _load(auth="", engines_file=" ").auth
    assert "--engines-file: must name a file" in _refused(None, {"engines_file": ""})


def test_a_password_given_later_replaces_a_password_file_given_earlier(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('admin_password_file = "p"\n')
    assert _load(config).admin_password_file == tmp_path / "p"
    settings = _load(config, admin_password="x")
    assert settings.admin_password == SecretStr("x")
    assert settings.admin_password_file is None
    both = {"admin_password": "x", "admin_password_file": "y"}
    assert "are both given" in _refused(**both)


def test_a_path_in_the_config_file_is_relative_to_it(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    names = [name for name in Settings.model_fields if name.endswith("_file")]
    # The password and its file are one choice; the others go together.
    given = "".join(f'{name} = "{name}.txt"\n' for name in names if name != "jwt_key_file")
    config.write_text(f'{given}jwt_key_file = "/keys/jwt"\nwebhook_url = "https://a.example"\n')
    settings = _load(config)
    for name in set(names) - {"jwt_key_file"}:
        assert getattr(settings, name) == tmp_path / f"{name}.txt"
    assert settings.jwt_key_file == Path("/keys/jwt")
    assert _load(engines_file="engines.toml").engines_file == Path("engines.toml")


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("PROVISIONER_DATABSE_URL", "Did you mean PROVISIONER_DATABASE_URL?"),
        ("PROVISIONER_max_runs", "Did you mean PROVISIONER_MAX_RUNS?"),
        ("PROVISIONER_QQQ", "Known are PROVISIONER_DATABASE_URL"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(variable: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(config=None, overrides={}, environ={variable: "s3cret"})
    assert variable in caught.value.message
    assert hint in caught.value.message
    assert "s3cret" not in caught.value.message


def test_an_unknown_option_or_key_of_the_file_is_refused(tmp_path: Path) -> None:
    assert "Did you mean grpc_address?" in _refused(None, {"grpc-adress": "x"})
    config = tmp_path / "c.toml"
    config.write_text("leas_seconds = 1\n")
    message = _refused(config)
    assert str(config) in message
    assert "Did you mean lease_seconds?" in message


def test_other_variables_and_those_a_cluster_sets_for_its_services_are_passed_over() -> None:
    environ = {
        "PATH": "/bin",
        "PROVISIONER_SERVICE_HOST": "10.0.0.1",
        "PROVISIONER_SERVICE_PORT_GRPC": "50051",
        "PROVISIONER_PORT": "tcp://10.0.0.1:50051",
        "PROVISIONER_PORT_50051_TCP_ADDR": "10.0.0.1",
    }
    load_settings(config=None, overrides={}, environ=environ)
    assert "PROVISIONER_PORT" in _refused(port="50051")


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("lease_seconds", "0.5", "greater than or equal to 1"),
        ("lease_seconds", "ten", "must be a number (it is 'ten')"),
        ("lease_seconds", "inf", "finite"),
        ("lease_seconds", "nan", "1"),
        ("sweep_seconds", "0", "greater than or equal to 1"),
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
    message = _refused(**{name: value})
    assert message.startswith(f"PROVISIONER_{name.upper()}: ")
    assert problem in message
    assert message.rstrip().endswith(".")
    assert message.count(". ") >= 1


def test_all_wrong_values_are_told_at_once() -> None:
    message = _refused(None, {"max_runs": "0"}, lease_seconds="0")
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
    assert _load(database_url=url).database_url == url
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
    assert _load(database_url=url).database_url == url
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
    address = _load(grpc_address=text, insecure="on").grpc_address
    assert (address.host, address.port, address.is_loopback) == (host, port, is_loopback)
    assert str(address) == text


@pytest.mark.parametrize("name", ["grpc_address", "http_address"])
def test_auth_is_off_only_while_nobody_else_can_call(name: str) -> None:
    assert not _load(auth="off").auth
    assert _load(**{"auth": "on", "insecure": "on", name: "0.0.0.0:1"}).auth
    message = _refused(**{"auth": "off", name: "0.0.0.0:1"})
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
    message = _refused(**given)
    for name in named:
        assert f"{name} (PROVISIONER_{name.upper()})" in message


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:hunter2@h/d",
        "postgresql+asyncpg://u:hun@ter2@h/d",
        "postgresql+asyncpg://u@h/d?password=hunter2&ssl=require",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    settings = _load(database_url=url, admin_password="hunter2")
    for shown in (repr(settings), str(settings), settings.safe_database_url):
        assert "hunter2" not in shown
        assert "ter2" not in shown
        assert "***" in shown


@given(password=st.from_regex(r"[a-z0-9/?#@:\[\]]{12,20}", fullmatch=True))
def test_nothing_shows_the_password_of_a_database_url(password: str) -> None:
    refused = f"postgres://u:{password}@h/d"
    with pytest.raises(SettingsError) as caught:
        _load(database_url=refused)
    assert password not in str(caught.value)
    assert password not in str(caught.value.__cause__)
    # Whether this one can be read hangs on the password.
    try:
        shown = repr(_load(database_url=f"postgresql+asyncpg://u:{password}@h:x/d"))
    except SettingsError as error:
        shown = str(error)
    assert password not in shown


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().max_runs = 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("max_runs = [1]", "must be a text, a number or true/false"),
        ("lease_seconds = true", "must be a number"),
        ("max_runs = ", "is not TOML"),
    ],
)
def test_a_wrong_config_file_is_refused_with_its_name(
    tmp_path: Path, text: str, problem: str
) -> None:
    config = tmp_path / "c.toml"
    config.write_text(text)
    message = _refused(config)
    assert str(config) in message
    assert problem in message


def test_a_config_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    assert "Cannot read the config file" in _refused(tmp_path / "none.toml")
    config = tmp_path / "c.toml"
    config.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in _refused(config)


def test_a_config_file_with_a_password_must_be_private(tmp_path: Path) -> None:
    config = _secret(tmp_path / "c.toml", 'admin_password = "hunter2"', 0o644)
    assert "chmod 600" in _refused(config)
    config.chmod(0o600)
    assert _load(config).admin_password == SecretStr("hunter2")


def test_the_directory_of_the_database_is_made_for_the_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    settings = _load(database_url=f"sqlite+aiosqlite:///{directory}/p.db")
    ensure_database_directory(settings)
    ensure_database_directory(settings)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    ensure_database_directory(_load(database_url="postgresql+asyncpg:///d"))
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot make the directory"):
        ensure_database_directory(_load(database_url=f"sqlite+aiosqlite:///{tmp_path}/file/x/p"))
    # The folder is there: it is the file that can't be.
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(SettingsError, match="round can't be written"):
        ensure_database_directory(_load(database_url=f"sqlite+aiosqlite:///{tmp_path}/round"))


def test_without_an_engines_file_there_is_no_engine() -> None:
    config = load_engines(Settings())
    assert config.default == ""
    assert dict(config.engines) == {}


def test_engines_are_read_with_their_keys(tmp_path: Path) -> None:
    config = _engines(
        tmp_path,
        'default = "main"\n[engines.main]\nurl = "HTTPS://ERP.example.com:443/"\n'
        f'{_KEYS}[engines.second]\nurl = "https://erp.example.com"\nhost = "Two.local"\n'
        f'{_KEYS}[engines.bench]\nblueprint = "noop"\n',
    )
    assert config.default == "main"
    assert list(config.engines) == ["main", "second", "bench"]
    main, second, bench = config.engines.values()
    assert (main.id, main.blueprint, main.url, main.host) == (
        "main",
        "erpnext",
        "https://erp.example.com",
        "",
    )
    assert main.site == "https://erp.example.com host=erp.example.com"
    assert second.site == "https://erp.example.com host=two.local"
    assert main.api_key.get_secret_value() == "the-key"
    assert main.api_secret.get_secret_value() == "the-secret"
    assert "the-" not in repr(config)
    assert (bench.blueprint, bench.url) == ("noop", "")
    with pytest.raises(TypeError):
        config.engines["x"] = main  # type: ignore[index]  # that is what is tested


def test_a_single_engine_is_the_default_and_an_empty_file_has_none(tmp_path: Path) -> None:
    assert _engines(tmp_path, '[engines.a]\nblueprint = "noop"\n').default == "a"
    assert _engines(tmp_path, "").default == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('url = "https://erp.example.com"', 'url = "https://ERP.example.com.:443/"'),
        ('url = "http://erp.example.com"', 'url = "http://erp.example.com:80"'),
        (
            'url = "https://erp.example.com"',
            'url = "https://erp.example.com"\nhost = "ERP.example.com"',
        ),
        ('url = "http://10.0.0.1"\nhost = "a"', 'url = "http://10.0.0.1"\nhost = "A:80"'),
    ],
)
def test_two_engines_of_one_site_are_refused(tmp_path: Path, first: str, second: str) -> None:
    message = _no_engines(
        tmp_path,
        f'default = "a"\n[engines.a]\n{first}\n{_KEYS}[engines.b]\n{second}\n{_KEYS}',
    )
    assert "engines.a and engines.b are the same site" in message


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('defalt = "main"', "defalt", "Did you mean default?"),
        ("engines = 3", "engines", "must hold tables"),
        ("[engines]\nmain = 3", "engines.main", "must be a table"),
        ('[engines.main]\nurls = "x"', "urls", "Did you mean url?"),
        ("[engines.main]\nurl = 3", "engines.main.url", "must be a text"),
        (f"[engines.main]\n{_KEYS}", "engines.main.url", "is missing"),
        ('[engines.main]\nurl = "http://h"', "engines.main.api_key_file", "is missing"),
        ('[engines."a b"]\nurl = "http://h"', "engines.a b", "a-z, 0-9"),
        ('[engines.a]\nblueprint = "erp"', "engines.a.blueprint", "Did you mean erpnext?"),
        ('default = "b"\n[engines.a]\nblueprint = "noop"', "default", "which is no engine"),
        ('default = "b"', "default", "which is no engine"),
        ("default = 3", "default", "must be the name"),
        (
            '[engines.a]\nblueprint = "noop"\n[engines.b]\nblueprint = "noop"',
            "default",
            "is missing",
        ),
        (f'[engines.a]\nurl = "erp.example.com"\n{_KEYS}', "engines.a.url", "not the url"),
        (f'[engines.a]\nurl = "ftp://h"\n{_KEYS}', "engines.a.url", "not the url"),
        (f'[engines.a]\nurl = "http://h:x"\n{_KEYS}', "engines.a.url", "cannot be one"),
        (f'[engines.a]\nurl = "http://u:hunter2@h"\n{_KEYS}', "engines.a.url", "holds a name"),
        (f'[engines.a]\nurl = "http://h?x=1"\n{_KEYS}', "engines.a.url", "a query"),
        (f'[engines.a]\nurl = "http://h"\nhost = "a/b"\n{_KEYS}', "engines.a.host", "no host"),
        ("[engines.a", "engines.toml", "is not TOML"),
    ],
)
def test_a_wrong_engines_file_is_refused_with_file_and_key(
    tmp_path: Path, text: str, key: str, problem: str
) -> None:
    message = _no_engines(tmp_path, text)
    assert str(tmp_path / "engines.toml") in message
    assert key in message
    assert problem in message
    assert "hunter2" not in message


def test_a_mark_that_an_editor_put_before_the_first_line_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "engines.toml"
    file.write_text('default = "a"\n[engines.a]\nblueprint = "noop"\n', encoding="utf-8-sig")
    assert load_engines(Settings(engines_file=file)).default == "a"


def test_an_engines_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read the engines file"):
        load_engines(Settings(engines_file=tmp_path / "none.toml"))


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
    file = _secret(tmp_path / "s", content, mode)
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
    file = _secret(tmp_path / "s", "")
    file.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="not one line"):
        read_secret_file(file, "THE KEY")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_secret_file_is_read_also_through_a_link(tmp_path: Path, mode: int) -> None:
    file = _secret(tmp_path / "s", " hunter2\n", mode)
    (tmp_path / "link").symlink_to(file)
    secret = read_secret_file(tmp_path / "link", "THE KEY")
    assert secret.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(secret)


def test_an_engine_s_key_file_is_checked_like_any_secret(tmp_path: Path) -> None:
    text = f'[engines.a]\nurl = "http://h"\n{_KEYS}'.replace('"secret"', '"other"')
    assert "engines.a.api_secret_file: cannot read" in _no_engines(tmp_path, text)
    _secret(tmp_path / "other", "two words")
    assert "characters that no ERPNext key" in _no_engines(tmp_path, text)
    _secret(tmp_path / "other", "x", 0o604)
    assert "mode 0604" in _no_engines(tmp_path, text)


def test_a_password_that_reads_as_a_query_is_not_quoted() -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(
            config=None,
            overrides={"database_url": "postgresql+asyncpg://u:12?secretpart@db/p"},
            environ={},
        )
    assert "secretpart" not in refused.value.message
