"""step_0: do not start on an engine that cannot finish.

Reads only, and never from a stored result: it is part of every run, and its look is
repeated before the Company is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.site import STEP_KEY, look_at_site
from server.model.step_context import Found

if TYPE_CHECKING:
    from server.model.step_context import StepContext


class EngineCheck:
    """The engine answers, takes our token, has the roles, and knows the country."""

    key = STEP_KEY

    async def probe(self, context: StepContext) -> Found:
        """Look; whatever is wrong is raised, so what comes back is always done."""
        outputs, notes = await look_at_site(context)
        return Found(done=True, outputs=outputs, notes=notes)

    async def apply(self, context: StepContext, found: Found) -> None:
        """Nothing: this step makes nothing."""
