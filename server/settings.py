"""The settings: options, environment and a TOML file, read once into one frozen value.

An option wins over the environment (`PROVISIONER_…`), that over the file named by `--config`,
that over the default. An unknown name is an error, and a misspelt one is told the right one. A
relative path in a TOML file is relative to that file. Nothing is made and nothing is connected
here but in `ensure_database_directory`; no message and no repr shows a password.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import stat
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from server.errors import SettingsError
from server.model.blueprint import BLUEPRINTS, ERPNEXT, NOOP
from server.model.identifiers import SiteKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ENV_PREFIX = "PROVISIONER_"

_MAX_PORT = 65535
_MAX_SHOWN = 60
# A key or a password is a line; a larger file is the wrong file.
_MAX_SECRET_BYTES = 64 * 1024
_NO_SECRET = SecretStr("")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*\.?", re.IGNORECASE | re.ASCII)
_HOST_HEADER = re.compile(r"[a-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.ASCII)
_ENGINE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
# Kubernetes and Docker describe a service called "provisioner" to its neighbours by variables
# that happen to have our prefix; refusing them would keep us from starting beside it.
_OF_THE_CLUSTER = re.compile(r"(SERVICE_(HOST|PORT(_\w+)?)|PORT_[0-9]+_(TCP|UDP|SCTP)(_\w+)?)")
_OF_THE_CLUSTER_PORT = re.compile(r"(tcp|udp|sctp)://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a server listens; port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it; a name other than localhost may be anywhere."""
        if self.host.lower() == "localhost":
            return True
        try:
            address = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return bool((mapped or address).is_loopback)


def _default_database_url() -> str:
    directory = Path(platformdirs.user_data_dir("tenant-provisioner"))
    return f"sqlite+aiosqlite:///{directory / 'provisioner.db'}"


def _default_log_format() -> Literal["console", "json"]:
    # A process started without one (a Windows service, some supervisors) has no stderr at all.
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return "console" if terminal else "json"


def _address(value: object) -> object:
    if not isinstance(value, str):
        return value
    host, colon, port = value.strip().rpartition(":")
    if not colon or not host:
        raise ValueError("must have a host and a port")
    if not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise ValueError(f"has a port that is not a number from 0 to {_MAX_PORT}")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        numeric = ipaddress.ip_address(bare)
    except ValueError:
        if bare != host or not _HOST.fullmatch(host):
            raise ValueError("has a host that is neither an IP address nor a name") from None
    else:
        if (numeric.version == 6) != (bare != host):  # noqa: PLR2004 - IPv6
            raise ValueError("must have brackets around an IPv6 address, and only there")
    return Address(host=bare, port=int(port))


def _database_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    scheme, separator, rest = value.strip().partition("://")
    if not separator or not rest:
        raise ValueError("is not a database url")
    kind = re.split(r"[+0-9]", scheme)[0].lower()
    if kind == "sqlite":
        _check_sqlite(scheme, rest)
    elif kind in {"postgres", "postgresql"}:
        _check_postgresql(scheme, value.strip())
    else:
        raise ValueError("is neither SQLite nor PostgreSQL")
    return value.strip()


def _check_sqlite(scheme: str, rest: str) -> None:
    if scheme != "sqlite+aiosqlite":
        raise ValueError("must name the driver: sqlite+aiosqlite:///…")
    path = rest.partition("?")[0]
    if not path.startswith("/"):
        raise ValueError("needs a third slash before the file's path: sqlite+aiosqlite:///…")
    if path in {"/", "/:memory:"}:
        raise ValueError("names no file, and a database in memory is lost with the process")


def _check_postgresql(scheme: str, value: str) -> None:
    if scheme != "postgresql+asyncpg":
        raise ValueError("must name the driver: postgresql+asyncpg://…")
    try:
        _ = urlsplit(value).port
    except ValueError:
        raise ValueError(
            "has a host or a port that cannot be one; write odd characters of the password "
            "percent-encoded, such as %40 for @"
        ) from None


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _path(value: object) -> object:
    if isinstance(value, str) and (not value.strip() or "\0" in value):
        raise ValueError("must name a file")
    return value


def _email(value: object) -> object:
    if not isinstance(value, str):
        return value
    name, at, domain = value.strip().partition("@")
    if not name or not at or not domain or not value.strip().isprintable() or " " in value.strip():
        raise ValueError("is not an e-mail address")
    return value.strip()


def _secret(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


_AddressField = Annotated[Address, BeforeValidator(_address)]
_PathField = Annotated[Path | None, BeforeValidator(_path)]


class Settings(BaseSettings):
    """Every setting of the process; made by `load_settings`.

    Made directly (in tests) it takes what it is given and the defaults, never the environment.

    Attributes:
        database_url: An SQLAlchemy url, SQLite (aiosqlite) or PostgreSQL (asyncpg); holds the
            password: show `safe_database_url` instead.
        grpc_address: Where gRPC is served.
        http_address: Where REST, the console and metrics are served.
        lease_seconds: How long a run stays a worker's without a sign of life.
        sweep_seconds: Pause between two sweeps of the reconciler.
        drain_seconds: How long a stopping server waits for answers that are under way.
        engines_file: The TOML file that `load_engines` reads; None is no engine.
        admin_email: The first administrator.
        admin_password_file: A file with the first administrator's password.
        admin_password: The password itself, instead of the file.
        auth: Whether callers must sign in.
        jwt_key_file: The key that signs tokens.
        compat: Whether the old clients' API is served.
        max_runs: Most runs that one process drives at once.
        log_format: Lines for people, or JSON for programs.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=ENV_PREFIX, hide_input_in_errors=True
    )

    database_url: Annotated[str, BeforeValidator(_database_url)] = Field(
        default_factory=_default_database_url
    )
    grpc_address: _AddressField = Address(host="127.0.0.1", port=50051)
    http_address: _AddressField = Address(host="127.0.0.1", port=4000)
    lease_seconds: Annotated[float, BeforeValidator(_number), Field(ge=1, allow_inf_nan=False)] = (
        10.0
    )
    sweep_seconds: Annotated[float, BeforeValidator(_number), Field(ge=1, allow_inf_nan=False)] = (
        30.0
    )
    drain_seconds: Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)] = (
        25.0
    )
    engines_file: _PathField = None
    admin_email: Annotated[str | None, BeforeValidator(_email)] = None
    admin_password_file: _PathField = None
    admin_password: Annotated[SecretStr | None, BeforeValidator(_secret)] = None
    auth: bool = True
    jwt_key_file: _PathField = None
    compat: bool = False
    max_runs: Annotated[int, BeforeValidator(_number), Field(ge=1, le=1024)] = 32
    log_format: Literal["console", "json"] = Field(default_factory=_default_log_format)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the library's signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing but the arguments: `load_settings` puts the sources together.

        The library's own sources pass over names they do not know, and read the process's
        environment where a test gave another.
        """
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.admin_password is not None and self.admin_password_file is not None:
            raise ValueError(
                "admin_password and admin_password_file are both given. Give one of them."
            )
        if not self.auth:
            exposed = [
                f"{name} is {address}"
                for name, address in (
                    ("grpc_address", self.grpc_address),
                    ("http_address", self.http_address),
                )
                if not address.is_loopback
            ]
            if exposed:
                raise ValueError(
                    f"auth is off, but {' and '.join(exposed)}, which others may reach. Set auth "
                    "to on, or listen on 127.0.0.1."
                )
        return self

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def database_file(self) -> Path | None:
        """The SQLite file, or None with PostgreSQL."""
        if not self.is_sqlite:
            return None
        return Path(self.database_url.partition(":///")[2].partition("?")[0])

    @property
    def safe_database_url(self) -> str:
        """The url without passwords, for people and logs."""
        # Up to the last @: a password may hold one, and hiding too much is the safe mistake.
        hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.database_url)
        return re.sub(r"(?i)([?&][^=&]*password[^=&]*)=[^&]*", r"\1=***", hidden)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:  # Any: pydantic's signature
        """Show every setting, the database's url without its password."""
        for name, value in super().__repr_args__():
            yield name, self.safe_database_url if name == "database_url" else value


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One engine as the engines file describes it.

    Attributes:
        id: Its name in the file, and in a tenant's spec.
        blueprint: Name of the blueprint its tenants are built by.
        site: Normalised url and host: no two engines share it.
        url: Where the site answers; empty for an engine whose steps do nothing.
        host: The Host header that names the site; empty if it is the url's.
        api_key: Of the API user; never shown.
        api_secret: Of the API user; never shown.
    """

    id: str
    blueprint: str
    site: SiteKey
    url: str = ""
    host: str = ""
    api_key: SecretStr = _NO_SECRET
    api_secret: SecretStr = _NO_SECRET


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesConfig:
    """The engines by id; `default` is empty if, and only if, there is none."""

    default: str = ""
    engines: Mapping[str, EngineConfig] = field(default_factory=lambda: MappingProxyType({}))


def load_settings(
    *, config: Path | None, overrides: Mapping[str, str], environ: Mapping[str, str]
) -> Settings:
    """Put the settings together.

    Args:
        config: The TOML file with settings at its top level, or None.
        overrides: Options given, by the setting's name ("grpc_address" or "grpc-address").
        environ: The environment; other variables than PROVISIONER_… are passed over, and an
            empty one counts as not set (what a compose file passes on for an unset variable).

    Returns:
        The settings.

    Raises:
        SettingsError: if a name is unknown or a value is wrong; names it and the remedy.
    """
    values: dict[str, str | Path] = {}
    labels: dict[str, str] = {}
    layers = (
        _from_file(config) if config is not None else {},
        _from_environ(environ),
        _from_options(overrides),
    )
    for layer in layers:
        # The two are one choice: the one given later wins, not both.
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


def load_engines(settings: Settings) -> EnginesConfig:
    """Read the engines file and the key files it names.

    Args:
        settings: Say where the file is.

    Returns:
        The engines; without an engines file there are none, which is no error.

    Raises:
        SettingsError: if a file is missing, readable to others or wrong; names file and key.
    """
    file = settings.engines_file
    if file is None:
        return EnginesConfig()
    content = _toml(file, "engines file")
    _known_keys(content, ("default", "engines"), f"Engines file {file}")
    tables = content.get("engines", {})
    if not isinstance(tables, dict):
        raise SettingsError(f"Engines file {file}: engines must hold tables. {_EXAMPLE}")
    engines: dict[str, EngineConfig] = {}
    sites: dict[str, str] = {}
    for name, table in tables.items():
        engine = _engine(file, name, table)
        other = sites.setdefault(engine.site, name)
        if other != name:
            raise SettingsError(
                f"Engines file {file}: engines.{other} and engines.{name} are the same site "
                f"({engine.site}). Keep one of them, or mend the other's url or host."
            )
        engines[name] = engine
    return EnginesConfig(
        default=_default_engine(file, content, engines), engines=MappingProxyType(engines)
    )


def read_secret_file(file: Path, what: str) -> SecretStr:
    """Read a key or a password from a file that only its owner can read.

    Args:
        file: The file; a symbolic link to one will do.
        what: What the messages call it, such as "PROVISIONER_ADMIN_PASSWORD_FILE".

    Returns:
        Its one line, without outer blanks.

    Raises:
        SettingsError: if it cannot be read, others can read it, or it is no line of text.
    """
    try:
        # Not blocking: a pipe would hold us here before we could see that it is one.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SettingsError(
            f"{what}: cannot read {file} ({error.strerror}). Make the file, mode 0600, owned by "
            "the user of this process."
        ) from error
    try:
        # Looked at through the open file, so that what was checked is what is read.
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SettingsError(f"{what}: {file} is not a regular file. Name a file.")
        _private(file, status.st_mode, what)
        content = os.read(descriptor, _MAX_SECRET_BYTES + 1)
    finally:
        os.close(descriptor)
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        text = "\0"
    if not text:
        raise SettingsError(f"{what}: {file} is empty. Write the key or password into it.")
    if len(content) > _MAX_SECRET_BYTES or not text.isprintable():
        raise SettingsError(f"{what}: {file} is not one line of text. Check that it is the file.")
    return SecretStr(text)


def ensure_database_directory(settings: Settings) -> None:
    """Make the directory of the SQLite file, for the owner only, if it is not there.

    Raises:
        SettingsError: if it cannot be made.
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


_ONE_OF = ("admin_password", "admin_password_file")
_PATHS = frozenset({"engines_file", "admin_password_file", "jwt_key_file"})
_SECRETS = frozenset({"admin_password", "database_url"})
_SECONDS = "Give a number of seconds from 1, such as {}."
_ADDRESS = "Give host:port, such as {}."
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
    "drain_seconds": "Give a number of seconds from 0, such as 25.",
    "engines_file": _FILE.format("engines.toml"),
    "admin_email": "Give one such as admin@example.com.",
    "admin_password_file": _FILE.format("admin-password"),
    "admin_password": "Give a password, or leave the setting out.",
    "auth": _SWITCH,
    "jwt_key_file": _FILE.format("jwt.key"),
    "compat": _SWITCH,
    "max_runs": "Give a whole number from 1 to 1024, such as 32.",
    "log_format": "Give console or json.",
}
# The library's words where ours say more; keys are its error types.
_PROBLEMS = {
    "bool_parsing": "must be on or off",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "finite_number": "must be a finite number",
}
_EXAMPLE = 'Write one such as [engines.main] with url = "https://erp.example.com".'
_ENGINE_KEYS = ("blueprint", "url", "host", "api_key_file", "api_secret_file")

# One source's values: by setting, what a message calls it, and the value.
_Layer = dict[str, tuple[str, str | Path]]


def _from_file(config: Path) -> _Layer:
    content = _toml(config, "config file")
    _known_keys(content, tuple(Settings.model_fields), f"Config file {config}")
    layer: _Layer = {}
    for name, value in content.items():
        label = f"{name} in {config}"
        if not isinstance(value, str | int | float):
            raise SettingsError(f"{label}: must be a text, a number or true/false, nothing else.")
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if name == "admin_password":
            _private(config, config.stat().st_mode, label)
        is_path = name in _PATHS and text.strip() != ""
        layer[name] = (label, config.parent / text if is_path else text)
    return layer


def _from_environ(environ: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for variable, value in environ.items():
        if not variable.startswith(ENV_PREFIX) or _is_of_the_cluster(variable, value):
            continue
        name = variable.removeprefix(ENV_PREFIX)
        if name != name.upper() or name.lower() not in Settings.model_fields:
            # Without the prefix: it makes any two names look alike.
            known = [setting.upper() for setting in Settings.model_fields]
            near = _nearest(name.upper(), known, prefix=ENV_PREFIX)
            raise SettingsError(f"Unknown setting {_shown(variable)} in the environment. {near}")
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
            near = _nearest(name, list(Settings.model_fields))
            raise SettingsError(f"Unknown setting {_shown(option)} among the options. {near}")
        layer[name] = (f"--{name.replace('_', '-')}", value)
    return layer


def _toml(file: Path, kind: str) -> dict[str, Any]:  # Any: TOML holds what it holds
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"Cannot read the {kind} {file} ({error.strerror}). Make it, or name another."
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"The {kind} {file} is not UTF-8 text. Save it as UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"The {kind} {file} is not TOML: {error}. Mend that place.") from error


def _known_keys(found: Iterable[str], known: tuple[str, ...], where: str) -> None:
    for key in found:
        if key not in known:
            raise SettingsError(f"{where}: unknown key {_shown(key)}. {_nearest(key, known)}")


def _nearest(name: str, known: Iterable[str], *, prefix: str = "") -> str:
    choices = list(known)
    near = difflib.get_close_matches(name[:_MAX_SHOWN], choices, n=1, cutoff=0.6)
    if near:
        return f"Did you mean {prefix}{near[0]}?"
    return f"Known are {', '.join(prefix + choice for choice in choices)}."


def _private(file: Path, mode: int, what: str) -> None:
    if mode & 0o077:
        raise SettingsError(
            f"{what}: {file} has mode {stat.S_IMODE(mode):04o}, so others may read or change the "
            f"secret. Run: chmod 600 {file}"
        )


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
    got = "" if name in _SECRETS else f" (it is {_shown(str(values.get(name, '')))})"
    return f"{labels.get(name, name)}: {what}{got}. {_REMEDIES[name]}"


def _shown(text: str) -> str:
    # repr escapes whatever a terminal or a log would act upon.
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…")


def _default_engine(
    file: Path,
    content: Mapping[str, Any],  # Any: TOML holds what it holds
    engines: Mapping[str, EngineConfig],
) -> str:
    default = content.get("default")
    if default is None:
        if len(engines) > 1:
            raise SettingsError(
                f"Engines file {file}: default is missing. Write which engine takes tenants that "
                f"name none: {', '.join(engines)}."
            )
        return next(iter(engines), "")
    if not isinstance(default, str):
        raise SettingsError(f"Engines file {file}: default must be the name of an engine.")
    if default not in engines:
        near = _nearest(default, engines) if engines else _EXAMPLE
        raise SettingsError(
            f"Engines file {file}: default is {_shown(default)}, which is no engine. {near}"
        )
    return default


def _engine(file: Path, name: str, table: object) -> EngineConfig:
    where = f"Engines file {file}: engines.{_shown(name)[1:-1]}"
    if not _ENGINE_ID.fullmatch(name):
        raise SettingsError(f"{where}: an engine's name has a-z, 0-9, _ and - only, at most 63.")
    texts = _texts(table, where)
    blueprint = texts.get("blueprint", ERPNEXT.name)
    if blueprint not in BLUEPRINTS:
        raise SettingsError(
            f"{where}.blueprint: there is no blueprint {_shown(blueprint)}. "
            f"{_nearest(blueprint, BLUEPRINTS)}"
        )
    if blueprint == NOOP.name:
        # Nothing is sent, so there is no site to share: each is its own.
        return EngineConfig(id=name, blueprint=blueprint, site=SiteKey(f"noop host={name}"))
    for key in ("url", "api_key_file", "api_secret_file"):
        if key not in texts:
            raise SettingsError(f"{where}.{key}: is missing. Write it below [engines.{name}].")
    url, netloc = _site_url(texts["url"], f"{where}.url")
    host = _site_host(texts.get("host", ""), f"{where}.host")
    return EngineConfig(
        id=name,
        blueprint=blueprint,
        site=SiteKey(f"{url} host={_without_port(host, url) or netloc}"),
        url=url,
        host=host,
        api_key=_api_key(file, texts, "api_key_file", where),
        api_secret=_api_key(file, texts, "api_secret_file", where),
    )


def _texts(table: object, where: str) -> dict[str, str]:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: must be a table. {_EXAMPLE}")
    _known_keys(table, _ENGINE_KEYS, where)
    for key, value in table.items():
        if not isinstance(value, str) or not value.strip():
            raise SettingsError(f"{where}.{key}: must be a text that is not empty. Write one.")
    return table


def _site_url(text: str, where: str) -> tuple[str, str]:
    remedy = "Give one such as https://erp.example.com."
    try:
        parsed = urlsplit(text.strip())
        host, port = (parsed.hostname or "").rstrip("."), parsed.port
    except ValueError:
        raise SettingsError(f"{where}: has a host or port that cannot be one. {remedy}") from None
    if parsed.scheme not in _DEFAULT_PORTS or not host or not text.strip().isprintable():
        raise SettingsError(f"{where}: is not the url of a site. {remedy}")
    # Not shown: what stands before an @ may be a password.
    if "@" in parsed.netloc or parsed.query or parsed.fragment:
        raise SettingsError(f"{where}: holds a name, a query or a fragment. {remedy}")
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in {None, _DEFAULT_PORTS[parsed.scheme]} else f"{shown}:{port}"
    return f"{parsed.scheme}://{netloc}{parsed.path.rstrip('/')}", netloc


def _site_host(text: str, where: str) -> str:
    lowered = text.strip().lower().rstrip(".")
    if lowered and not _HOST_HEADER.fullmatch(lowered):
        raise SettingsError(f"{where}: {_shown(text)} is no host. Give one such as erp.local.")
    return lowered


def _without_port(host: str, url: str) -> str:
    return host.removesuffix(f":{_DEFAULT_PORTS[url.partition(':')[0]]}")


def _api_key(file: Path, table: Mapping[str, str], key: str, where: str) -> SecretStr:
    secret = read_secret_file(file.parent / table[key], f"{where}.{key}")
    text = secret.get_secret_value()
    if not text.isascii() or " " in text:
        raise SettingsError(
            f"{where}.{key}: {file.parent / table[key]} holds blanks or signs that no ERPNext "
            "key has. Check that it is the key's file."
        )
    return secret
