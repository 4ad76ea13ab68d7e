"""Checks everything a site must have in one go: what is right, what is wrong, and how to fix it.

This is for `provisioner engines check`. Unlike the prober, which stops at the first thing that
is wrong, it goes on as far as it can, so that an operator can fix everything in one visit.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from server.erpnext.codes import MEANINGS, Code
from server.erpnext.health import (
    PING_REQUEST,
    ROLES_REQUEST,
    USER_REQUEST,
    VERSIONS_REQUEST,
)
from server.erpnext.masters import (
    ROOT_CUSTOMER_GROUP,
    ROOT_ITEM_GROUP,
    ROOT_TERRITORY,
    charts_in,
    charts_request,
    find_root,
)
from server.erpnext.refused import read_user, roles_in
from server.erpnext.requests import rows
from server.erpnext.roles import NEEDED_ROLES
from server.erpnext.site import TIME_ZONE_REQUEST, load_zone
from server.erpnext.versions import RECORDED_MAJOR, read_versions
from server.errors import EngineError
from server.model.ownership import CLOCK_TOLERANCE

if TYPE_CHECKING:
    from datetime import timedelta

    from server.erpnext.health import Send
    from server.erpnext.requests import JsonObject

# Errors after which there is no point in looking further.
_UNREACHABLE = frozenset(
    {Code.ENGINE_UNREACHABLE, Code.ENGINE_DOWN, Code.ENGINE_MAINTENANCE, Code.ENGINE_NO_ANSWER}
)
_ROOTS = (
    ("Item Group", ROOT_ITEM_GROUP),
    ("Customer Group", ROOT_CUSTOMER_GROUP),
    ("Territory", ROOT_TERRITORY),
)
_READS_SETTINGS = "may read Stock Settings"
_BEHIND_THE_TOKEN = (
    "version",
    "language of the user",
    *(f"role {' or '.join(group)}" for group in NEEDED_ROLES),
    _READS_SETTINGS,
    "time zone",
    "set up",
)
# Every country may use this chart, whether it is offered or not.
_ALWAYS_THERE = "Standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the table.

    Attributes:
        what: What was checked, such as "token valid".
        ok: Whether it is right; None if it could not be checked.
        found: What was found, in a few words.
        remedy: How to fix it; "" if there is nothing to fix.
        code: The stable code of what is wrong, or "".
    """

    what: str
    ok: bool | None
    found: str = ""
    remedy: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The whole table.

    Attributes:
        findings: One line for each check, in the order in which they are shown.
        reachable: Whether anything answered at all.
    """

    findings: tuple[Finding, ...]
    reachable: bool

    @property
    def ready(self) -> bool:
        """Whether a tenant could be made now."""
        return all(finding.ok for finding in self.findings)


def engine_table(checked: Checked) -> str:
    """Return what was found as a table for people, with a remedy for all that is wrong.

    Returns:
        Lines without one at the end: marked "ok", "NO" (wrong) or "?" (could not be checked), and a
        last one that says whether a tenant could be made now.
    """
    width = max(len(finding.what) for finding in checked.findings)
    marks = {True: "ok", False: "NO", None: "?"}
    lines = []
    for finding in checked.findings:
        lines.append(f"{marks[finding.ok]:<4}{finding.what:<{width}}  {finding.found}")
        if finding.remedy:
            code = f" ({finding.code})" if finding.code else ""
            lines.append(f"{'':<4}{'':<{width}}  Fix: {finding.remedy}{code}")
    lines.append("Ready: a tenant could be made now." if checked.ready else _not_ready(checked))
    return "\n".join(lines)


def engine_line(message: str, checked: Checked) -> str:
    """Add to an error's message how to fix it, and what else was found, as one line.

    What the message says already is not said again: its remedy must not be hard to find.

    Args:
        message: What was met first, as the error puts it.
        checked: The table of the same site, looked up after that.
    """
    parts, wrong = [f"{message.rstrip('.')}."], []
    for each in checked.findings:
        if each.ok is False and each.found.rstrip(".") == message.rstrip("."):
            parts += [each.remedy] if each.remedy and each.remedy not in parts else []
        elif each.ok is False:
            wrong.append(f"{each.what}: {each.found.rstrip('.')}. {each.remedy}".strip())
    right = [each.what for each in checked.findings if each.ok]
    unknown = [each.what for each in checked.findings if each.ok is None]
    found = [f"wrong: {' | '.join(wrong)}"] if wrong else []
    found += [f"right: {', '.join(right)}"] if right else []
    found += [f"not looked at: {', '.join(unknown)}"] if unknown else []
    return " ".join((*parts, f"Engine check: {'; '.join(found)}."))


def _not_ready(checked: Checked) -> str:
    wrong = sum(finding.ok is False for finding in checked.findings)
    unknown = sum(finding.ok is None for finding in checked.findings)
    told = f"Not ready: {wrong} to fix"
    return f"{told}, {unknown} not known." if unknown else f"{told}."


def engine_facts(engine_id: str, site: str, checked: Checked) -> dict[str, object]:
    """Return what was found as JSON values, for scripts.

    Args:
        engine_id: The engine's name in the engines file.
        site: Its url and host, as `ErpNextEngine.site` puts them.
        checked: What was found there.
    """
    return {
        "engine": engine_id,
        "site": site,
        "ready": checked.ready,
        "reachable": checked.reachable,
        "findings": [asdict(finding) for finding in checked.findings],
    }


async def check_site(send: Send, country_code: str) -> Checked:
    """Check everything a site must have; writes nothing.

    Args:
        send: Sends one request and classifies the answer.
        country_code: The country whose charts of accounts are looked up; "" for none.

    Returns:
        A finding for each check. What the engine refuses is a finding, too, and never raised; what
        can't be looked at because of an earlier finding has an `ok` of None.
    """
    charts = (f"charts for {country_code}",) if country_code else ()
    behind = (*_BEHIND_THE_TOKEN, *charts)
    findings = [await _reachable(send)]
    if findings[0].code in _UNREACHABLE:
        findings += _not_looked_at("nobody answers", "right site", "token valid", *behind)
        return Checked(findings=tuple(findings), reachable=False)
    findings.append(await _right_site(send))
    token = await _token(send)
    findings.append(token)
    if not token.ok:
        findings += _not_looked_at("it needs a valid token", *behind)
        return Checked(findings=tuple(findings), reachable=True)
    findings.append(await _version(send))
    findings += await _roles(send)
    findings.append(await _time_zone(send))
    findings.append(await _set_up(send))
    if country_code:
        findings.append(await _charts(send, country_code))
    return Checked(findings=tuple(findings), reachable=True)


def clock_finding(ahead: timedelta | None) -> Finding:
    """Judge the site's clock, because we recognise our documents also by when they were made.

    Args:
        ahead: How far it is ahead of ours, less than zero if it is behind; None if the site's last
            answer had no time.

    Returns:
        The finding. It is right within `CLOCK_TOLERANCE`, and also if the site does not tell.
    """
    what = "clock"
    if ahead is None:
        return Finding(what=what, ok=True, found="the site does not tell")
    seconds = abs(ahead.total_seconds())
    # A Date header has whole seconds, and is as old as the answer was under way.
    if seconds <= CLOCK_TOLERANCE.total_seconds():
        return Finding(what=what, ok=True, found="as ours")
    where = "ahead of" if ahead.total_seconds() > 0 else "behind"
    return Finding(
        what=what,
        ok=False,
        found=f"{seconds:.0f} s {where} ours",
        remedy=MEANINGS[Code.ENGINE_CLOCK_OFF].remedy,
        code=Code.ENGINE_CLOCK_OFF,
    )


def _not_looked_at(why: str, *what: str) -> list[Finding]:
    return [Finding(what=each, ok=None, found=f"not looked at: {why}") for each in what]


async def _reachable(send: Send) -> Finding:
    try:
        await send(PING_REQUEST)
    except EngineError as error:
        if error.code in _UNREACHABLE:
            return _wrong("reachable", error)
    return Finding(what="reachable", ok=True, found="answers")


async def _right_site(send: Send) -> Finding:
    what = "right site"
    try:
        answer = await send(PING_REQUEST)
    except EngineError as error:
        return _wrong(what, error)
    if answer.data != "pong":
        return Finding(
            what=what,
            ok=False,
            found="what answers is no ERPNext",
            remedy=MEANINGS[Code.ENGINE_WRONG_HOST].remedy,
            code=Code.ENGINE_WRONG_HOST,
        )
    return Finding(what=what, ok=True, found="an ERPNext site")


async def _token(send: Send) -> Finding:
    what = "token valid"
    try:
        answer = await send(USER_REQUEST)
    except EngineError as error:
        return _wrong(what, error)
    if not answer.data or answer.data == "Guest":
        return Finding(
            what=what,
            ok=False,
            found="the key does not reach the site",
            remedy="See whether a proxy drops the Authorization header.",
            code=Code.ENGINE_CREDENTIALS_REFUSED,
        )
    return Finding(what=what, ok=True, found=f"user {answer.data}")


async def _version(send: Send) -> Finding:
    what = "version"
    try:
        versions = read_versions(await send(VERSIONS_REQUEST))
    except EngineError as error:
        return _wrong(what, error)
    note = f"; only {RECORDED_MAJOR} was measured" if versions.note else ""
    return Finding(
        what=what, ok=True, found=f"ERPNext {versions.erpnext}, Frappe {versions.frappe}{note}"
    )


async def _roles(send: Send) -> list[Finding]:
    document: JsonObject | None = None
    found, code = "the user's roles can't be read", Code.ROLE_MISSING.value
    remedy = "Give the API user the role System Manager, then check again."
    try:
        document = await read_user(send)
    except EngineError as error:
        if error.code != Code.ROLE_MISSING:
            # It says nothing of roles: a connection was lost, or the site goes down just now.
            told = _wrong("", error)
            found, remedy, code = f"{found}: {told.found}", told.remedy, told.code
    roles = roles_in(document)
    findings = [_language(document)]
    for group in NEEDED_ROLES:
        name = " or ".join(group)
        if roles is None:
            findings.append(
                Finding(
                    what=f"role {name}",
                    ok=None,
                    found=found,
                    remedy=remedy,
                    code=code,
                )
            )
            continue
        has = sorted(set(group) & roles)
        findings.append(
            Finding(
                what=f"role {name}",
                ok=bool(has),
                found="given" if has else "missing",
                remedy="" if has else f"Give the API user the role {group[0]} in ERPNext.",
                code="" if has else Code.ROLE_MISSING,
            )
        )
    # A role's permissions may have been changed by hand, so one read proves that they work.
    try:
        await send(ROLES_REQUEST)
    except EngineError as error:
        findings.append(_wrong(_READS_SETTINGS, error))
    else:
        findings.append(Finding(what=_READS_SETTINGS, ok=True, found="yes"))
    return findings


def _language(document: JsonObject | None) -> Finding:
    """Check the user's language: some refusals are told apart by words, which are in it."""
    what = "language of the user"
    language = "" if document is None else str(document.get("language") or "")
    if not language or language.partition("-")[0] == "en":
        return Finding(what=what, ok=True, found=language or "the site's")
    return Finding(
        what=what,
        ok=False,
        found=language,
        remedy="Set the API user's language to English (en): refusals are told apart by words.",
        code=Code.ENGINE_REFUSED,
    )


async def _time_zone(send: Send) -> Finding:
    what = "time zone"
    try:
        answer = await send(TIME_ZONE_REQUEST)
        name = answer.data.get("time_zone", "") if isinstance(answer.data, dict) else ""
        return Finding(what=what, ok=True, found=load_zone(str(name)).key)
    except EngineError as error:
        return _wrong(what, error)


async def _set_up(send: Send) -> Finding:
    what = "set up"
    try:
        lost = [
            f"{doctype} {name}"
            for doctype, name in _ROOTS
            if await find_root(send, doctype, name) is None
        ]
    except EngineError as error:
        return _wrong(what, error)
    if lost:
        return Finding(
            what=what,
            ok=False,
            found=f"no {', no '.join(lost)}",
            remedy=MEANINGS[Code.SITE_NOT_SET_UP].remedy,
            code=Code.SITE_NOT_SET_UP,
        )
    return Finding(what=what, ok=True, found="the setup wizard was finished")


async def _charts(send: Send, country_code: str) -> Finding:
    what = f"charts for {country_code}"
    country = rows("Country", ("code", "=", country_code.lower()), fields=("name",), limit=1)
    try:
        answer = await send(country)
        names = answer.data if isinstance(answer.data, list) else []
        if not names:
            return Finding(
                what=what,
                ok=False,
                found=f"no Country of the code {country_code}",
                remedy=MEANINGS[Code.COUNTRY_UNKNOWN].remedy,
                code=Code.COUNTRY_UNKNOWN,
            )
        offered = charts_in(await send(charts_request(str(names[0]["name"]))))
    except EngineError as error:
        return _wrong(what, error)
    if _ALWAYS_THERE not in offered:
        offered.append(f"{_ALWAYS_THERE} (always there)")
    return Finding(what=what, ok=True, found=", ".join(offered))


def _wrong(what: str, error: EngineError) -> Finding:
    meaning = MEANINGS.get(Code(error.code)) if error.code in set(Code) else None
    return Finding(
        what=what,
        # Nothing is wrong with a site that asks to be left alone for a while.
        ok=None if error.code == Code.ENGINE_RATE_LIMITED else False,
        found=error.message,
        remedy=meaning.remedy if meaning else "See docs/errors.md.",
        code=error.code,
    )
