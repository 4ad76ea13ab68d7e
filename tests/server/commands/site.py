"""A site that has a Company, or none, for orders that ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.commands import Commands
from server.model.step_context import Answer, AnswerKind
from server.noop import NoopEngine
from tests.server.commands.desk import ENGINES, NAME, Desk
from tests.server.store.scene import NOON

if TYPE_CHECKING:
    from server.model.step_context import Request


class Site(NoopEngine):
    """An engine with one Company."""

    company: dict[str, object] | None = None

    async def send(self, request: Request) -> Answer:
        if request.doctype == "Country":
            return Answer(kind=AnswerKind.OK, data=[{"name": "Kenya", "code": "ke"}])
        if self.company is None:
            return Answer(kind=AnswerKind.MISSING, status=404)
        return Answer(kind=AnswerKind.OK, data=self.company)


def a_company(**changes: object) -> dict[str, object]:
    return {
        "name": NAME,
        "abbr": "KST",
        "default_currency": "KES",
        "country": "Kenya",
        "owner": "administrator@example.com",
        "creation": "2026-05-04 10:00:00.000000",
        "is_group": 0,
    } | changes


def with_site(desk: Desk, company: dict[str, object] | None) -> Commands:
    site = Site()
    site.company = company
    return Commands(
        desk.scene.database,
        engines=ENGINES,
        default_engine="main",
        now=lambda: NOON,
        adapters={"main": site, "other": site},
    )
