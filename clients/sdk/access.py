"""Signing in, and who one is to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.sdk.calling import Calling
from provisioner.v1 import access_pb2

if TYPE_CHECKING:
    from provisioner.v1.access_pb2_grpc import AccessServiceStub


class AccessCalls(Calling):
    """The part of the client that lets one in."""

    _access: AccessServiceStub

    async def sign_in(self, email: str, password: str) -> access_pb2.SignInResponse:
        """Return a token for an address and a password; give it to a new client."""
        request = access_pb2.SignInRequest(email=email, password=password)
        return await self._call(self._access.SignIn, request)

    async def get_caller(self) -> access_pb2.Caller:
        """Return who the service takes this client for."""
        return (await self._call(self._access.GetCaller, access_pb2.GetCallerRequest())).caller
