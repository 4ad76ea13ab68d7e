"""Which versions of ERPNext are accepted: 14 and later; the recordings show 15."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.errors import EngineError
from server.model.states import ErrorClass

if TYPE_CHECKING:
    from server.model.step_context import Answer

RECORDED_MAJOR = 15
OLDEST_MAJOR = 14
# The oldest version that was seen to keep `name`.
_KEEPS_NAME_FROM = (15, 71)


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The versions of a site.

    Attributes:
        erpnext: ERPNext's version, such as "15.65.4".
        frappe: Frappe's version; "" if the site does not tell.
        note: What to tell people if it is not the recorded version; "" if it is.
    """

    erpnext: str
    frappe: str
    note: str


def read_versions(answer: Answer) -> Versions:
    """Read the answer of get_versions.

    Args:
        answer: The answer of `frappe.utils.change_log.get_versions` (recording 01-versions).

    Raises:
        EngineError: ENGINE_VERSION_UNSUPPORTED if ERPNext is missing or too old.
    """
    apps = answer.data if isinstance(answer.data, dict) else {}
    erpnext, frappe = _version(apps, "erpnext"), _version(apps, "frappe")
    major = _major(erpnext)
    if major is None or major < OLDEST_MAJOR:
        has = f"ERPNext {erpnext}" if erpnext else "no ERPNext installed"
        raise EngineError(
            ErrorClass.ENGINE_MISCONFIGURED,
            Code.ENGINE_VERSION_UNSUPPORTED,
            f"The site has {has}; version {RECORDED_MAJOR} is needed.",
            ask_prober=True,
        )
    note = ""
    if major != RECORDED_MAJOR:
        note = f"ERPNext {erpnext}: only version {RECORDED_MAJOR} was measured, others are tried."
    return Versions(erpnext=erpnext, frappe=frappe, note=note)


def _version(apps: dict[str, object], app: str) -> str:
    entry = apps.get(app)
    return str(entry.get("version", "")) if isinstance(entry, dict) else ""


def _major(version: str) -> int | None:
    first = version.lstrip("v").partition(".")[0]
    return int(first) if first.isdecimal() else None


def keeps_name(frappe_version: str) -> bool:
    """Tell whether a site honours `name` in the body of a POST.

    15.71 does (recording 06-customer-create-with-name); older 15.x ignore it, as their code shows.

    Args:
        frappe_version: Frappe's version, not ERPNext's. One without numbers counts as new.
    """
    numbers = tuple(int(number) for number in re.findall(r"\d+", frappe_version)[:2])
    return not numbers or numbers >= _KEEPS_NAME_FROM
