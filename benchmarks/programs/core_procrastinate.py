"""procrastinate as a plain queue: jobs that do nothing, deferred and done; prints jobs a second.

Run by the benchmark's own environment.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time

import procrastinate

_AT_ONCE = 64

app = procrastinate.App(connector=procrastinate.PsycopgConnector())


@app.task
async def nothing(number: int) -> None:
    """Do nothing."""


async def measure(url: str, jobs: int) -> float:
    """Return jobs a second, from the first that is deferred to the last that is done.

    Args:
        url: An empty PostgreSQL database, as libpq takes it.
        jobs: How many jobs.
    """
    connector = procrastinate.PsycopgConnector(conninfo=url, min_size=4, max_size=16)
    with app.replace_connector(connector) as queue:
        async with queue.open_async():
            await queue.schema_manager.apply_schema_async()
            began = time.perf_counter()
            numbers = iter(range(jobs))

            async def lane() -> None:
                for number in numbers:
                    await nothing.defer_async(number=number)

            await asyncio.gather(*(lane() for _ in range(_AT_ONCE)))
            await queue.run_worker_async(
                concurrency=_AT_ONCE, wait=False, install_signal_handlers=False
            )
            return jobs / (time.perf_counter() - began)


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--jobs", type=int, required=True)
    given = parser.parse_args()
    print(json.dumps({"rate": asyncio.run(measure(given.url, given.jobs))}))


if __name__ == "__main__":
    main()
