"""The orders that can be given, a module a family.

`asked` checks who asks what, `desk` has what all orders share, `starting` and `driving_on` are
the orders; each judges the tenant as it is and writes one durable operation. `opening` makes a
run with all its step rows.
"""

from __future__ import annotations

from server.commands.asked import OrderTerms
from server.commands.driving_on import DrivingOn
from server.commands.opening import EngineEntry
from server.commands.starting import Starting

__all__ = ["Commands", "EngineEntry", "OrderTerms"]


class Commands(Starting, DrivingOn):
    """Carries out orders on one store."""
