"""An installation of real processes in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools.installation import installation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tools.installation import Installation


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installation(tmp_path) as made:
        yield made
