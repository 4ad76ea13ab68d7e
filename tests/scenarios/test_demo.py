"""`make demo` comes true."""

from __future__ import annotations

from tools.demo import main


async def test_the_demo_comes_true() -> None:
    assert await main() == 0
