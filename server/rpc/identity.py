"""Who calls: made from a call's context, before anything else is done for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio

from server.errors import NotSignedIn
from server.model.actor import LOCAL, Actor

# Any: the stubs type a context by the messages of its method, which nobody here needs.
Context = grpc.aio.ServicerContext[Any, Any]

Identify = Callable[[Context], Actor]
"""Tells who calls, or raises `NotSignedIn`."""


def local_caller(_context: Context) -> Actor:
    """Tell that the caller is on this machine: authentication is off."""
    return LOCAL


def nobody(_context: Context) -> Actor:
    """Refuse every caller: authentication is on, and there is no way to sign in yet."""
    raise NotSignedIn(
        "This server wants callers to sign in, and this version has no sign-in yet. Start it "
        "with PROVISIONER_AUTH=off on a loopback address such as 127.0.0.1."
    )
