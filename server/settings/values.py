"""Every setting of the process, checked and frozen."""

from __future__ import annotations

import ipaddress
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import quote, unquote, urlsplit

import platformdirs
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from server.limits import CALLS_PER_SECOND
from server.settings.postgresql_url import check_postgresql

if TYPE_CHECKING:
    from collections.abc import Iterable

ENV_PREFIX = "PROVISIONER_"

_MAX_PORT = 65535
# The promise is that an order repeated within seven days is the same order.
_LEAST_REQUEST_DAYS = 7
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*\.?", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+", re.IGNORECASE | re.ASCII)


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
        """Whether only this machine can reach it; any name but localhost may be elsewhere."""
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
    return f"sqlite+aiosqlite:///{quote(str(directory / 'provisioner.db'), safe='/ +')}"


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
            raise ValueError("must have brackets around an IPv6 address, and nowhere else")
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
        if scheme != "postgresql+asyncpg":
            raise ValueError("must name the driver: postgresql+asyncpg://…")
        check_postgresql(value.strip())
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


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _week(value: float) -> float:
    if 0 < value < _LEAST_REQUEST_DAYS:
        raise ValueError(f"must be {_LEAST_REQUEST_DAYS} or more, or 0 for ever")
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


def _hosts(value: object) -> object:
    if not isinstance(value, str):
        return value
    hosts = [host.strip().lower().rstrip(".") for host in value.split(",") if host.strip()]
    for host in hosts:
        if not _HOST.fullmatch(host) and not _is_ip(host):
            raise ValueError("has a host that is neither an IP address nor a name")
    return ",".join(hosts)


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    origins = [origin.strip().rstrip("/") for origin in value.split(",") if origin.strip()]
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise ValueError("has an origin that is not like https://shop.example.com")
    return ",".join(origins).lower()


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return False
    return True


def _secret(value: object) -> object:
    if isinstance(value, str) and not value.strip():
        raise ValueError("must not be empty")
    return value


def _named(name: str) -> str:
    """Return both names of a setting: a reader looks for the one that they set."""
    return f"{name} ({ENV_PREFIX}{name.upper()})"


# Any number from 1 is accepted, but a lease longer than a day would read as damage
# (`server.store.values`), and times can't be reckoned with 1e300 seconds.
_A_DAY = 86_400.0
_Seconds = Annotated[
    float,
    BeforeValidator(_number),
    Field(ge=1, allow_inf_nan=False),
    AfterValidator(lambda seconds: min(seconds, _A_DAY)),
]
_Days = Annotated[float, BeforeValidator(_number), Field(ge=0, le=36500, allow_inf_nan=False)]


def _webhook_url(value: object) -> object:
    if not isinstance(value, str):
        return value
    url = value.strip()
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a url") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isprintable():
        raise ValueError("must begin with https:// (or http://) and name a host")
    return url


_AddressField = Annotated[Address, BeforeValidator(_address)]
_PathField = Annotated[Path | None, BeforeValidator(_path)]


class Settings(BaseSettings):
    """Every setting of the process; made by `load_settings`.

    When made directly, as in tests, it takes its arguments and the defaults, never the environment.

    Attributes:
        database_url: An SQLAlchemy url, for SQLite (aiosqlite) or PostgreSQL (asyncpg). It holds
            the password: show `safe_database_url` instead.
        grpc_address: The address that gRPC is served at.
        http_address: The address that HTTP is served at: the old REST API, /v1, /docs and /metrics.
        lease_seconds: How long a worker counts as alive after its last sign of life. Here and
            below, more than a day counts as a day.
        sweep_seconds: The time from the start of one sweep of the reconciler to that of the next.
        drift_per_sweep: The most finished tenants that one sweep checks for drift; 0 for none.
        drift_days: The time from one such check of a tenant to the next.
        drain_seconds: How long a stopping server waits for ERPNext's answers.
        engines_file: The TOML file that `load_engines` reads; None for no engines.
        admin_email: The first administrator.
        admin_password_file: A file with the first administrator's password.
        admin_password: The password itself, instead of the file.
        auth: Whether callers must sign in.
        jwt_key_file: The key that signs tokens.
        compat: Whether there is what old clients rely on: tokens for a week and, where only this
            machine reaches it, doing without signing in. Their API is served in any case.
        insecure: Whether to start even if others may reach what is not protected.
        tls_cert_file: The certificate chain of this server, PEM; gRPC and HTTP then speak TLS.
        tls_key_file: Its private key, PEM.
        tls_client_ca_file: The authorities that sign clients' certificates, PEM; gRPC then asks
            for one.
        allowed_hosts: Host names that HTTP answers to besides the loopback ones.
        allowed_origins: Origins of web pages that may call HTTP besides its own.
        webhook_url: Where messages go when a person must act, or a tenant was healed.
        webhook_secret_file: A file with the secret that signs them.
        calls_per_second: How many calls a caller may make on average; 0 for no limit.
        open_metrics: Whether /metrics needs no token, wherever it is called from.
        max_runs: The most runs that one process drives at once.
        log_retention_days: How long a tenant's log is kept; here and below, 0 is for ever.
        attempt_retention_days: How long the attempts of closed runs are kept.
        request_retention_days: How long an order repeated with its id is the same order.
        finding_retention_days: How long the reconciler's findings are kept.
        audit_retention_days: How long the record of who ordered what is kept.
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
    lease_seconds: _Seconds = 10.0
    sweep_seconds: _Seconds = 30.0
    drift_per_sweep: Annotated[int, BeforeValidator(_number), Field(ge=0, le=100)] = 2
    drift_days: Annotated[
        float, BeforeValidator(_number), Field(gt=0, le=36500, allow_inf_nan=False)
    ] = 7.0
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
    insecure: bool = False
    tls_cert_file: _PathField = None
    tls_key_file: _PathField = None
    tls_client_ca_file: _PathField = None
    allowed_hosts: Annotated[str, BeforeValidator(_hosts)] = ""
    allowed_origins: Annotated[str, BeforeValidator(_origins)] = ""
    webhook_url: Annotated[SecretStr | None, BeforeValidator(_webhook_url)] = None
    webhook_secret_file: _PathField = None
    calls_per_second: Annotated[
        float, BeforeValidator(_number), Field(ge=0, le=1e6, allow_inf_nan=False)
    ] = CALLS_PER_SECOND
    open_metrics: bool = False
    max_runs: Annotated[int, BeforeValidator(_number), Field(ge=1, le=1024)] = 32
    log_retention_days: _Days = 90.0
    attempt_retention_days: _Days = 365.0
    request_retention_days: Annotated[_Days, AfterValidator(_week)] = 30.0
    finding_retention_days: _Days = 365.0
    audit_retention_days: _Days = 730.0
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

        The library's own sources ignore names that they do not know, and read the process's
        environment even if a test passed another.
        """
        return (init_settings,)

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        self._demand_pairs()
        exposed = " and ".join(self._exposed())
        if not exposed or self.insecure:
            return self
        if not self.auth:
            raise ValueError(
                f"{_named('auth')} is off, but {exposed}, which others may reach. Set it to on, or "
                "listen on 127.0.0.1. To do so all the same: --insecure."
            )
        if self.tls_cert_file is None:
            raise ValueError(
                f"{exposed}, which others may reach, and there is no TLS: passwords and tokens "
                f"would be readable in transit. Give {_named('tls_cert_file')} and "
                f"{_named('tls_key_file')}, or listen on 127.0.0.1. Behind a proxy that speaks "
                "TLS: --insecure."
            )
        return self

    def _demand_pairs(self) -> None:
        if self.admin_password is not None and self.admin_password_file is not None:
            raise ValueError(
                f"{_named('admin_password')} and {_named('admin_password_file')} are both given. "
                "Give one of them."
            )
        pairs = (("tls_cert_file", "tls_key_file"), ("webhook_url", "webhook_secret_file"))
        for pair in pairs:
            given = [name for name in pair if getattr(self, name) is not None]
            if len(given) == 1:
                missing = next(name for name in pair if name not in given)
                raise ValueError(
                    f"{_named(given[0])} is given without {_named(missing)}; they go together. "
                    "Give both, or none."
                )
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError(
                f"{_named('tls_client_ca_file')} is given without {_named('tls_cert_file')}. Give "
                f"that and {_named('tls_key_file')} too."
            )

    def _exposed(self) -> list[str]:
        return [
            f"{_named(name)} is {address}"
            for name, address in (
                ("grpc_address", self.grpc_address),
                ("http_address", self.http_address),
            )
            if not address.is_loopback
        ]

    @property
    def is_exposed(self) -> bool:
        """Whether other machines may reach the server."""
        return bool(self._exposed())

    @property
    def opens_to_old_clients(self) -> bool:
        """Whether old clients may register and read without signing in: never from outside."""
        return self.compat and (not self.is_exposed or self.insecure)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is an SQLite file."""
        return self.database_url.startswith("sqlite")

    @property
    def database_file(self) -> Path | None:
        """The SQLite file, or None with PostgreSQL."""
        if not self.is_sqlite:
            return None
        # Unquoted as the driver does it: we create, lock and copy the very file that it opens.
        return Path(unquote(self.database_url.partition(":///")[2].partition("?")[0]))

    @property
    def safe_database_url(self) -> str:
        """The url without passwords, for people and logs."""
        # Up to the last @: a password may contain one, and hiding too much is the safe mistake.
        hidden = re.sub(r"(://[^:/@]*):.*@", r"\1:***@", self.database_url)
        return re.sub(r"(?i)([?&][^=&]*password[^=&]*)=[^&]*", r"\1=***", hidden)

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:  # Any: pydantic's signature
        """Show every setting; the database's url is shown without its password."""
        for name, value in super().__repr_args__():
            yield name, self.safe_database_url if name == "database_url" else value
