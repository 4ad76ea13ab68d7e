"""The orders that can be given.

`orders` checks rights and input and writes one durable operation each; `opening` makes a run
with all its step rows.
"""

from __future__ import annotations

from server.commands.opening import EngineEntry
from server.commands.orders import Commands, OrderTerms

__all__ = ["Commands", "EngineEntry", "OrderTerms"]
