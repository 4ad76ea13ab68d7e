"""Answers the calls of AccessService."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import access_pb2
from provisioner.v1.access_pb2_grpc import AccessServiceServicer
from server.access.authenticator import actor_of
from server.model.actor import passer_by
from server.rpc import failures
from server.rpc.answering import Answering
from server.rpc.identity import origin_of
from server.rpc.messages import text_of, time_of

if TYPE_CHECKING:
    from server.access.wiring import Access
    from server.model.actor import Actor
    from server.rpc.identity import Context, Identify


class AccessService(Answering, AccessServiceServicer):
    """The service that signs callers in and tells them who they are."""

    def __init__(self, access: Access, *, identify: Identify) -> None:
        self._access = access
        self._identify = identify

    async def SignIn(
        self, request: access_pb2.SignInRequest, context: Context
    ) -> access_pb2.SignInResponse:
        """Return a token for an e-mail address and a password."""
        try:
            self._access.rate.take(passer_by(origin_of(context)))
            signed = await self._access.sign_in.sign_in(
                request.email, request.password, origin=origin_of(context)
            )
            tenants = await self._access.authenticator.tenants_of(signed.user)
            return access_pb2.SignInResponse(
                access_token=signed.token.text.get_secret_value(),
                expires_at=time_of(signed.token.expires_at),
                caller=_caller(actor_of(signed.user, tenants)),
            )
        except Exception as error:  # noqa: BLE001 - the edge: the caller gets an answer to any
            failure = failures.failure_of(error, method="SignIn")
        return await failures.abort(context, failure)

    async def GetCaller(
        self, request: access_pb2.GetCallerRequest, context: Context
    ) -> access_pb2.GetCallerResponse:
        """Return who calls."""

        async def tell(actor: Actor) -> access_pb2.GetCallerResponse:
            return access_pb2.GetCallerResponse(caller=_caller(actor))

        return await self._answer(context, "GetCaller", tell)


def _caller(actor: Actor) -> access_pb2.Caller:
    return access_pb2.Caller(
        name=text_of(actor.name),
        role=access_pb2.Role.Value(f"ROLE_{actor.role}"),
        all_tenants=actor.scope is None,
        tenant_ids=sorted(actor.scope or ()),
    )
