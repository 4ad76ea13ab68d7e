"""The engines file: which ERPNext sites there are, and where their keys are."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from server.errors import SettingsError
from server.model.blueprint import ENGINE_BLUEPRINTS, ERPNEXT, NOOP
from server.model.identifiers import SiteKey
from server.settings.files import known_keys, nearest, read_secret_file, read_toml, shown
from server.settings.key_files import KeyFiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from server.settings.values import Settings

_MAX_PORT = 65535
_NO_SECRET = SecretStr("")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(?!-)[a-z0-9-]{1,63}(\.(?!-)[a-z0-9-]{1,63})*\.?", re.IGNORECASE | re.ASCII)
_HOST_HEADER = re.compile(r"[a-z0-9._-]+(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", re.ASCII)
_ENGINE_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_EXAMPLE = 'Write one such as [engines.main] with url = "https://erp.example.com".'
_TEXT_KEYS = ("blueprint", "url", "host", "api_key_file", "api_secret_file", "ca_file")
# The lowest and highest value of each number; a Company's limit stays below that of its step.
_NUMBERS = {
    "max_runs": (1, 1000),
    "timeout_seconds": (5, 300),
    "company_timeout_seconds": (120, 360),
}
_ENGINE_KEYS = (*_TEXT_KEYS, *_NUMBERS)

# One source's values: by setting, what a message calls it, and the value.


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """One engine as the engines file describes it.

    Attributes:
        id: Its name in the file and in a tenant's spec.
        blueprint: The name of the blueprint that its tenants are built from.
        site: The normalised url and host; no two engines share it.
        url: Where the site answers; empty for an engine whose steps do nothing.
        host: The Host header that selects the site; empty if it is the url's own.
        api_key: The API user's key; never shown.
        api_secret: The API user's secret; never shown.
        keys: The files that both come from, checked for changes while the process runs; None
            if there are no such files.
        ca_file: Certificates of a private authority, trusted besides the public ones; or None.
        max_runs: The most runs at once in one process; 0 for no limit of its own.
        timeout_seconds: The longest wait for an answer; None for 30 s.
        company_timeout_seconds: The same while a Company is made, as a minimum; None to go by
            the number of Companies on the site.
    """

    id: str
    blueprint: str
    site: SiteKey
    url: str = ""
    host: str = ""
    api_key: SecretStr = _NO_SECRET
    api_secret: SecretStr = _NO_SECRET
    keys: KeyFiles | None = None
    ca_file: Path | None = None
    max_runs: int = 0
    timeout_seconds: float | None = None
    company_timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginesConfig:
    """The engines by id, as the engines file describes them.

    Attributes:
        default: The engine of tenants that name none; "" if and only if there are no engines.
        engines: In the order of the file; can't be changed.
    """

    default: str = ""
    engines: Mapping[str, EngineConfig] = field(default_factory=lambda: MappingProxyType({}))


def load_engines(settings: Settings) -> EnginesConfig:
    """Read the engines file and the key files it names.

    Args:
        settings: They say where the file is.

    Returns:
        The engines; none if there is no engines file, which is not an error.

    Raises:
        SettingsError: if a file is missing, wrong or readable by others; names file and key.
    """
    file = settings.engines_file
    if file is None:
        return EnginesConfig()
    content = read_toml(file, "engines file")
    known_keys(content, ("default", "engines"), f"Engines file {file}")
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
                f"({engine.site}). Keep one of them, or correct the other's url or host."
            )
        engines[name] = engine
    return EnginesConfig(
        default=_default_engine(file, content, engines), engines=MappingProxyType(engines)
    )


def _default_engine(
    file: Path,
    content: Mapping[str, Any],  # Any: TOML holds what it holds
    engines: Mapping[str, EngineConfig],
) -> str:
    default = content.get("default")
    if default is None:
        if len(engines) > 1:
            raise SettingsError(
                f"Engines file {file}: default is missing. Write which engine gets tenants that "
                f"name none: {', '.join(engines)}."
            )
        return next(iter(engines), "")
    if not isinstance(default, str):
        raise SettingsError(f"Engines file {file}: default must be the name of an engine.")
    if default not in engines:
        near = nearest(default, engines) if engines else _EXAMPLE
        raise SettingsError(
            f"Engines file {file}: default is {shown(default)}, which is no engine. {near}"
        )
    return default


def _engine(file: Path, name: str, table: object) -> EngineConfig:
    where = f"Engines file {file}: engines.{shown(name)[1:-1]}"
    if not _ENGINE_ID.fullmatch(name):
        raise SettingsError(f"{where}: an engine's name has a-z, 0-9, _ and - only, at most 63.")
    texts, numbers = _values(table, where)
    max_runs = int(numbers.get("max_runs", 0))
    blueprint = texts.get("blueprint", ERPNEXT.name)
    if blueprint not in ENGINE_BLUEPRINTS:
        raise SettingsError(
            f"{where}.blueprint: there is no blueprint {shown(blueprint)}. "
            f"{nearest(blueprint, ENGINE_BLUEPRINTS)}"
        )
    if blueprint == NOOP.name:
        # Nothing is sent anywhere, so no site can be shared: each engine is a site of its own.
        return EngineConfig(
            id=name, blueprint=blueprint, site=SiteKey(f"noop host={name}"), max_runs=max_runs
        )
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
        keys=KeyFiles(
            lambda: _api_key(file, texts, "api_key_file", where),
            lambda: _api_key(file, texts, "api_secret_file", where),
            files=(file.parent / texts["api_key_file"], file.parent / texts["api_secret_file"]),
        ),
        ca_file=_ca_file(file, texts, f"{where}.ca_file"),
        max_runs=max_runs,
        timeout_seconds=numbers.get("timeout_seconds"),
        company_timeout_seconds=numbers.get("company_timeout_seconds"),
    )


def _values(table: object, where: str) -> tuple[dict[str, str], dict[str, float]]:
    if not isinstance(table, dict):
        raise SettingsError(f"{where}: must be a table. {_EXAMPLE}")
    known_keys(table, _ENGINE_KEYS, where)
    texts: dict[str, str] = {}
    numbers: dict[str, float] = {}
    for key, value in table.items():
        if key in _NUMBERS:
            numbers[key] = _number(key, value, f"{where}.{key}")
        elif not isinstance(value, str) or not value.strip():
            raise SettingsError(f"{where}.{key}: must be a text that is not empty. Write one.")
        else:
            texts[key] = value
    return texts, numbers


def _number(key: str, value: object, where: str) -> float:
    least, most = _NUMBERS[key]
    whole = key == "max_runs"
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
        and not (whole and value != int(value))
    ):
        return value
    kind = "whole number" if whole else "number"
    raise SettingsError(f"{where}: must be a {kind} from {least} to {most}. Write one.")


def _ca_file(file: Path, texts: Mapping[str, str], where: str) -> Path | None:
    if "ca_file" not in texts:
        return None
    path = file.parent / texts["ca_file"]
    try:
        ssl.create_default_context(cafile=str(path))
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"{where}: cannot read certificates from {path} ({error.strerror or 'no PEM'}). Name "
            "a file with the authority's certificate in PEM form."
        ) from error
    return path


def _site_url(text: str, where: str) -> tuple[str, str]:
    remedy = "Give one such as https://erp.example.com."
    try:
        parsed = urlsplit(text.strip())
        host, port = (parsed.hostname or "").rstrip("."), parsed.port
    except ValueError:
        raise SettingsError(f"{where}: has a host or port that cannot be one. {remedy}") from None
    if parsed.scheme not in _DEFAULT_PORTS or not host or not text.strip().isprintable():
        raise SettingsError(f"{where}: is not the url of a site. {remedy}")
    # The url is not shown: what comes before an @ may be a password.
    if "@" in parsed.netloc or parsed.query or parsed.fragment:
        raise SettingsError(f"{where}: holds a name, a query or a fragment. {remedy}")
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in {None, _DEFAULT_PORTS[parsed.scheme]} else f"{shown}:{port}"
    return f"{parsed.scheme}://{netloc}{parsed.path.rstrip('/')}", netloc


def _site_host(text: str, where: str) -> str:
    lowered = text.strip().lower().rstrip(".")
    if lowered and not _HOST_HEADER.fullmatch(lowered):
        raise SettingsError(f"{where}: {shown(text)} is no host. Give one such as erp.local.")
    return lowered


def _without_port(host: str, url: str) -> str:
    return host.removesuffix(f":{_DEFAULT_PORTS[url.partition(':')[0]]}")


def _api_key(file: Path, table: Mapping[str, str], key: str, where: str) -> SecretStr:
    secret = read_secret_file(file.parent / table[key], f"{where}.{key}")
    text = secret.get_secret_value()
    if not text.isascii() or " " in text:
        raise SettingsError(
            f"{where}.{key}: {file.parent / table[key]} holds blanks or characters that no ERPNext "
            "key has. Check that it is the key's file."
        )
    return secret
