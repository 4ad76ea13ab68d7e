"""Calls one method with ready bytes for a while; prints calls a second and their times.

Our service and the echo get the same client, which neither builds nor parses messages.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import Any

import grpc.aio


async def calls(
    port: int, method: str, requests: list[bytes], callers: int, seconds: float, token: str
) -> dict[str, float]:
    """Call a unary method for a while, a given number at once.

    Args:
        port: The server's port on this machine.
        method: The method's full path.
        requests: The bytes of requests, which are sent in turn; each is sent once beforehand.
        callers: How many calls are open at once.
        seconds: For how long.
        token: Sent with each call; "" for none.

    Returns:
        Calls a second, and the median and the 99th percentile of their times in milliseconds.
    """
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    took: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(method)  # ready bytes out and in
        for request in requests:
            await call(request, metadata=metadata)
        end = time.perf_counter() + seconds
        began = time.perf_counter()

        async def caller(number: int) -> None:
            turn = number
            while (at := time.perf_counter()) < end:
                await call(requests[turn % len(requests)], metadata=metadata)
                turn += callers
                took.append(time.perf_counter() - at)

        await asyncio.gather(*(caller(number) for number in range(callers)))
        lasted = time.perf_counter() - began
    took.sort()
    return {
        "rate": len(took) / lasted,
        "p50_ms": took[len(took) // 2] * 1000,
        "p99_ms": took[int(len(took) * 0.99)] * 1000,
    }


async def streams(
    port: int, method: str, request: bytes, count: int, token: str
) -> dict[str, float]:
    """Read whole streams, one after another.

    Args:
        port: The server's port on this machine.
        method: The method's full path.
        request: The bytes of the request.
        count: How many streams.
        token: Sent with each call; "" for none.

    Returns:
        Messages a second, bytes a second, and how many messages there were.
    """
    metadata = (("authorization", f"Bearer {token}"),) if token else None
    messages, size = 0, 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_stream(method)  # ready bytes out and in
        began = time.perf_counter()
        for _ in range(count):
            async for message in call(request, metadata=metadata):
                messages += 1
                size += len(message)
        lasted = time.perf_counter() - began
    return {"rate": messages / lasted, "bytes": size / lasted, "messages": float(messages)}


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--method", required=True)
    parser.add_argument("--requests", required=True, metavar="FILE", help="JSON list of hex texts")
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--token-file", default="")
    given = parser.parse_args()
    requests = [bytes.fromhex(each) for each in json.loads(Path(given.requests).read_text())]
    token = Path(given.token_file).read_text() if given.token_file else ""
    if given.streams:
        work = streams(given.port, given.method, requests[0], given.streams, token)
    else:
        work = calls(given.port, given.method, requests, given.callers, given.seconds, token)
    print(json.dumps(asyncio.run(work)))


if __name__ == "__main__":
    main()
