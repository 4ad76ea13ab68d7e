"""What later steps must know about the site: our user, its time zone, how it spells the country."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from server.erpnext.codes import Code
from server.erpnext.health import ROLES_REQUEST, USER_REQUEST, VERSIONS_REQUEST
from server.erpnext.requests import call, rows
from server.erpnext.seeing import conflict, document_of, rows_of, text
from server.erpnext.versions import read_versions
from server.errors import EngineError
from server.model.states import ErrorClass
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from datetime import date

    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

STEP_KEY = "step_0_engine_check"
# The output that says when a step looked; in UTC, so that of two texts the later is the greater.
LOOKED_AT = "checked_at"
# A run can wait for hours between two steps, so what a step saw is trusted only this long.
_FRESH = timedelta(minutes=2)
TIME_ZONE_REQUEST = call("frappe.client.get_time_zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Facts of the site.

    Attributes:
        api_user: The user that our requests are made as.
        zone: The site's time zone, the same for all its tenants.
        country: The tenant's country as this engine spells it.
        frappe_version: Frappe's version, because older ones behave differently.
        checked_at: When step_0 looked; None if that is not recorded.
        charts: Charts of accounts that the country may choose from, if step_0 asked.
    """

    api_user: str
    zone: ZoneInfo
    country: str
    frappe_version: str
    checked_at: datetime | None = None
    charts: tuple[str, ...] = ()

    def is_fresh(self, now: datetime) -> bool:
        """Whether what step_0 saw is recent enough not to need a second look at `now` (in UTC)."""
        return is_fresh(self.checked_at, now)

    def local(self, now: datetime) -> datetime:
        """Return a time that has a zone in the site's time zone."""
        return now.astimezone(self.zone)

    def today(self, now: datetime) -> date:
        """Return the date at the site at a time that has a zone."""
        return self.local(now).date()


def is_fresh(looked_at: datetime | None, now: datetime) -> bool:
    """Whether what a step saw is recent enough, at `now`, not to need a second look.

    Args:
        looked_at: When it looked, in UTC; None if that is not known, which is never recent.
        now: The present time, in UTC.
    """
    return looked_at is not None and now - looked_at < _FRESH


async def site_of(context: StepContext) -> Site:
    """Return the site's facts from step_0's outputs; the engine is asked if there are none.

    Raises:
        EngineError: as `look_at_site`, if the engine is asked; ENGINE_TIME_ZONE_UNKNOWN.
    """
    outputs = context.outputs(STEP_KEY)
    if "time_zone" not in outputs or "country" not in outputs:
        outputs, _ = await look_at_site(context)
    return Site(
        api_user=outputs["api_user"],
        zone=load_zone(outputs["time_zone"]),
        country=outputs["country"],
        frappe_version=outputs["frappe_version"],
        checked_at=moment(outputs.get(LOOKED_AT, "")),
        charts=tuple(each for each in outputs.get("charts", "").split("\n") if each),
    )


async def look_at_site(context: StepContext) -> tuple[dict[str, str], tuple[str, ...]]:
    """Check that the engine can finish a tenant, and read the facts; writes nothing.

    Args:
        context: The step's context.

    Returns:
        The outputs and notes of step_0.

    Raises:
        EngineError: the engine is down, not ours or too old, does not accept our token, refuses us
            what every tenant needs (ROLE_MISSING), or lacks the country.
    """
    # No ping: what can tell our user's name is up, is the right site and accepts our token.
    user = await context.read(USER_REQUEST)
    if not user.data or user.data == "Guest":
        raise _no_user()
    versions = read_versions(await context.read(VERSIONS_REQUEST))
    stock_settings = await _check_roles(context)
    zone = await context.read(TIME_ZONE_REQUEST)
    name = (zone.data.get("time_zone") or "") if isinstance(zone.data, dict) else ""
    outputs = {
        "api_user": str(user.data),
        "erpnext_version": versions.erpnext,
        "frappe_version": versions.frappe,
        "time_zone": load_zone(str(name)).key,
        "country": await _country(context),
        LOOKED_AT: context.now().isoformat(),
        "item_naming_by": text(stock_settings, "item_naming_by"),
    }
    return outputs, (versions.note,) if versions.note else ()


def moment(iso: str) -> datetime | None:
    """Return the time in an output, as `datetime.isoformat` wrote it; None if that is ""."""
    return datetime.fromisoformat(iso) if iso else None


def _no_user() -> EngineError:
    return EngineError(
        ErrorClass.ENGINE_MISCONFIGURED,
        Code.ENGINE_CREDENTIALS_REFUSED,
        "The API key does not reach the site: does a proxy drop the Authorization header?",
        ask_prober=True,
    )


def load_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name.

    Raises:
        EngineError: ENGINE_TIME_ZONE_UNKNOWN, because this machine does not know it.
    """
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise EngineError(
            ErrorClass.PERMANENT,
            Code.ENGINE_TIME_ZONE_UNKNOWN,
            f"The site's time zone is {name!r}, which this machine does not know. Set one by its "
            "IANA name in System Settings, or install tzdata here.",
        ) from error


async def _check_roles(context: StepContext) -> JsonObject:
    try:
        return document_of(await context.read(ROLES_REQUEST))
    except EngineError as error:
        if error.code != Code.ROLE_MISSING:
            raise
        # It is missing for every tenant, not only for this one: the prober will say so, too.
        raise EngineError(
            ErrorClass.ENGINE_MISCONFIGURED,
            Code.ROLE_MISSING,
            error.message,
            status=error.status,
            exc_type=error.exc_type,
            engine_message=error.engine_message,
            ask_prober=True,
        ) from error


async def _country(context: StepContext) -> str:
    code = context.spec.country_code
    answer = await context.read(
        rows("Country", ("code", "=", code.lower()), fields=("name", "code"), limit=2)
    )
    found = rows_of(answer) if answer.kind is AnswerKind.OK else []
    if not found:
        raise conflict(
            Code.COUNTRY_UNKNOWN,
            f"The engine has no Country of the code {code!r}. Correct the tenant's country code, "
            "or add the Country in ERPNext.",
        )
    return text(found[0], "name")
