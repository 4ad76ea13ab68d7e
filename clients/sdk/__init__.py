"""The typed client for the provisioning service.

Everything a caller needs can be imported from here. The client speaks the contract
`provisioner.v1`, knows nothing about the server behind it, and returns the contract's own
messages.

    async with ProvisionerClient("127.0.0.1:50051") as client:
        status = await client.start_provisioning(TenantSpec(company_name="Acme Ltd"))
        async with client.stream_logs(status.tenant_id, follow=True) as log:
            async for entry in log:
                print(entry.message)
"""

from __future__ import annotations

from clients.sdk.blocking import BlockingClient
from clients.sdk.channel import Tls
from clients.sdk.client import DEFAULT_ADDRESS, DEFAULT_TIMEOUT_SECONDS, ProvisionerClient
from clients.sdk.errors import (
    AlreadyExists,
    Conflict,
    CursorOutOfRange,
    CursorTooOld,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotAllowed,
    NotFound,
    PermissionDenied,
    ProvisionerError,
    RevisionChanged,
    Unauthenticated,
    Unreachable,
)
from clients.sdk.log_stream import LogStream
from clients.sdk.status_stream import StatusStream
from clients.sdk.unreachable import Cause

__all__ = [
    "DEFAULT_ADDRESS",
    "DEFAULT_TIMEOUT_SECONDS",
    "AlreadyExists",
    "BlockingClient",
    "Cause",
    "Conflict",
    "CursorOutOfRange",
    "CursorTooOld",
    "FailedPrecondition",
    "FieldViolation",
    "InvalidArgument",
    "LogStream",
    "NotAllowed",
    "NotFound",
    "PermissionDenied",
    "ProvisionerClient",
    "ProvisionerError",
    "RevisionChanged",
    "StatusStream",
    "Tls",
    "Unauthenticated",
    "Unreachable",
]
