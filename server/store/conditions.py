"""Conditions of partial indexes, as the tables have them.

SQLite uses a partial index only where the query repeats its condition as literal text; a
bound one scans the table.
"""

from __future__ import annotations

OPEN = "state IN ('QUEUED','RUNNING','WAITING')"
UNSETTLED = "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
