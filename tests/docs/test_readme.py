"""README.md's examples, run in their order against real processes, end as they should."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from tests.docs.pages import README, blocks
from tools.installation import Installation, installation

# Three runs of ten steps against a stand-in that answers at once take a few seconds.
_PATIENCE_SECONDS = 120.0


def _executed(language: str) -> str:
    texts = [b.text for b in blocks(README) if b.executed and b.language == language]
    assert texts, f"README.md has no {language} block that is to be executed"
    return "".join(texts)


async def _run(shop: Installation, *command: str) -> str:
    # As after `. .venv/bin/activate`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=shop.folder,
        env={**shop.environment, "PATH": path},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), _PATIENCE_SECONDS)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_examples_of_the_readme_do_what_they_say(tmp_path: Path) -> None:
    async with installation(tmp_path) as shop:
        await shop.start_site()
        await shop.start_server()
        told = await _run(shop, "sh", "-eu", "-c", _executed("sh"))
        assert "COMPLETED" in told
        assert "Dry run: nothing was written." in told
        program = _executed("python").replace("127.0.0.1:50051", f"127.0.0.1:{shop.grpc_port}")
        told = await _run(shop, sys.executable, "-c", program)
        assert told.startswith("1 Provisioning of 'Baraka Stores' was ordered by local")
