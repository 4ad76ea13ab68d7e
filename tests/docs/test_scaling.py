"""docs/scaling.md names the limits of the code, with the values they have there."""

from __future__ import annotations

import re

from reconciler import sweep
from server import limits
from server.queries import board, log_pages
from server.settings import Settings
from server.store import listing, writer
from tests.docs.pages import ROOT, table, words
from tests.server.erpnext.test_runs import FRESH_REQUESTS, FRESH_WRITES

_PAGE = ROOT / "docs" / "scaling.md"


def test_every_limit_on_the_page_is_the_codes() -> None:
    rows = table(_PAGE, "limit", "in", "value")
    assert {(words(row["in"])[0], int(row["value"])) for row in rows} == {
        ("server/store/writer.py", writer.MAX_BATCH),
        ("server/settings/values.py", Settings.model_fields["max_runs"].default),
        ("server/queries/board.py", board.MOST_KEPT),
        ("server/queries/log_pages.py", log_pages.MOST_KEPT_ENTRIES),
        ("server/queries/log_pages.py", log_pages.PAGE_ENTRIES),
        ("server/limits.py", limits.STREAMS_PER_PEER),
        ("server/limits.py", limits.STREAMS_PER_CALLER),
        ("server/store/listing.py", listing.MOST_SORTED),
        ("server/store/listing.py", listing.MOST_WALKED),
        ("reconciler/sweep.py", sweep.DEFAULT_LIMIT),
    }


def test_the_readme_and_the_map_lead_to_the_page() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "ARCHITECTURE.md"):
        assert "docs/scaling.md" in page.read_text(encoding="utf-8")


def test_the_requests_of_a_tenant_are_those_that_are_counted() -> None:
    [row] = [row for row in table(_PAGE, "per tenant") if row["per tenant"].startswith("requests")]
    numbers = [int(number) for number in re.findall(r"\b\d+\b", row["cost"])[:3]]
    assert numbers == [FRESH_REQUESTS, FRESH_REQUESTS - FRESH_WRITES, FRESH_WRITES]
