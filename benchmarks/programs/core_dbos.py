"""DBOS Transact doing ten no-op steps a workflow; prints workflows a second.

Run by the benchmark's own environment. With an SQLite URL and `--wal` the file is switched to
WAL beforehand, because DBOS opens it with the rollback journal.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS, DBOSConfig


@DBOS.step()
def nothing(number: int) -> int:
    """Do nothing, durably."""
    return number


@DBOS.workflow()
def ten_steps() -> int:
    """Do ten steps that do nothing."""
    return sum(nothing(number) for number in range(10))


def measure(url: str, count: int, at_once: int) -> float:
    """Return workflows a second, after a warm-up.

    Args:
        url: The system database, as SQLAlchemy takes it.
        count: How many workflows are measured.
        at_once: How many threads run one after another.
    """
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": url,
        "log_level": "ERROR",
        "max_executor_threads": max(at_once, 8),
    }
    DBOS(config=config)
    DBOS.launch()
    lock = threading.Lock()
    left = [min(at_once, 16)]

    def lane() -> None:
        while True:
            with lock:
                if left[0] <= 0:
                    return
                left[0] -= 1
            ten_steps()

    def many(number: int) -> None:
        left[0] = number
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            for done in [pool.submit(lane) for _ in range(at_once)]:
                done.result()

    many(min(at_once, 16))
    began = time.perf_counter()
    many(count)
    rate = count / (time.perf_counter() - began)
    DBOS.destroy()
    return rate


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--open", type=int, required=True)
    parser.add_argument("--wal", default="", metavar="FILE")
    given = parser.parse_args()
    if given.wal:
        connection = sqlite3.connect(given.wal)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.close()
    print(json.dumps({"rate": measure(given.url, given.tenants, given.open)}))


if __name__ == "__main__":
    main()
