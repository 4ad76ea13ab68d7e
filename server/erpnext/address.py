"""Where a site answers: its url and Host header in one spelling, and how it is secured.

Two spellings of one site must not look like two sites: the gate and the slot are per site. A
url holds no name and password; they would be shown wherever the url is.
"""

from __future__ import annotations

import ssl

import httpx

from server.errors import SettingsError

_DEFAULT_PORTS = {"http": 80, "https": 443}


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


def tls_context(base: str) -> ssl.SSLContext:
    """Return what connections to a base url are secured with."""
    if base.startswith("https:"):
        return httpx.create_ssl_context()  # heeds SSL_CERT_FILE and SSL_CERT_DIR
    # Never used, as no redirect is followed; one with authorities takes 50 ms to load. It
    # knows none, so it would refuse.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def host_header(host: str) -> str:
    """Return a Host header in one spelling; "" for that of the url.

    Raises:
        SettingsError: if it cannot be one.
    """
    lowered = host.strip().lower()
    if any(sign in lowered for sign in " /@\r\n\t") or not lowered.isascii():
        raise SettingsError(f"An engine's host is {host!r}; it must be like erp.example.com.")
    return lowered
