"""Conditions of partial indexes, as the tables have them.

SQLite uses a partial index only where the query repeats its condition as literal text; a
bound one scans the table.
"""

from __future__ import annotations

OPEN = "state IN ('QUEUED','RUNNING','WAITING')"
# The same where other tables are read as well.
OPEN_RUN = f"runs.{OPEN}"
# The site of an open run, in a form that no index has: SQLite would else read all runs that the
# site ever had, by the index of these, rather than the few that are open.
OPEN_SITE = "coalesce(runs.site, '')"
# The state of a tenant in such a form, for what begins at the few findings that are open: by an
# index of states all finished tenants would be read to find theirs.
STATE_OF_FOUND = "coalesce(tenants.state, '')"
# Likewise for those few that are held: by the index of the unsettled all would be read that are
# put off to a later look.
UNSETTLED_OF_HELD = (
    "coalesce(tenants.state, '') NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
)
UNSETTLED = "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
HELD = "hold_reason IS NOT NULL"
# A word of state that somebody wrote into the table: none of ours.
UNKNOWN_STATE = (
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)
