"""A survey of a tenant in the words of a diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.diagnosis.picture import StepSeen
from server.probing import Stand, Whose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.model.identifiers import TenantId
    from server.probing import Prober, StepLook

_DONE = {Stand.OK: True, Stand.MISSING: False, Stand.FOREIGN: False, Stand.DIFFERENT: False}


class SurveyedTenant:
    """Asks a tenant's engine what it holds (`server.diagnosis.look.ProbeAll`)."""

    def __init__(self, prober: Prober) -> None:
        """Take who looks."""
        self._prober = prober

    async def __call__(self, tenant_id: TenantId) -> Sequence[StepSeen]:
        """Return what was seen of each step, in order.

        Raises:
            ProvisionerError: the engine can't be asked, or the tenant can't be looked at.
        """
        survey = await self._prober.tenant(tenant_id)
        return [_seen(look) for look in survey.steps]


def _seen(look: StepLook) -> StepSeen:
    wrong = look.missing or look.differences
    return StepSeen(
        key=look.key,
        done=_DONE.get(look.stand),
        missing=tuple(str(each.told) for each in wrong) or ((look.told,) if look.code else ()),
        holds=tuple(
            f"{each.doctype} {each.name!r}"
            for each in look.documents
            if each.whose is not Whose.SHARED
        ),
        skipped=look.message if look.stand is Stand.SKIPPED else "",
        error=look.message if look.stand is Stand.UNKNOWN else "",
        code=look.code,
        by_hand=look.stand in {Stand.FOREIGN, Stand.DIFFERENT},
    )
