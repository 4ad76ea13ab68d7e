"""docs/erpnext.md says what the adapter really needs, makes and leaves alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from server.erpnext.client import ErpNextEngine
from server.erpnext.roles import NEEDED_ROLES, role_for
from server.erpnext.steps.step_5_settings import SITE_SETTINGS
from server.erpnext.versions import OLDEST_MAJOR, RECORDED_MAJOR
from server.standin.app import StandIn
from tests.docs.pages import ROOT, table, tables
from tests.server.erpnext.conftest import credentials
from tests.server.erpnext.context import NOON, MemoryContext, drive, kenyan
from tests.server.erpnext.sitework import TILL_USER, add_till_user
from tests.server.erpnext.test_runs import (
    FRESH_REQUESTS,
    LATER_TENANT_REQUESTS,
    SECOND_RUN_REQUESTS,
)

if TYPE_CHECKING:
    from server.model.step_context import Intent

_PAGE = ROOT / "docs" / "erpnext.md"
_TEXT = _PAGE.read_text(encoding="utf-8")


async def _made() -> list[tuple[str, Intent]]:
    """Make a tenant with everything, and tell which step made what."""
    async with StandIn(now=lambda: NOON) as site:
        # A site whose set-up left these out, so that the service makes them.
        for doctype, name in (("Warehouse Type", "Transit"), ("Customer Group", "Individual")):
            site.site.remove(site.site.require(doctype, name))
        engine = ErpNextEngine(url=site.url, credentials=credentials())
        await add_till_user(engine)
        context = MemoryContext(
            engine=engine, spec=kenyan(till_user=TILL_USER, include_demo_data=True)
        )
        made: list[tuple[str, Intent]] = []
        for key in (row["step"].strip("`") for row in table(_PAGE, "step")):
            before = len(context.intents)
            if not context.outputs("step_0_engine_check"):
                await drive(context, "step_0_engine_check")
            await drive(context, key)
            made += [(key, intent) for intent in context.intents[before:]]
        await engine.close()
        return made


async def test_every_document_that_is_made_is_listed_with_its_step_and_name() -> None:
    rows = table(_PAGE, "step")
    listed = {(row["step"].strip("`"), row["doctype"]): row for row in rows}
    made = await _made()
    for key, intent in made:
        row = listed[key, intent.doctype]
        assert row["belongs to"] == ("the site" if intent.shared else "the tenant")
        names = set(re.findall(r"`([^`]+)`", row["name"]))
        if not intent.shared and intent.doctype not in {"Item", "Item Price", "Fiscal Year"}:
            assert any(name in intent.name for name in names), (intent, names)
    there = {(key, intent.doctype) for key, intent in made}
    assert listed.keys() - there == {("step_1_platform_setup", "UOM")}, "a site has Nos"


def test_the_roles_are_those_that_are_checked_and_open_what_is_said() -> None:
    rows = table(_PAGE, "role")
    assert [row["role"] for row in rows] == [group[0] for group in NEEDED_ROLES]
    for row in rows:
        for doctype in row["opens"].split(", "):
            assert role_for(doctype) == row["role"], doctype


def test_the_settings_of_the_site_that_are_changed_are_named() -> None:
    said = {row["what"]: row["what is done with it"] for row in table(_PAGE, "what")}
    for doctype, field, wanted in SITE_SETTINGS:
        assert f"`{wanted}`" in said[f"{doctype} `{field}`"]


def test_versions_and_requests_are_those_of_the_code() -> None:
    versions = [row["ERPNext"] for row in table(_PAGE, "ERPNext")]
    assert versions[0] == str(RECORDED_MAJOR)
    assert versions[2] == f"{OLDEST_MAJOR - 1} and older"
    for number in (FRESH_REQUESTS, LATER_TENANT_REQUESTS, SECOND_RUN_REQUESTS):
        assert re.search(rf"\b{number}\b", _TEXT), number
    assert len(list(tables(_PAGE))) == 4
