"""GetStatus beside a bare grpc.aio server that answers the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx

from benchmarks.rows import Row
from benchmarks.run import beside, folder
from benchmarks.serving import (
    STATUS,
    answers,
    bare_server,
    beside_bare,
    in_turn,
    our_server,
    slices,
)
from benchmarks.shelf import KINDS, Shelf
from provisioner.v1.provisioning_pb2 import GetStatusRequest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.run import Program

GOALS = {"SQLite": 0.65, "PostgreSQL": 0.6}
CALLERS = (1, 16, 64)
# Each run pauses 0.1 s before each step, so that about 600 steps a second are written meanwhile.
_OPEN, _PAUSE = 64, 0.1


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on both databases (quick: on SQLite); over HTTP on SQLite.

    Args:
        quick: Whether to measure the short form: fewer tenants, callers and slices.
    """
    tenants = 40 if quick else 200
    for kind in KINDS[:1] if quick else KINDS:
        with Shelf() as shelf:
            url = shelf.empty(kind)
            with folder() as place, our_server(url, place, "--tenants", tenants) as shop:
                yield from _at_rest(shop, place, kind, quick=quick)
                if kind == "SQLite":
                    yield from _over_http(shop, place, quick=quick)
            yield from _while_provisioning(shelf, kind, quick=quick)


def _at_rest(shop: Program, place: Path, kind: str, *, quick: bool) -> Iterator[Row]:
    requests = [GetStatusRequest(tenant_id=each).SerializeToString() for each in shop.facts["ids"]]
    with bare_server(place, answers(shop, STATUS, requests[0])[0]) as bare:
        for callers in CALLERS[::2] if quick else CALLERS:
            given = ("--callers", callers, *slices(6, quick=quick))
            got = in_turn(shop, bare, place, requests, "--method", STATUS, *given)
            yield beside_bare(
                f"GetStatus with authentication, {kind}, {callers} callers",
                "calls/s",
                got,
                goal=GOALS[kind],
            )


def _while_provisioning(shelf: Shelf, kind: str, *, quick: bool) -> Iterator[Row]:
    more = ("--tenants", 100, "--pause", _PAUSE)
    with folder() as place, our_server(shelf.empty(kind), place, *more) as shop:
        requests = [
            GetStatusRequest(tenant_id=each).SerializeToString() for each in shop.facts["ids"]
        ]
        shop.tell({"busy": _OPEN})
        with bare_server(place, answers(shop, STATUS, requests[0])[0]) as bare:
            for callers in (16,) if quick else (1, 16):
                given = ("--callers", callers, *slices(5, quick=quick))
                got = in_turn(shop, bare, place, requests, "--method", STATUS, *given)
                mine, other = got["ours"], got["theirs"]
                yield Row(
                    name=f"GetStatus while {_OPEN} runs go on, {kind}, {callers} callers: p99/p50",
                    unit="times",
                    ours=round(mine["p99_ms"] / mine["p50_ms"], 2),
                    theirs=round(other["p99_ms"] / other["p50_ms"], 2),
                    goal=5.0,
                    at_most=True,
                    note=(
                        f"p50 {mine['p50_ms']:.2f} ms, p99 {mine['p99_ms']:.2f} ms; "
                        "theirs is the bare server meanwhile, on the same machine"
                    ),
                )


def _over_http(shop: Program, place: Path, *, quick: bool) -> Iterator[Row]:
    """Ask the old clients' API for a status, and a bare FastAPI route for the same."""
    path = "/provisioning/tenants/{}/status"
    asked = httpx.get(
        f"http://127.0.0.1:{shop.facts['http']}{path.format(shop.facts['ids'][0])}",
        headers={"authorization": f"Bearer {shop.facts['token']}"},
        trust_env=False,
    )
    (place / "body").write_bytes(asked.raise_for_status().content)
    requests = [
        f"GET {path.format(each)} HTTP/1.1\r\nhost: 127.0.0.1\r\n".encode()
        for each in shop.facts["ids"]
    ]
    for ready, goal in ((False, 0.6), (True, None)):
        more = ("--ready",) if ready else ()
        what = "that returns ready bytes" if ready else "that returns the object"
        with beside("bare_rest", "--answer", place / "body", *more) as bare:
            for callers in (16,) if quick else (1, 16):
                # Ready bytes are only for comparison.
                given = ("--http", "--callers", callers, *slices(2 if ready else 4, quick=quick))
                got = in_turn(shop, bare, place, requests, *given, port="http")
                yield beside_bare(
                    f"REST status, SQLite, {callers} callers, beside a FastAPI route {what}",
                    "calls/s",
                    got,
                    goal=goal,
                )
