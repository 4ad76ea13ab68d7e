"""Everything that can fail fails at random, under load; then the whole history is checked.

CHAOS_SECONDS and CHAOS_SEED choose another storm.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.chaos.one_file import one_file
from tests.chaos.replicas import replicas
from tests.chaos.storm import storm
from tests.support import proof

if TYPE_CHECKING:
    from pathlib import Path

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = os.environ.get("CHAOS_SEED", "1")


@pytest.mark.postgres
async def test_a_short_storm_over_servers_on_one_postgresql_loses_nothing(tmp_path: Path) -> None:
    async with replicas(tmp_path) as fleet:
        history = await storm(fleet, seconds=SECONDS, seed=SEED, tenants=12)
    assert history.acknowledged == history.there
    assert history.findings == {}


async def test_a_short_storm_over_servers_on_one_file_loses_nothing(tmp_path: Path) -> None:
    async with one_file(tmp_path) as fleet:
        history = await storm(fleet, seconds=SECONDS / 2, seed=SEED, tenants=8)
    assert history.acknowledged == history.there
    assert history.findings == {}


@pytest.mark.prove
@pytest.mark.postgres
@pytest.mark.parametrize("seed", ["2", "3", "4"])
async def test_a_long_storm_over_servers_on_one_postgresql_loses_nothing(
    tmp_path: Path, seed: str
) -> None:
    async with replicas(tmp_path) as fleet:
        history = await storm(fleet, seconds=120, seed=seed, tenants=60)
    proof.note(**history.counts)
    assert history.acknowledged == history.there
    assert history.findings == {}


@pytest.mark.prove
@pytest.mark.parametrize("seed", ["5", "6"])
async def test_a_long_storm_over_servers_on_one_file_loses_nothing(
    tmp_path: Path, seed: str
) -> None:
    async with one_file(tmp_path) as fleet:
        history = await storm(fleet, seconds=60, seed=seed, tenants=30)
    proof.note(**history.counts)
    assert history.acknowledged == history.there
    assert history.findings == {}
