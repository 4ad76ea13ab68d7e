"""Follows logs on many streams; prints how long entries took from being written to arriving here.

Parses nothing while it measures: messages are kept with their times and parsed afterwards.
Ends when its standard input does.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

import grpc.aio

from provisioner.v1.provisioning_pb2 import StreamLogsRequest, StreamLogsResponse

_STREAMS_A_CHANNEL = 125
LOGS = "/provisioner.v1.ProvisioningService/StreamLogs"


async def follow(port: int, token: str, ids: list[str], streams: int) -> list[float]:
    """Follow until told to stop; return the milliseconds from append to receive, sorted.

    Args:
        port: The server's gRPC port on this machine.
        token: Sent with each call.
        ids: The tenants; each stream follows one of them, in turn. Their logs must not be empty.
        streams: How many streams.

    Returns:
        A time for each entry that holds when it was written, by the clock that both processes share
        (`time.perf_counter_ns`).
    """
    metadata = (("authorization", f"Bearer {token}"),)
    came: list[tuple[int, bytes]] = []
    counted = [0]
    channels = [
        grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=(("grpc.use_local_subchannel_pool", 1),)
        )
        for _ in range(-(-streams // _STREAMS_A_CHANNEL))
    ]

    async def one(number: int) -> None:
        call: Any = channels[number // _STREAMS_A_CHANNEL].unary_stream(LOGS)
        request = StreamLogsRequest(tenant_id=ids[number % len(ids)], follow=True)
        stream = call(request.SerializeToString(), metadata=metadata)
        first = True
        async for message in stream:
            came.append((time.perf_counter_ns(), message))
            counted[0] += first
            first = False

    tasks = [asyncio.create_task(one(number)) for number in range(streams)]
    while counted[0] < streams:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.5)
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    came.clear()
    print(json.dumps("following"), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    got = list(came)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(
        (at - int(entry.fields["at"])) / 1e6
        for at, message in got
        for entry in StreamLogsResponse.FromString(message).entries
        if "at" in entry.fields
    )


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", required=True)
    parser.add_argument("--ids", required=True, metavar="FILE", help="JSON list")
    parser.add_argument("--streams", type=int, required=True)
    given = parser.parse_args()
    ids = json.loads(Path(given.ids).read_text())
    token = Path(given.token_file).read_text()
    print(json.dumps({"ms": asyncio.run(follow(given.port, token, ids, given.streams))}))


if __name__ == "__main__":
    main()
