"""The prober's verdict on a site, from four reads: up, the right site, lets us in, lets us work.

A rate limit is not an outage: the site answers, and the request that met the limit waits for its
own Retry-After. What is wrong for one tenant only is not checked here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import PING, call, get
from server.erpnext.versions import read_versions
from server.errors import EngineError
from server.model.states import ErrorClass, GateState
from server.model.step_context import EngineHealth, Request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.step_context import Answer

    Send = Callable[[Request], Awaitable[Answer]]

CHECK_SECONDS = 10.0

PING_REQUEST = Request(method="GET", path=PING, timeout_seconds=CHECK_SECONDS)
USER_REQUEST = replace(call("frappe.auth.get_logged_user"), timeout_seconds=CHECK_SECONDS)
VERSIONS_REQUEST = replace(
    call("frappe.utils.change_log.get_versions"), timeout_seconds=CHECK_SECONDS
)
# A user who may not read these lacks roles that provisioning a tenant needs (recording
# 01-permissions-system-manager-only).
ROLES_REQUEST = replace(get("Stock Settings", "Stock Settings"), timeout_seconds=CHECK_SECONDS)

# The error of a write during maintenance that allows reads (recording
# 11-maintenance-mode-reads-allowed). The site counts as down for that many checks afterwards;
# then the next write tries it.
READ_ONLY = "InReadOnlyMode"
READ_ONLY_CHECKS = 4
READ_ONLY_HEALTH = EngineHealth(
    state=GateState.DOWN,
    code=Code.ENGINE_MAINTENANCE,
    message="The site answers reads and refuses writes: it is in maintenance. Work goes on by "
    "itself when that is over.",
)

_UP = EngineHealth(state=GateState.UP)
_MISCONFIGURED = frozenset(
    {
        Code.ENGINE_CREDENTIALS_REFUSED,
        Code.ENGINE_WRONG_HOST,
        Code.ENGINE_VERSION_UNSUPPORTED,
        Code.ROLE_MISSING,
    }
)


async def check_health(send: Send) -> EngineHealth:
    """Ask a site whether it takes work, with at most four reads.

    Args:
        send: Sends one request and classifies the answer.

    Returns:
        UP; or DOWN or MISCONFIGURED, with a code and what to do. An EngineError is judged, never
        raised; a rate limit counts as UP.
    """
    try:
        if (await send(PING_REQUEST)).data != "pong":
            return _misconfigured(
                Code.ENGINE_WRONG_HOST, "What answers at the url is not ERPNext: check the url."
            )
        user = await send(USER_REQUEST)
        if not user.data or user.data == "Guest":
            return _misconfigured(
                Code.ENGINE_CREDENTIALS_REFUSED,
                "The API key does not reach the site: does a proxy drop the Authorization header?",
            )
        read_versions(await send(VERSIONS_REQUEST))
        await send(ROLES_REQUEST)
    except EngineError as error:
        return _from_error(error)
    return _UP


def _from_error(error: EngineError) -> EngineHealth:
    if error.code == Code.ENGINE_RATE_LIMITED:
        return _UP
    if error.code in _MISCONFIGURED or error.error_class is ErrorClass.PERMANENT:
        return _misconfigured(error.code, error.message)
    code = Code.ENGINE_MAINTENANCE if error.code == Code.ENGINE_MAINTENANCE else Code.ENGINE_DOWN
    return EngineHealth(
        state=GateState.DOWN,
        code=code,
        message=error.message,
        retry_after_seconds=error.retry_after_seconds,
    )


def _misconfigured(code: str, message: str) -> EngineHealth:
    return EngineHealth(state=GateState.MISCONFIGURED, code=code, message=message)
