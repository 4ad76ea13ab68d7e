"""GetStatus and StreamLogs beside a bare grpc.aio server of the same bytes."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import grpc

from benchmarks.rows import Row, alone, compared
from benchmarks.run import database, folder, ours, serving
from provisioner.v1.provisioning_pb2 import GetStatusRequest, StreamLogsRequest
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STATUS = "/provisioner.v1.ProvisioningService/GetStatus"
LOGS = "/provisioner.v1.ProvisioningService/StreamLogs"
GOALS = {"SQLite": 0.65, "PostgreSQL": 0.6}
CALLERS = (1, 16, 64)


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on both databases; logs on SQLite."""
    with folder() as place:
        url = f"sqlite+aiosqlite:///{place / 'p.db'}"
        yield from _status("SQLite", url, place, quick=quick)
    with postgres.cluster() as cluster, database(cluster) as at, folder() as place:
        url = at.render_as_string(hide_password=False)
        yield from _status("PostgreSQL", url, place, quick=quick)
    with folder() as place:
        yield from _logs(f"sqlite+aiosqlite:///{place / 'p.db'}", place, quick=quick)


@contextlib.contextmanager
def _ours(url: str, place: Path, *more: str) -> Iterator[dict[str, Any]]:
    key = place / "jwt.key"
    if not key.exists():
        key.write_bytes(b"k" * 64)
        key.chmod(0o600)
    command = ("-m", "benchmarks.programs.serve_ours", "--url", url, "--key-file", str(key))
    with serving(*command, *more) as line:
        if not line:
            raise RuntimeError("our server did not come up")
        facts: dict[str, Any] = json.loads(line)
        (place / "token").write_text(facts["token"])
        yield facts


def _answer(facts: dict[str, Any], method: str, request: bytes) -> list[bytes]:
    """Ask once, for the bytes that the echo shall answer."""
    metadata = (("authorization", f"Bearer {facts['token']}"),)
    with grpc.insecure_channel(f"127.0.0.1:{facts['port']}") as channel:
        # Untyped: ready bytes go out and come back.
        once: Any = channel.unary_unary(method)
        stream: Any = channel.unary_stream(method)
        if method == STATUS:
            return [once(request, metadata=metadata)]
        return list(stream(request, metadata=metadata))


@contextlib.contextmanager
def _echo(place: Path, answer: bytes, entries: int = 0) -> Iterator[int]:
    (place / "answer").write_bytes(answer)
    with serving(
        "-m",
        "benchmarks.programs.echo",
        "--answer",
        str(place / "answer"),
        "--entries",
        str(entries),
    ) as line:
        yield int(line)


def _status(kind: str, url: str, place: Path, *, quick: bool) -> Iterator[Row]:
    rounds, seconds = (2, 1.0) if quick else (3, 2.0)
    with _ours(url, place) as facts:
        requests = [GetStatusRequest(tenant_id=each).SerializeToString() for each in facts["ids"]]
        asked = place / "requests"
        asked.write_text(json.dumps([each.hex() for each in requests]))
        with _echo(place, _answer(facts, STATUS, requests[0])[0]) as echo:
            for callers in CALLERS:
                mine, theirs = [], []
                for _ in range(rounds):
                    given = ("--requests", asked, "--callers", callers, "--seconds", seconds)
                    token = ("--token-file", place / "token")
                    mine.append(
                        ours("caller", "--port", facts["port"], "--method", STATUS, *given, *token)
                    )
                    theirs.append(
                        ours("caller", "--port", echo, "--method", "/echo.Echo/Once", *given)
                    )
                yield compared(
                    f"GetStatus with authentication, {kind}, {callers} callers",
                    "calls/s",
                    [each["rate"] for each in mine],
                    [each["rate"] for each in theirs],
                    goal=GOALS[kind],
                )
    with _ours(url, place, "--busy", "16", "--tenants", "100") as facts:
        asked.write_text(
            json.dumps(
                [
                    GetStatusRequest(tenant_id=each).SerializeToString().hex()
                    for each in facts["ids"]
                ]
            )
        )
        given = ("--requests", asked, "--callers", 16, "--seconds", seconds)
        got = [
            ours(
                "caller", "--port", facts["port"], "--method", STATUS, *given,
                "--token-file", place / "token",
            )
            for _ in range(rounds)
        ]  # fmt: skip
        yield alone(
            f"GetStatus while provisioning runs, {kind}, 16 callers: p99 over p50",
            "times",
            [each["p99_ms"] / each["p50_ms"] for each in got],
            goal=5.0,
        )


def _logs(url: str, place: Path, *, quick: bool) -> Iterator[Row]:
    rounds = 2 if quick else 3
    with _ours(url, place) as facts:
        request = StreamLogsRequest(tenant_id=facts["ids"][0])
        asked = place / "requests"
        asked.write_text(json.dumps([request.SerializeToString().hex()]))
        pages = _answer(facts, LOGS, request.SerializeToString())
        entries = facts_of(pages)
        single = max(len(page) for page in pages) // max(entries, 1)
        times = 100 if quick else 300
        mine, bare = [], []
        with _echo(place, b"x" * single, entries) as echo:
            for _ in range(rounds):
                given = ("--requests", asked, "--streams", times)
                got = ours(
                    "caller", "--port", facts["port"], "--method", LOGS, *given,
                    "--token-file", place / "token",
                )  # fmt: skip
                mine.append(got["rate"] * entries / len(pages))
                bare.append(
                    ours("caller", "--port", echo, "--method", "/echo.Echo/Stream", *given)["rate"]
                )
        yield compared(
            "StreamLogs in pages, entries, beside a bare stream of one entry a message",
            "entries/s",
            mine,
            bare,
            goal=3.0,
            note=f"{entries} entries a log, {len(pages)} messages",
        )


def facts_of(pages: list[bytes]) -> int:
    """Count the entries of pages as sent."""
    from provisioner.v1.provisioning_pb2 import StreamLogsResponse  # noqa: PLC0415 - only here

    return sum(len(StreamLogsResponse.FromString(page).entries) for page in pages)
