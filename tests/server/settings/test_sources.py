"""Where settings come from, which source wins, and how a slip in a name is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from server.errors import SettingsError
from server.settings import Address, Settings, load_settings
from tests.server.settings.given import load, refused


def test_without_any_source_the_defaults_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    settings = load()
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
    settings = load(config, {"max-runs": "13"}, max_runs="12", sweep_seconds="12")
    assert settings.lease_seconds == 11
    assert settings.sweep_seconds == 12
    assert settings.max_runs == 13


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISIONER_MAX_RUNS", "7")
    assert load().max_runs == 32
    assert Settings().max_runs == 32


def test_an_empty_variable_is_not_set_and_an_empty_option_is_wrong() -> None:
    assert load(auth="", engines_file=" ").auth
    assert "--engines-file: must name a file" in refused(None, {"engines_file": ""})


def test_a_password_given_later_replaces_a_password_file_given_earlier(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('admin_password_file = "p"\n')
    assert load(config).admin_password_file == tmp_path / "p"
    settings = load(config, admin_password="x")
    assert settings.admin_password == SecretStr("x")
    assert settings.admin_password_file is None
    both = {"admin_password": "x", "admin_password_file": "y"}
    assert "are both given" in refused(**both)


def test_a_path_in_the_config_file_is_relative_to_it(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    names = [name for name in Settings.model_fields if name.endswith("_file")]
    # The password and its file are one choice; the others go together.
    given = "".join(f'{name} = "{name}.txt"\n' for name in names if name != "jwt_key_file")
    config.write_text(f'{given}jwt_key_file = "/keys/jwt"\nwebhook_url = "https://a.example"\n')
    settings = load(config)
    for name in set(names) - {"jwt_key_file"}:
        assert getattr(settings, name) == tmp_path / f"{name}.txt"
    assert settings.jwt_key_file == Path("/keys/jwt")
    assert load(engines_file="engines.toml").engines_file == Path("engines.toml")


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
    assert "Did you mean grpc_address?" in refused(None, {"grpc-adress": "x"})
    config = tmp_path / "c.toml"
    config.write_text("leas_seconds = 1\n")
    message = refused(config)
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
    assert "PROVISIONER_PORT" in refused(port="50051")


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
    message = refused(config)
    assert str(config) in message
    assert problem in message


def test_a_config_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    assert "Cannot read the config file" in refused(tmp_path / "none.toml")
    config = tmp_path / "c.toml"
    config.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in refused(config)
