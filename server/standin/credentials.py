"""Finds out who is calling, by the Authorization header.

Facts: 01-logged-user-*. Any key and secret are accepted until a test says which are right.
"""

from __future__ import annotations

import base64
import binascii

from server.standin import errors
from server.standin.permissions import GUEST
from server.standin.site import API_USER


def user(authorization: str | None, right: str | None) -> str:
    """Return the calling user, or refuse bad credentials.

    Args:
        authorization: The header; None if it was not sent, which makes a guest.
        right: The only "key:secret" to accept; None for any.

    Raises:
        EngineError: 401 for bad credentials, 400 for such that can't be decoded.
    """
    if not authorization:
        return GUEST
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() == "basic":
        token = _decoded(token)
    if scheme.lower() not in {"basic", "token"} or not all(token.partition(":")):
        raise errors.plain(401, "AuthenticationError")
    if right is not None and token != right:
        raise errors.plain(401, "AuthenticationError")
    return API_USER


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        text = "Failed to decode token, please provide a valid base64-encoded token."
        raise errors.refused(text, "InvalidAuthorizationToken", status=400) from error
