"""Serves stand-in sites with a real ERPNext's times; prints their addresses as JSON, then waits.

In a process of its own, so that the cost of the sites is not counted as ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import AsyncExitStack

from server.standin.app import StandIn


async def serve(sites: int, pace: float) -> None:
    """Serve until the task is cancelled; print the urls once all sites answer.

    Args:
        sites: How many sites.
        pace: What each recorded time of ERPNext is multiplied by.
    """
    async with AsyncExitStack() as stack:
        urls = []
        for number in range(sites):
            standin = StandIn(latency="recorded", pace=pace, site=f"site-{number}.local")
            urls.append((await stack.enter_async_context(standin)).url)
        print(json.dumps(urls), flush=True)
        await asyncio.Event().wait()


def main() -> None:
    """Serve until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sites", type=int, required=True)
    parser.add_argument("--pace", type=float, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.sites, given.pace))


if __name__ == "__main__":
    main()
