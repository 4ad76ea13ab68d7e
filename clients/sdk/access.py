"""Signing in, and asking who the service takes the caller for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.sdk.calling import Calling
from provisioner.v1 import access_pb2

if TYPE_CHECKING:
    from provisioner.v1.access_pb2_grpc import AccessServiceStub


class AccessCalls(Calling):
    """The part of the client that authenticates its caller."""

    _access: AccessServiceStub

    async def sign_in(self, email: str, password: str) -> access_pb2.SignInResponse:
        """Exchange an e-mail address and a password for an access token.

        Args:
            email: The user's e-mail address.
            password: The user's password.

        Returns:
            The token; pass it to a new client as `token`.

        Raises:
            Unauthenticated: the address is unknown or the password wrong (the answer is the same).
            ProvisionerError: RESOURCE_EXHAUSTED after too many wrong tries, with the
                `retry_delay_seconds`; even the right password is refused until then.
        """
        request = access_pb2.SignInRequest(email=email, password=password)
        return await self._call(self._access.SignIn, request)

    async def get_caller(self) -> access_pb2.Caller:
        """Return who the service takes this client for, and which tenants they may see.

        Raises:
            Unauthenticated: the client has no token, or one that is not valid (any more).
        """
        return (await self._call(self._access.GetCaller, access_pb2.GetCallerRequest())).caller
