"""Where a site answers: its url and Host header in one spelling, and how it is secured.

Two spellings of one site must not look like two sites: the gate and the slot are per site. A
url holds no name and password; they would be shown wherever the url is.
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
# Of the clients that are open, by the scheme and the file of a private authority.
_shared: WeakValueDictionary[tuple[str, Path | None], ssl.SSLContext] = WeakValueDictionary()


def base_url(url: str) -> str:
    """Return a url in one spelling, without a slash at the end.

    Raises:
        SettingsError: if it cannot be the address of a site.
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
    """Return what connections to a base url are secured with.

    Args:
        base: The url.
        ca_file: Certificates of a private authority, trusted besides the public ones.

    Raises:
        SettingsError: if the certificates can't be read.
    """
    if base.startswith("https:"):
        context = httpx.create_ssl_context()  # heeds SSL_CERT_FILE and SSL_CERT_DIR
        if ca_file is not None:
            try:
                context.load_verify_locations(cafile=str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise SettingsError(f"Cannot read certificates from {ca_file}.") from error
        return context
    # Never used, as no redirect is followed; one with authorities takes 50 ms to load. It
    # knows none, so it would refuse.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def shared_tls_context(base: str, ca_file: Path | None = None) -> ssl.SSLContext:
    """Return what `tls_context` does, one for all sites that trust the same.

    The public authorities take 15 to 90 ms and 0.8 MB: fifty sites of their own would keep a
    start waiting for seconds. They are read again when no client is left that has them.

    Raises:
        SettingsError: if the certificates can't be read.
    """
    key = (httpx.URL(base).scheme, ca_file)
    context = _shared.get(key)
    if context is None:
        context = _shared[key] = tls_context(base, ca_file)
    return context


def host_header(host: str) -> str:
    """Return a Host header in one spelling; "" for that of the url.

    Raises:
        SettingsError: if it cannot be one.
    """
    lowered = host.strip().lower()
    if any(sign in lowered for sign in " /@\r\n\t") or not lowered.isascii():
        raise SettingsError(f"An engine's host is {host!r}; it must be like erp.example.com.")
    return lowered
