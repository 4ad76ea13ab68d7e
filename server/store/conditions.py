"""The conditions of partial indexes, exactly as in the tables.

SQLite uses a partial index only if the query repeats its condition as literal text; with bound
values it scans the table.
"""

from __future__ import annotations

OPEN = "state IN ('QUEUED','RUNNING','WAITING')"
# The same for queries that read other tables too.
OPEN_RUN = f"runs.{OPEN}"
# The site of an open run, in a form that no index has: otherwise SQLite would use the index of
# sites and read every run that the site ever had, rather than the few that are open.
OPEN_SITE = "coalesce(runs.site, '')"
# A tenant's state in such a form, for queries that start at the few open findings: with an index
# of states, all finished tenants would be read to find theirs.
STATE_OF_FOUND = "coalesce(tenants.state, '')"
# The same for the few tenants that are held: with the index of the unsettled, all those that are
# put off to a later look would be read.
UNSETTLED_OF_HELD = (
    "coalesce(tenants.state, '') NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
)
UNSETTLED = "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
HELD = "hold_reason IS NOT NULL"
# A state that somebody wrote into the table and that is not one of ours.
UNKNOWN_STATE = (
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)
