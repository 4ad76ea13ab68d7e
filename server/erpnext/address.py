"""Where a site answers: its url and Host header in one spelling, and how connections are secured.

Two spellings of one site must not look like two sites, because the gate and the slot are per
site. A url may not hold a user name or password: they would be shown wherever the url is.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import httpx

from server.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_DEFAULT_PORTS = {"http": 80, "https": 443}
# The contexts of the clients that are open, by scheme and file of a private authority.
_shared: WeakValueDictionary[tuple[str, Path | None], ssl.SSLContext] = WeakValueDictionary()


def base_url(url: str) -> str:
    """Return a url in its one spelling, without a trailing slash.

    Args:
        url: Scheme (http or https), host, and perhaps port and path; no user name, query or
            fragment. The scheme's usual port is left out.

    Raises:
        SettingsError: it can't be the address of a site.
    """
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError):
        parsed = httpx.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise SettingsError("An engine's url must be like https://erp.example.com.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError(
            "An engine's url holds a name, a query or a fragment; give scheme, host and port only."
        )
    if parsed.port == _DEFAULT_PORTS[parsed.scheme]:
        parsed = parsed.copy_with(port=None)
    netloc = parsed.netloc.decode("ascii")
    return f"{parsed.scheme}://{netloc}{parsed.raw_path.decode('ascii').rstrip('/')}"


def tls_context(base: str, ca_file: Path | None = None) -> ssl.SSLContext:
    """Return the TLS context for connections to a base url.

    Args:
        base: The url, as `base_url` spells it.
        ca_file: Certificates of a private authority (PEM), trusted in addition to the public ones;
            None for those alone.

    Returns:
        The context; for plain HTTP one that trusts nobody, because it is never used.

    Raises:
        SettingsError: the certificates can't be read.
    """
    if base.startswith("https:"):
        context = httpx.create_ssl_context()  # respects SSL_CERT_FILE and SSL_CERT_DIR
        if ca_file is not None:
            try:
                context.load_verify_locations(cafile=str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise SettingsError(f"Cannot read certificates from {ca_file}.") from error
        return context
    # Never used for plain HTTP, because no redirect is followed. Loading the authorities takes
    # 50 ms, so this context trusts none: if it were used, it would refuse every certificate.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def shared_tls_context(base: str, ca_file: Path | None = None) -> ssl.SSLContext:
    """Return a context as `tls_context` makes it, shared by all sites that trust the same.

    Loading the public authorities takes 15 to 90 ms and 0.8 MB: with a context for each, fifty
    sites would delay a start by seconds. They are read again once no open client uses them.

    Args:
        base: The url, as `base_url` spells it; only its scheme counts.
        ca_file: As for `tls_context`.

    Raises:
        SettingsError: the certificates can't be read.
    """
    key = (httpx.URL(base).scheme, ca_file)
    context = _shared.get(key)
    if context is None:
        context = _shared[key] = tls_context(base, ca_file)
    return context


def host_header(host: str) -> str:
    """Return a Host header in its one spelling; "" stands for the url's own host.

    Raises:
        SettingsError: it can't be a Host header.
    """
    lowered = host.strip().lower()
    if any(sign in lowered for sign in " /@\r\n\t") or not lowered.isascii():
        raise SettingsError(f"An engine's host is {host!r}; it must be like erp.example.com.")
    return lowered
