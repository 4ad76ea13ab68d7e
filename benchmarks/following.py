"""StreamLogs beside a bare stream, and how long an entry takes to reach its followers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import resident_mb
from benchmarks.rows import Row, alone
from benchmarks.run import beside, folder
from benchmarks.serving import (
    LOGS,
    answers,
    bare_server,
    beside_bare,
    in_turn,
    our_server,
    slices,
)
from benchmarks.shelf import Shelf
from provisioner.v1.provisioning_pb2 import StreamLogsRequest, StreamLogsResponse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.run import Program

_ENTRIES = 1000


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on SQLite only: entries are read once and sent to all followers from memory.

    Args:
        quick: Whether to measure the short form: fewer streams, followers and seconds.
    """
    with Shelf() as shelf:
        for page in (1, 0):
            yield from _read(shelf.empty("SQLite"), page, quick=quick)
        yield from _followed(shelf.empty("SQLite"), quick=quick)


def _read(url: str, page: int, *, quick: bool) -> Iterator[Row]:
    """Read a whole log again and again."""
    more = ("--tenants", 2, "--entries", _ENTRIES, "--page", page)
    with folder() as place, our_server(url, place, *more) as shop:
        request = StreamLogsRequest(tenant_id=shop.facts["ids"][0]).SerializeToString()
        messages = answers(shop, LOGS, request)
        entries = sum(len(StreamLogsResponse.FromString(each).entries) for each in messages)
        # One entry a message, of the average length of ours.
        line = b"x" * (sum(map(len, messages)) // entries)
        with bare_server(place, line, entries) as bare:
            for streams in (16,) if quick else (1, 16):
                given = ("--streams", "--callers", streams, *slices(4, quick=quick))
                got = in_turn(shop, bare, place, [request], "--method", LOGS, *given)
                what = "one entry a message" if page else "in pages"
                yield beside_bare(
                    f"StreamLogs {what}, {streams} streams, beside a bare stream of one a message",
                    "entries/s",
                    got,
                    goal=0.6 if page else 3.0,
                    scale=(entries / len(messages), 1.0),
                    note=f"{entries} entries in {len(messages)} messages",
                )
        if page or quick:
            return
        with bare_server(place, max(messages, key=len), len(messages)) as bare:
            given = ("--streams", "--callers", 16, *slices(2, quick=quick))
            got = in_turn(shop, bare, place, [request], "--method", LOGS, *given)
            yield beside_bare(
                "StreamLogs in pages, 16 streams, beside a bare stream of the same bytes",
                "messages/s",
                got,
                goal=None,
            )


def _followed(url: str, *, quick: bool) -> Iterator[Row]:
    """Follow the logs of open runs with long steps, and append entries to them."""
    followers, seconds = (100, 1) if quick else (500, 6)
    with folder() as place, our_server(url, place, "--tenants", 0, "--pause", 600) as shop:
        pid = shop.facts["pid"]
        idle = resident_mb(pid)
        ids = shop.tell({"open": followers})["ids"]
        opened = resident_mb(pid)
        followed = 0.0
        for tenants, rate, goal in ((followers, 500, 10.0), (1, 5, 50.0)):
            (place / "ids").write_text(json.dumps(ids[:tenants]))
            given = ("--port", shop.facts["port"], "--token-file", place / "token")
            with beside(
                "follower", *given, "--ids", place / "ids", "--streams", followers
            ) as client_of_all:
                followed = max(followed, resident_mb(pid))
                times = _times(shop, client_of_all, tenants, rate, seconds)
            yield alone(
                f"append to receive, {followers} followers of {tenants} tenants: p99",
                "ms",
                [times[int(len(times) * 0.99)]],
                goal=goal,
                note=(
                    f"{rate} appends a second, {len(times)} received; p50 "
                    f"{times[len(times) // 2]:.1f} ms, longest {times[-1]:.1f} ms"
                ),
            )
        for name, more in (("an open run", opened - idle), ("a follower", followed - opened)):
            yield alone(
                f"memory of {name}", "KiB", [more * 1024 / followers], note=f"of {followers}"
            )


def _times(shop: Program, client: Program, tenants: int, rate: int, seconds: float) -> list[float]:
    shop.tell({"append": seconds, "rate": rate, "tenants": tenants})
    got: dict[str, Any] = client.tell("enough")
    times: list[float] = got["ms"]
    return times
