"""Combines the settings: options win over the environment, that over the file, then defaults."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from server.errors import SettingsError
from server.settings.files import demand_private, known_keys, nearest, read_toml, shown
from server.settings.values import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

# What an orchestrator sets for a service named "provisioner"; these are not our settings.
_OF_THE_CLUSTER = re.compile(r"(SERVICE_(HOST|PORT(_\w+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
_OF_THE_CLUSTER_PORT = re.compile(r"(tcp|udp|sctp)://")

_ONE_OF = ("admin_password", "admin_password_file")
_PATHS = frozenset(
    {
        "engines_file",
        "admin_password_file",
        "jwt_key_file",
        "tls_cert_file",
        "tls_key_file",
        "tls_client_ca_file",
        "webhook_secret_file",
    }
)
# What the command line reads from the same environment; these are not the server's.
_OF_THE_CLIENT = frozenset(
    {
        "PROVISIONER_TOKEN",
        "PROVISIONER_PROFILE",
        "PROVISIONER_TLS_CA",
        "PROVISIONER_CLIENT_CERT",
        "PROVISIONER_CLIENT_KEY",
    }
)
_SECRETS = frozenset({"webhook_url", "admin_password", "database_url"})
_SECONDS = "Give a number of seconds from 1, such as {}."
_ADDRESS = "Give host:port, such as {}."
_DAYS = "Give a number of days such as {}, or 0 to keep them for ever."
_SWITCH = "Give on or off."
_FILE = "Give the path of a file, such as {}."
_REMEDIES = {
    "database_url": (
        "Give sqlite+aiosqlite:////path/of/provisioner.db or "
        "postgresql+asyncpg://user:password@host/database."
    ),
    "grpc_address": _ADDRESS.format("127.0.0.1:50051"),
    "http_address": _ADDRESS.format("127.0.0.1:4000"),
    "lease_seconds": _SECONDS.format("10"),
    "sweep_seconds": _SECONDS.format("30"),
    "drift_per_sweep": "Give a whole number such as 2, or 0 not to look for drift.",
    "drift_days": "Give a number of days greater than 0, such as 7.",
    "drain_seconds": "Give a number of seconds from 0, such as 25.",
    "engines_file": _FILE.format("engines.toml"),
    "admin_email": "Give one such as admin@example.com.",
    "admin_password_file": _FILE.format("admin-password"),
    "admin_password": "Give a password, or leave the setting out.",
    "auth": _SWITCH,
    "jwt_key_file": _FILE.format("jwt.key"),
    "compat": _SWITCH,
    "webhook_url": "Give one such as https://alerts.example.com/provisioner.",
    "webhook_secret_file": _FILE.format("webhook.secret"),
    "insecure": _SWITCH,
    "tls_cert_file": _FILE.format("server.pem"),
    "tls_key_file": _FILE.format("server.key"),
    "tls_client_ca_file": _FILE.format("clients-ca.pem"),
    "allowed_hosts": "Give names separated by commas, such as provisioner.example.com.",
    "allowed_origins": "Give origins separated by commas, such as https://shop.example.com.",
    "calls_per_second": "Give a number such as 5000, or 0 for no limit.",
    "open_metrics": _SWITCH,
    "max_runs": "Give a whole number from 1 to 1024, such as 32.",
    "log_retention_days": _DAYS.format("90"),
    "attempt_retention_days": _DAYS.format("365"),
    "request_retention_days": _DAYS.format("30"),
    "finding_retention_days": _DAYS.format("365"),
    "audit_retention_days": _DAYS.format("730"),
    "log_format": "Give console or json.",
}
# Our words where they say more than the library's; the keys are its error types.
_PROBLEMS = {
    "bool_parsing": "must be on or off",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "finite_number": "must be a finite number",
}

_Layer = dict[str, tuple[str, str | Path]]


def load_settings(
    *, config: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str]
) -> Settings:
    """Combine the settings from their sources.

    Args:
        config: A TOML file with settings at its top level, or None.
        overrides: The options given, by the setting's name ("grpc_address" or "grpc-address").
        environ: The environment; only PROVISIONER_… is read, and an empty variable counts as
            not set (a compose file passes an unset variable on as an empty one).

    Returns:
        The settings.

    Raises:
        SettingsError: if a name is unknown or a value is wrong; says which, and the remedy.
    """
    values: dict[str, str | Path] = {}
    labels: dict[str, str] = {}
    layers = (
        _from_file(config) if config is not None else {},
        _from_environ(environ),
        _from_options(overrides),
    )
    for layer in layers:
        # The two are one choice: a later source replaces both.
        if not layer.keys().isdisjoint(_ONE_OF):
            for name in _ONE_OF:
                values.pop(name, None)
        for name, (label, value) in layer.items():
            values[name], labels[name] = value, label
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = [_explain(problem, labels, values) for problem in error.errors()]
        raise SettingsError(" ".join(problems)) from error


def ensure_database_directory(settings: Settings) -> None:
    """Create the directory of the SQLite file, for its owner only, if there is none.

    Raises:
        SettingsError: if it can't be created, or the file can't be written in it.
    """
    file = settings.database_file
    if file is None:
        return
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"database_url: cannot make the directory {file.parent} ({error.strerror}). Make it, "
            f"or set {ENV_PREFIX}DATABASE_URL to a file elsewhere."
        ) from error
    try:
        # It holds password hashes; SQLite gives the files beside it the same mode.
        file.touch(mode=0o600, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"database_url: {file} can't be written ({error.strerror}). Let the user this runs as "
            f"write the file and its folder, or set {ENV_PREFIX}DATABASE_URL to a file elsewhere."
        ) from error


def _from_file(config: Path) -> _Layer:
    content = read_toml(config, "config file")
    known_keys(content, tuple(Settings.model_fields), f"Config file {config}")
    layer: _Layer = {}
    for name, value in content.items():
        label = f"{name} in {config}"
        if not isinstance(value, str | int | float):
            raise SettingsError(f"{label}: must be a text, a number or true/false, nothing else.")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name == "admin_password":
            demand_private(config, config.stat(), label)
        is_path = name in _PATHS and text.strip() != ""
        layer[name] = (label, config.parent / text if is_path else text)
    return layer


def _from_environ(environ: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for variable, value in environ.items():
        if not variable.startswith(ENV_PREFIX) or variable in _OF_THE_CLIENT:
            continue
        if _is_of_the_cluster(variable, value):
            continue
        name = variable.removeprefix(ENV_PREFIX)
        if name != name.upper() or name.lower() not in Settings.model_fields:
            # Compared without the prefix, which makes any two names look alike.
            known = [setting.upper() for setting in Settings.model_fields]
            near = nearest(name.upper(), known, prefix=ENV_PREFIX)
            raise SettingsError(f"Unknown setting {shown(variable)} in the environment. {near}")
        if value.strip():
            layer[name.lower()] = (variable, value)
    return layer


def _is_of_the_cluster(variable: str, value: str) -> bool:
    name = variable.removeprefix(ENV_PREFIX)
    if name == "PORT":
        return _OF_THE_CLUSTER_PORT.match(value) is not None
    return _OF_THE_CLUSTER.fullmatch(name) is not None


def _from_options(overrides: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for option, value in overrides.items():
        name = option.removeprefix("--").replace("-", "_")
        if name not in Settings.model_fields:
            near = nearest(name, list(Settings.model_fields))
            raise SettingsError(f"Unknown setting {shown(option)} among the options. {near}")
        layer[name] = (f"--{name.replace('_', '-')}", value)
    return layer


def _explain(
    problem: Mapping[str, Any],  # Any: pydantic's own mapping
    labels: Mapping[str, str],
    values: Mapping[str, str | Path],
) -> str:
    raised = problem.get("ctx", {}).get("error")
    if not problem["loc"]:
        return f"Settings do not fit together: {raised}"
    name = str(problem["loc"][0])
    if isinstance(raised, ValueError):
        what = str(raised)
    else:
        what = _PROBLEMS.get(problem["type"]) or str(problem["msg"]).replace(
            "Input should be", "must be"
        )
    got = "" if name in _SECRETS else f" (it is {shown(str(values.get(name, '')))})"
    return f"{labels.get(name, name)}: {what}{got}. {_REMEDIES[name]}"
