"""Judges a status: is it at rest, is it well, what comes next."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from clients.cli.exit_codes import ExitCode
from provisioner.v1 import tenant_pb2

if TYPE_CHECKING:
    from provisioner.v1.tenant_pb2 import TenantStatus

_IN_MOTION = frozenset(
    {tenant_pb2.TENANT_STATE_IN_PROGRESS, tenant_pb2.TENANT_STATE_DEPROVISIONING}
)
_DONE_FOR_GOOD = frozenset(
    {tenant_pb2.TENANT_STATE_COMPLETED, tenant_pb2.TENANT_STATE_DEPROVISIONED}
)
_NOT_WELL = frozenset({tenant_pb2.TENANT_STATE_PARTIAL, tenant_pb2.TENANT_STATE_FAILED})


def at_rest(status: TenantStatus) -> bool:
    """Tell whether nothing will move the tenant without a new order."""
    if status.state == tenant_pb2.TENANT_STATE_DEPROVISIONING:
        # A removal that stopped half-way stays in this state, but its run has ended.
        return status.HasField("completed_at")
    # A held tenant can be in motion: a hold ends no run, and Retry opens one and keeps the hold.
    return status.state not in _IN_MOTION


def exit_code(status: TenantStatus) -> ExitCode:
    """Return the exit code for a status that was asked for once: 1 if a person has to look."""
    stalled = any(error.code == "STALLED" for error in status.errors)
    half_removed = status.state == tenant_pb2.TENANT_STATE_DEPROVISIONING and at_rest(status)
    if status.state in _NOT_WELL or status.HasField("hold") or stalled or half_removed:
        return ExitCode.TENANT_NOT_WELL
    return ExitCode.DONE


def exit_code_watched(status: TenantStatus) -> ExitCode:
    """Return the exit code for a watch that has ended: anything but done is 1."""
    if status.state in _DONE_FOR_GOOD and not status.HasField("hold"):
        return ExitCode.DONE
    return ExitCode.TENANT_NOT_WELL


def lacks_reason(status: TenantStatus) -> bool:
    """Tell whether the service broke its promise that what stopped short says why."""
    return not status.errors and (status.state in _NOT_WELL or status.HasField("hold"))


def next_command(status: TenantStatus) -> str:
    """Return the command an operator would give next, or "" if there is none."""
    if status.next_command:
        return status.next_command
    tenant = shlex.quote(status.tenant_id)
    if status.state in _IN_MOTION:
        # A tenant in motion accepts no Continue, held or not.
        return f"provisioner status {tenant} --watch"
    if status.state in _DONE_FOR_GOOD and not status.HasField("hold"):
        return ""
    return f"provisioner continue {tenant}"
