"""A bare grpc.aio server: answers given bytes, once or as a stream, and does nothing else."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc.aio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def serve(answer: bytes, entries: int) -> None:
    """Serve `/echo.Echo/Once` and `/echo.Echo/Stream` until standard input ends.

    Args:
        answer: The bytes of each message.
        entries: How many messages a stream has.
    """

    async def once(_request: bytes, _context: Any) -> bytes:
        return answer

    async def stream(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for _ in range(entries):
            yield answer

    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "echo.Echo",
                {
                    "Once": grpc.unary_unary_rpc_method_handler(once),
                    "Stream": grpc.unary_stream_rpc_method_handler(stream),
                },
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"port": port, "pid": os.getpid()}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # until the benchmark ends


def main() -> None:
    """Serve until standard input ends; prints port and process id."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", required=True, metavar="FILE")
    parser.add_argument("--entries", type=int, default=0)
    given = parser.parse_args()
    asyncio.run(serve(Path(given.answer).read_bytes(), given.entries))


if __name__ == "__main__":
    main()
