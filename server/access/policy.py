"""The one table of who may do what, for gRPC, REST and the command line: deny by default.

A method that is not listed here is refused to everybody. `admit` is called at the edge, before
anything is read; `demand` in commands and queries, once the tenant is known. A tenant that the
caller may not see gets, word for word, the answer for one that does not exist, and gets it before
the database is asked, so that neither the text nor the time tells the two apart.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from server.errors import NotAllowed, NotFound
from server.model.actor import Right

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.actor import Actor

# Anybody who can reach the server may call these.
PUBLIC = frozenset({"SignIn"})

# By rpc; REST routes and commands are listed under the rpc that they correspond to. Methods with a
# right over the fleet are decided at the edge; for the others the right in the tenant decides.
RULES: Mapping[str, Right | None] = MappingProxyType(
    {
        # For any signed-in caller, whatever else they may do.
        "GetCaller": None,
        "StartProvisioning": Right.CREATE,
        "Continue": Right.ORDER,
        "Retry": Right.ORDER,
        "SkipStep": Right.ORDER,
        "Cancel": Right.ORDER,
        "Deprovision": Right.REMOVE,
        "AdoptCompany": Right.OVERRULE,
        "Release": Right.OVERRULE,
        "ReleaseHold": Right.OVERRULE,
        "GetStatus": Right.READ,
        "StreamLogs": Right.READ,
        "WatchStatus": Right.READ,
        "ListTenants": Right.READ,
        # These ask the engine, which others share, on the caller's behalf; they change nothing.
        "Plan": Right.READ,
        "Verify": Right.READ,
        "Diagnose": Right.READ,
        # This concerns the whole site: many tenants' books may be made again after it.
        "AcceptSite": Right.ADMINISTER,
        "Sweep": Right.ORDER_FLEET,
        "ListSweeps": Right.READ_FLEET,
        "ListFindings": Right.READ_FLEET,
        "GetHealingReport": Right.READ_FLEET,
        "ListEngines": Right.READ_FLEET,
        # REST only.
        "CreateTenant": Right.CREATE,
        "ListMemberships": None,
        "CheckEngine": None,
        "ReadMetrics": Right.READ_FLEET,
        "InviteMember": Right.ADMINISTER,
        "ListMembers": Right.ADMINISTER,
        # On the command line only.
        "ManageUsers": Right.ADMINISTER,
        "ManageKeys": Right.ADMINISTER,
        "ReadAudit": Right.ADMINISTER,
    }
)

# Members may give this order, though they may not make tenants: a start of their own tenant is
# answered with its status.
_BY_MEMBERS_TOO = frozenset({"StartProvisioning"})

# The rights of methods that change nothing.
READING = frozenset({None, Right.READ, Right.READ_FLEET})

_DONE_BY = {
    Right.READ: "see tenants",
    Right.ORDER: "give orders",
    Right.REMOVE: "deprovision tenants",
    Right.OVERRULE: "adopt Companies or release tenants",
    Right.CREATE: "make tenants",
    Right.READ_FLEET: "see what concerns all tenants",
    Right.ORDER_FLEET: "order sweeps",
    Right.ADMINISTER: "manage users, members and keys, or accept a site",
}
_ASK = {
    Right.READ: "Ask an administrator for a role.",
    Right.READ_FLEET: "Ask somebody who sees all tenants.",
    Right.ADMINISTER: "Ask an administrator.",
}


def admit(actor: Actor, method: str) -> None:
    """Refuse a call of a method that has no rule, or that this caller may use on no tenant.

    Args:
        actor: Who calls.
        method: The rpc's bare name, such as "GetStatus".

    Raises:
        NotAllowed: the text is always the same for the same caller and method.
    """
    if method in PUBLIC:
        return
    if method not in RULES:
        raise NotAllowed(
            f"Nobody may call {method}: it has no rule. This is a fault of the server; report it.",
            code="METHOD_WITHOUT_RULE",
        )
    right = RULES[method]
    if right is None or actor.may(right):
        return
    if method in _BY_MEMBERS_TOO and actor.tenants is not None and actor.may(Right.ORDER):
        return
    raise _not_allowed(actor, right)


def demand(actor: Actor, right: Right, tenant_id: str) -> None:
    """Refuse what the caller may not do with a tenant; must be called before the tenant is read.

    Args:
        actor: Who calls.
        right: The right that the method needs.
        tenant_id: The tenant's id in its canonical form; there need be no such tenant.

    Raises:
        NotFound: the caller may not know whether there is such a tenant.
        NotAllowed: the caller sees the tenant, but may not do this.
    """
    if not actor.sees(tenant_id):
        raise unknown_tenant(tenant_id)
    if not actor.may(right, tenant_id):
        raise _not_allowed(actor, right)


def demand_any(actor: Actor, right: Right) -> None:
    """Refuse what the caller may do with no tenant; the answer must then be cut to `actor.scope`.

    Args:
        actor: Who calls.
        right: One over tenants, or over the fleet, which nobody has in some tenants only.

    Raises:
        NotAllowed: there is no tenant with which the caller may do this.
    """
    if not actor.may(right):
        raise _not_allowed(actor, right)


def unknown_tenant(tenant_id: str) -> NotFound:
    """Return the one answer for a tenant that does not exist, or that the caller may not see."""
    return NotFound(
        f"No tenant {tenant_id}. Start one with StartProvisioning "
        "(provisioner start NAME), or check the id."
    )


def _not_allowed(actor: Actor, right: Right) -> NotAllowed:
    who = f"{actor.name} has role {actor.role}"
    if actor.tenants is not None:
        who += " in some tenants only"
    ask = _ASK.get(right, "Ask an operator.")
    return NotAllowed(f"{who} and may not {_DONE_BY[right]}. {ask}")
