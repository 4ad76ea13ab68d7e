"""A bare FastAPI route that answers a given object, or its ready bytes; prints its port."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Response


async def serve(answer: bytes, *, ready: bool) -> None:
    """Serve one object at the path of the old API's status, until standard input ends.

    Args:
        answer: The object, as JSON.
        ready: Whether the route returns these bytes as they are, and not the object.
    """
    app = FastAPI()
    found = json.loads(answer)

    async def status(tenant_id: str) -> Any:
        if ready:
            return Response(answer, media_type="application/json" if tenant_id else None)
        return found

    app.add_api_route("/provisioning/tenants/{tenant_id}/status", status)

    # The protocol is named, as in ours; otherwise answers wait for delayed acknowledgements.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    # As ours is set up.
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    print(json.dumps({"http": listener.getsockname()[1], "pid": os.getpid()}), flush=True)
    await asyncio.to_thread(sys.stdin.readline)  # until the benchmark ends
    server.should_exit = True
    await serving


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--answer", required=True, metavar="FILE")
    parser.add_argument("--ready", action="store_true")
    given = parser.parse_args()
    asyncio.run(serve(Path(given.answer).read_bytes(), ready=given.ready))


if __name__ == "__main__":
    main()
