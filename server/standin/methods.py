"""The calls of ERPNext's v1 REST API under /api/method.

Facts: 01-*, 03-charts-for-country, 08-mode-of-payment-add-row, 09-pos-opening-dates,
10-pos-opening-cancel, 01-unknown-method, 11-url-too-long (`frappe.client.get_list`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from server.standin import documents, errors, permissions
from server.standin.api import Reply, known
from server.standin.company import charts_for
from server.standin.countries import countries
from server.standin.site import TIME_ZONE, shown
from server.standin.traffic import Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.standin.api import Api, Call
    from server.standin.schema import DocType, Document

VERSIONS = {
    "frappe": {
        "title": "Frappe Framework",
        "description": "Full stack web framework with Python, Javascript, MariaDB, Redis, Node",
        "branch": "",
        "version": "15.71.0",
    },
    "erpnext": {
        "title": "ERPNext",
        "description": "ERP made simple",
        "branch": "",
        "version": "15.65.4",
    },
}
PINGS = frozenset({"ping", "frappe.ping"})
_POST_ONLY = frozenset({"frappe.client.insert", "frappe.client.cancel", "frappe.client.submit"})
_CHARTS = "erpnext.accounts.doctype.account.chart_of_accounts.chart_of_accounts"


async def answer(api: Api, call: Call) -> Reply:
    """Answer a call of /api/method.

    Raises:
        EngineError: the application refuses it, as it does unknown methods and guests.
    """
    path = call.target
    if path in PINGS:
        await api.spend(call)
        return Reply(body={"message": "pong"})
    if call.user == permissions.GUEST:
        raise errors.not_whitelisted(path)
    if path in _POST_ONLY:
        if call.method != "POST":
            raise errors.refused("Not permitted", "PermissionError", status=403)
        return Reply(body={"message": await _change(api, call)})
    if path not in _READS:
        raise _unknown(path)
    await api.spend(call)
    return Reply(body={"message": _READS[path](api, call)})


async def _change(api: Api, call: Call) -> Document:
    if call.target == "frappe.client.insert":
        return await _insert(api, call)
    if call.target == "frappe.client.submit":
        sent = _document(call)
        doctype, name = str(sent.get("doctype")), str(sent.get("name"))
        change: Document = {"docstatus": 1, "modified": sent.get("modified")}
    else:
        doctype, name = str(call.arguments.get("doctype")), str(call.arguments.get("name"))
        change = {"docstatus": 2}
    permissions.check(call.user, call.roles, doctype, "PUT")
    kind = known(doctype)
    stored = await api.write(call, None, lambda: documents.update(api.site, kind, name, change))
    # The whole document, empty fields too (10-pos-opening-cancel).
    return dict(stored)


async def _insert(api: Api, call: Call) -> Document:
    sent = _document(call)
    doctype = str(sent.get("doctype"))
    permissions.check(call.user, call.roles, doctype, "POST")
    kind = known(doctype)
    if not kind.row:
        reply = await api.insert(call, doctype, sent)
        return dict(reply.body["data"])
    return await _insert_row(api, call, kind, sent)


async def _insert_row(api: Api, call: Call, kind: DocType, row: Document) -> Document:
    parenttype = str(row.get("parenttype"))
    parent = api.site.require(parenttype, str(row.get("parent")))
    ticket = Ticket(doctype=parenttype, name=parent["name"])
    sent = {**row, "doctype": kind.name, "name": None}
    return shown(await api.write(call, ticket, lambda: documents.add_row(api.site, sent)))


def _document(call: Call) -> Document:
    sent = call.arguments.get("doc")
    if isinstance(sent, str):
        sent = json.loads(sent)
    if not isinstance(sent, dict):
        raise errors.crashed("TypeError", "TypeError: insert() missing 1 required argument: 'doc'")
    return sent


def _user(_api: Api, call: Call) -> str:
    return call.user


def _versions(_api: Api, _call: Call) -> Document:
    return VERSIONS


def _time_zone(_api: Api, _call: Call) -> Document:
    return {"time_zone": TIME_ZONE}


def _countries(_api: Api, _call: Call) -> Document:
    known_countries: Document = {}
    for country in countries():
        about: Document = {"code": country.code, "number_format": "#,###.##"}
        if country.currency is not None:
            about["currency"] = country.currency
        if country.time_zone is not None:
            about["timezones"] = [country.time_zone]
        known_countries[country.name] = about
    zones = sorted(c.time_zone for c in countries() if c.time_zone is not None)
    return {"country_info": known_countries, "all_timezones": zones}


def _charts(_api: Api, call: Call) -> list[str]:
    country = call.arguments.get("country")
    if country is None:
        raise errors.crashed(
            "TypeError",
            "TypeError: get_charts_for_country() missing 1 required positional argument: 'country'",
        )
    return charts_for(country)


def _count(api: Api, call: Call) -> int:
    arguments = {**call.arguments, "limit_page_length": 0, "fields": ["name"]}
    return len(api.listed(_readable(call), arguments))


def _list(api: Api, call: Call) -> list[Document]:
    return api.listed(_readable(call), call.arguments)


def _get(api: Api, call: Call) -> Document:
    doctype = _readable(call)
    return shown(api.site.require(known(doctype).name, str(call.arguments.get("name"))))


def _readable(call: Call) -> str:
    doctype = str(call.arguments.get("doctype"))
    permissions.check(call.user, call.roles, doctype, "GET")
    return doctype


# Any: each method answers JSON of its own shape.
_READS: dict[str, Callable[[Api, Call], Any]] = {
    "frappe.auth.get_logged_user": _user,
    "frappe.utils.change_log.get_versions": _versions,
    "frappe.client.get_time_zone": _time_zone,
    "frappe.client.get_count": _count,
    "frappe.client.get_list": _list,
    "frappe.client.get": _get,
    "frappe.geo.country_info.get_country_timezone_info": _countries,
    f"{_CHARTS}.get_charts_for_country": _charts,
}


def _unknown(path: str) -> errors.EngineError:
    module, _, function = path.rpartition(".")
    if path.startswith(("frappe.utils.", "frappe.client.")):
        return errors.not_whitelisted(path)
    if module in {"frappe", "erpnext"}:
        why = f"module '{module}' has no attribute '{function}'"
    else:
        why = f"App {path.partition('.')[0]} is not installed"
    refusal = errors.refused(f"Failed to get method for command {path} with {why}")
    return errors.after(why, refusal) if why.startswith("App ") else refusal
