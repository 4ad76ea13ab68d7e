"""Tokens for people: JWT, HS256, with the claims that the old API's clients know.

An identity token says who the caller is; a tenant token says so for one tenant only. The (signed)
header of a token names its user's epoch: once that has grown (a new password, another role,
disabled), the token is no longer valid, even if it has not expired.

The JWT library is imported when the first token comes: with it comes a large library for elliptic
curves, 9 MB and a tenth of a start, which a server that nobody calls can do without.
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
# The old clients keep a token for days.
_IDENTITY_LIFE_COMPAT = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token, and when it expires; repr never shows the token."""

    text: SecretStr
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a token with a valid signature says; whether it still counts, the users' rows tell.

    Attributes:
        tenant_id: The one tenant that it is for; "" for all of the user's.
        expires_at: When it expires, in seconds since 1970.
    """

    user_id: str
    epoch: int
    tenant_id: str
    expires_at: float


class Tokens:
    """Signs and reads tokens."""

    def __init__(self, key: SecretStr, *, now: Callable[[], datetime], compat: bool) -> None:
        """Take what tokens are signed with.

        Args:
            key: The signing key, the same for all servers of a database.
            now: Returns the current time, in UTC.
            compat: Whether an identity token lasts seven days, as old clients expect, and not an
                hour.
        """
        self._key = key
        self._now = now
        self._life = _IDENTITY_LIFE_COMPAT if compat else _IDENTITY_LIFE

    def identity(self, user: User) -> IssuedToken:
        """Return a new token for all that the user sees, as signing in gives it."""
        scope = "identity:super_admin" if user.is_super_admin else "identity"
        return self._sign(user, self._life, {"email": user.email, "scope": scope})

    def tenant(
        self, user: User, *, tenant_id: str, tenant_code: str, roles: Sequence[str]
    ) -> IssuedToken:
        """Return a new token for one tenant, valid for an hour.

        Whether the user sees the tenant is checked each time the token is used.

        Args:
            user: Whose token it is.
            tenant_id: The tenant.
            tenant_code: What old clients show in place of the id; nothing here reads it.
            roles: The words of the old API that old clients go by; nothing here reads them.
        """
        return self._sign(
            user,
            _TENANT_LIFE,
            {"tenant_id": tenant_id, "tenant_code": tenant_code, "roles": list(roles)},
        )

    def read(self, text: str) -> Claims | None:
        """Return what a token says; None if it is not one of ours or has expired.

        Only the signature and the expiry are checked, and the algorithm must be HS256 (RFC 8725,
        section 3.1).
        """
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

    # Any: claims are strings, lists and numbers.
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
