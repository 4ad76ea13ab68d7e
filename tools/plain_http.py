"""Calls over plain HTTP to what runs on this machine, for demos and tests."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

# Never used. One with authorities, which a client makes by itself, takes 15 to 50 ms of processor
# time to load: a tenth of the time of all tests.
_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def plain_client(**options: Any) -> httpx.AsyncClient:  # Any: what httpx takes
    """Return a client that could not call over https.

    Args:
        options: As `httpx.AsyncClient` takes them, but `verify`.
    """
    return httpx.AsyncClient(verify=_NO_TLS, **options)
