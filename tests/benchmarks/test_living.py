"""What a tenant asks of its site is counted by requests, not by their kinds."""

from __future__ import annotations

from benchmarks.living import methods_sent


def _row(method: str, doctype: str, count: int) -> dict[str, object]:
    return {"method": method, "doctype": doctype, "status": 200, "count": count}


def test_every_request_since_the_first_look_counts_and_none_before_it() -> None:
    before = [_row("GET", "User", 1)]
    after = [_row("GET", "Account", 7), _row("GET", "User", 3), _row("POST", "Warehouse", 2)]

    sent = methods_sent(before, after)

    assert (sent.count("GET"), sent.count("POST"), len(sent)) == (9, 2, 11)
