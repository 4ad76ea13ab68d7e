"""Tokens for people: JWT, HS256, with the claims that the old API's clients know.

An identity token says who; a tenant token says who, for one tenant. A token names in its
(signed) header the epoch of its user: when that has grown (a new password, another role,
disabled) the token counts no more, though its time is not over.

The library is imported when the first token comes: it takes a large one for elliptic curves
along, 9 MB and a tenth of a start, which a server that nobody calls can do without.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from server.limits import MAX_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from pydantic import SecretStr

    from server.model.access import User

_ALGORITHM = "HS256"
_TENANT_LIFE = timedelta(minutes=60)
_IDENTITY_LIFE = timedelta(minutes=60)
# The old clients keep one token for days.
_IDENTITY_LIFE_COMPAT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token, and when it ends; the token is never shown by repr."""

    text: SecretStr
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token with a good signature says; whether it counts is for the users' rows.

    Attributes:
        tenant_id: The one tenant it is good for; "" is all of the user's.
    """

    user_id: str
    epoch: int
    tenant_id: str
    expires_at: float


class Tokens:
    """Signs and reads tokens."""

    def __init__(self, key: SecretStr, *, now: Callable[[], datetime], compat: bool) -> None:
        self._key = key
        self._now = now
        self._life = _IDENTITY_LIFE_COMPAT if compat else _IDENTITY_LIFE

    def identity(self, user: User) -> IssuedToken:
        """Make the token that a sign-in gives."""
        scope = "identity:super_admin" if user.is_super_admin else "identity"
        return self._sign(user, self._life, {"email": user.email, "scope": scope})

    def tenant(
        self, user: User, *, tenant_id: str, tenant_code: str, roles: Sequence[str]
    ) -> IssuedToken:
        """Make a token for one tenant."""
        return self._sign(
            user,
            _TENANT_LIFE,
            {"tenant_id": tenant_id, "tenant_code": tenant_code, "roles": list(roles)},
        )

    def read(self, text: str) -> Claims | None:
        """Return what a token says, or None if it is none of ours or its time is over."""
        if len(text) > MAX_TOKEN:
            return None
        import jwt  # noqa: PLC0415 - see the module's docstring

        try:
            whole = jwt.decode_complete(
                text,
                self._key.get_secret_value(),
                algorithms=[_ALGORITHM],
                options={"require": ["exp", "sub"], "verify_exp": False},
            )
            header, claims = whole["header"], whole["payload"]
            expires_at = float(claims["exp"])
            tenant_id = claims.get("tenant_id", "")
            epoch = int(header["kid"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError, OverflowError):
            return None
        # By our own clock, which tests set.
        if expires_at <= self._now().timestamp() or not isinstance(tenant_id, str):
            return None
        return Claims(
            user_id=str(claims["sub"]), epoch=epoch, tenant_id=tenant_id, expires_at=expires_at
        )

    # Any: claims are texts, lists and numbers.
    def _sign(self, user: User, life: timedelta, own: dict[str, Any]) -> IssuedToken:
        import jwt  # noqa: PLC0415 - see the module's docstring

        expires_at = self._now() + life
        claims = {
            "sub": user.id,
            "user_code": user.code,
            "kyc_tier": user.kyc_tier,
            "is_super_admin": user.is_super_admin,
            "exp": int(expires_at.timestamp()),
            **own,
        }
        text = jwt.encode(
            claims,
            self._key.get_secret_value(),
            algorithm=_ALGORITHM,
            headers={"kid": str(user.token_epoch)},
        )
        return IssuedToken(text=type(self._key)(text), expires_at=expires_at)
