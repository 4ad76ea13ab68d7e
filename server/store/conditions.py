"""Conditions of partial indexes, as the tables have them.

SQLite uses a partial index only where the query repeats its condition as literal text; a
bound one scans the table.
"""

from __future__ import annotations

OPEN = "state IN ('QUEUED','RUNNING','WAITING')"
UNSETTLED = "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
HELD = "hold_reason IS NOT NULL"
# A word of state that somebody wrote into the table: none of ours.
UNKNOWN_STATE = (
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)
