"""Calls two servers in turn with ready bytes, each for a slice of time.

So other work of the machine slows both alike. Both have the same client, which neither builds nor
parses messages. Prints one JSON line: for each side its slices, and its server's CPU time a call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks.measuring import processor_seconds


@dataclass(slots=True, kw_only=True)
class Side:
    """One server, and what was measured of it.

    Attributes:
        pid: The server's process.
        call: Sends ready bytes with `metadata`, and returns ready bytes or a stream of them.
        requests: The bytes of requests, which are sent in turn.
        metadata: What goes with each request; None for nothing.
        rates: Calls or messages a second, of each slice.
        took: Seconds of each call; empty for streams.
        cpu: The server's CPU seconds in all slices.
        number: How many calls or messages there were.
        bytes: How many bytes of messages there were; 0 unless for streams.
    """

    pid: int
    call: Any  # ready bytes out and in
    requests: list[bytes]
    metadata: Any = None
    rates: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    cpu: float = 0.0
    number: int = 0
    bytes: int = 0

    def facts(self) -> dict[str, Any]:
        """Return what was measured, as JSON values.

        Returns:
            `rates`; `p50_ms` and `p99_ms`, 0.0 for streams; `cpu_us`, the server's CPU time a call
            or message in microseconds; `number` and `bytes`.
        """
        took = sorted(self.took)
        return {
            "rates": self.rates,
            "p50_ms": took[len(took) // 2] * 1000 if took else 0.0,
            "p99_ms": took[int(len(took) * 0.99)] * 1000 if took else 0.0,
            "cpu_us": self.cpu / max(self.number, 1) * 1e6,
            "number": self.number,
            "bytes": self.bytes,
        }


async def calls(side: Side, callers: int, seconds: float) -> None:
    """Call for a given time, a given number at once.

    Args:
        side: Whom to call; what is measured is added to it.
        callers: How many calls are open at once.
        seconds: How long the slice is; calls that are open then are still waited for.
    """
    end = time.perf_counter() + seconds
    took: list[float] = []

    async def caller(number: int) -> None:
        turn = number
        while (at := time.perf_counter()) < end:
            await side.call(side.requests[turn % len(side.requests)], metadata=side.metadata)
            turn += callers
            took.append(time.perf_counter() - at)

    await _measured(side, [caller(number) for number in range(callers)], took)


async def streams(side: Side, callers: int, seconds: float) -> None:
    """Read whole streams for a given time, a given number at once; messages are counted.

    Args:
        side: Whom to call; what is measured is added to it.
        callers: How many streams are open at once.
        seconds: How long the slice is; streams that are open then are still read to their end.
    """
    end = time.perf_counter() + seconds
    got: list[int] = []

    async def reader(number: int) -> None:
        turn = number
        while time.perf_counter() < end:
            request = side.requests[turn % len(side.requests)]
            got.extend([len(each) async for each in side.call(request, metadata=side.metadata)])
            turn += callers

    await _measured(side, [reader(number) for number in range(callers)], got)
    side.bytes += sum(got)


class Http:
    """Calls over persistent HTTP/1.1 connections; parses only what finds a body's end.

    Each call takes a connection that is idle, or opens one; none is ever closed.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def __call__(self, request: bytes, *, metadata: Any) -> bytes:
        """Send a request line with its headers; return the body of the answer.

        Raises:
            RuntimeError: the answer is not 200.
        """
        if self._idle:
            reader, writer = self._idle.pop()
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(request + (metadata or b"") + b"\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode())
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        self._idle.append((reader, writer))
        return body


async def _measured(side: Side, work: list[Any], counted: list[Any]) -> None:
    cpu, began = processor_seconds(side.pid), time.perf_counter()
    await asyncio.gather(*work)
    side.rates.append(len(counted) / (time.perf_counter() - began))
    side.cpu += processor_seconds(side.pid) - cpu
    side.number += len(counted)
    if counted and isinstance(counted[0], float):
        side.took.extend(counted)


async def measure(given: argparse.Namespace, token: str, asked: list[bytes]) -> dict[str, Any]:
    """Measure both in turn, after one slice each that does not count.

    Args:
        given: The command line.
        token: Sent with each call to our server; the other one wants none.
        asked: The bytes of requests; with `--http`, request lines with headers.

    Returns:
        `Side.facts` of ours and theirs.
    """
    async with AsyncExitStack() as stack:
        ours, theirs = await _sides(given, token, asked, stack)
        work = streams if given.streams else calls
        for side in (ours, theirs):
            await work(side, given.callers, given.seconds)
            side.rates.clear()
            side.took.clear()
            side.cpu, side.number, side.bytes = 0.0, 0, 0
        for number in range(given.slices):
            # Who comes first alternates, too.
            for side in (ours, theirs) if number % 2 else (theirs, ours):
                await work(side, given.callers, given.seconds)
    return {"ours": ours.facts(), "theirs": theirs.facts()}


async def _sides(
    given: argparse.Namespace, token: str, asked: list[bytes], stack: AsyncExitStack
) -> tuple[Side, Side]:
    if given.http:
        bearer = f"authorization: Bearer {token}\r\n".encode()
        return (
            Side(pid=given.pid, call=Http(given.port), requests=asked, metadata=bearer),
            Side(pid=given.echo_pid, call=Http(given.echo_port), requests=asked),
        )
    mine = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{given.port}"))
    other = await stack.enter_async_context(
        grpc.aio.insecure_channel(f"127.0.0.1:{given.echo_port}")
    )
    kind, bare = ("unary_unary", "/echo.Echo/Once")
    if given.streams:
        kind, bare = ("unary_stream", "/echo.Echo/Stream")
    metadata = (("authorization", f"Bearer {token}"),)
    return (
        Side(
            pid=given.pid,
            call=getattr(mine, kind)(given.method),
            requests=asked,
            metadata=metadata,
        ),
        Side(pid=given.echo_pid, call=getattr(other, kind)(bare), requests=asked),
    )


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--method", default="")
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--echo-port", type=int, required=True)
    parser.add_argument("--echo-pid", type=int, required=True)
    parser.add_argument("--requests", required=True, metavar="FILE", help="JSON list of hex texts")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--slices", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.4, help="of a slice")
    parser.add_argument("--streams", action="store_true")
    parser.add_argument("--http", action="store_true", help="requests are heads of HTTP/1.1")
    given = parser.parse_args()
    token = Path(given.token_file).read_text()
    asked = [bytes.fromhex(each) for each in json.loads(Path(given.requests).read_text())]
    print(json.dumps(asyncio.run(measure(given, token, asked))))


if __name__ == "__main__":
    main()
