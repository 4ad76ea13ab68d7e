"""The orders that can be given, one module per family.

`asked` checks who orders what, and `desk` has what all orders share. The orders are `starting`,
`driving_on`, `skipping`, `cancelling`, `releasing`, `adopting` and `deprovisioning`: each judges
the tenant as it is now and writes one durable operation. `opening` makes a run with all its
step rows. `sites` is about a whole site, and `restoring` about a restored database.
"""

from __future__ import annotations

from server.commands.adopting import Adopting, Adoption
from server.commands.asked import OrderTerms
from server.commands.cancelling import Cancelling
from server.commands.deprovisioning import Deprovisioning
from server.commands.driving_on import DrivingOn
from server.commands.opening import EngineEntry
from server.commands.registering import BeginOptions, Registering, chart_of
from server.commands.releasing import Holder, Releasing
from server.commands.restoring import Restored, Restoring
from server.commands.sites import SiteInQuestion, SiteOrders
from server.commands.skipping import Skipping
from server.commands.starting import Starting
from server.model.left_behind import TenantDocument

__all__ = [
    "Adoption",
    "BeginOptions",
    "Commands",
    "EngineEntry",
    "Holder",
    "OrderTerms",
    "Restored",
    "SiteInQuestion",
    "TenantDocument",
    "chart_of",
]


class Commands(
    Registering,
    Starting,
    DrivingOn,
    Skipping,
    Cancelling,
    Releasing,
    Adopting,
    Deprovisioning,
    Restoring,
    SiteOrders,
):
    """Carries out orders on one store."""
