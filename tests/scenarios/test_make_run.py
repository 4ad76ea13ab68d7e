"""`make run`: one process that serves, heals, and shows a first tenant."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from tools.installation import free_port

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE_SECONDS = 60.0
# The default of PROVISIONER_DRAIN_SECONDS, and something to close with.
STOP_SECONDS = 25.0 + 5.0


async def read_until(stream: asyncio.StreamReader, word: str) -> str:
    """Read lines up to the one that has the word; return all of them."""
    read = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := await stream.readline():
            read += line.decode()
            if word in line.decode():
                return read
    raise AssertionError(f"it ended without {word!r}: {read}")


async def test_serve_demo_greets_shows_a_first_tenant_and_stops_in_time(tmp_path: Path) -> None:
    grpc, http = free_port(), free_port()
    clean = {key: value for key, value in os.environ.items() if "PROVISIONER" not in key}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "clients.cli",
        "serve",
        "--demo",
        env={
            **clean,
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "PROVISIONER_GRPC_ADDRESS": f"127.0.0.1:{grpc}",
            "PROVISIONER_HTTP_ADDRESS": f"127.0.0.1:{http}",
            # Of a real service on this machine.
            "PROVISIONER_TLS_CERT_FILE": str(tmp_path / "server.pem"),
            "PROVISIONER_TLS_KEY_FILE": str(tmp_path / "server.key"),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        greeting = await read_until(process.stdout, "A first tenant")
        assert f"gRPC at 127.0.0.1:{grpc}" in greeting
        assert f"HTTP at 127.0.0.1:{http}" in greeting
        assert f"start 'Mama Njeri Traders' --watch --address 127.0.0.1:{grpc}\n" in greeting
        left_out = "PROVISIONER_TLS_CERT_FILE, PROVISIONER_TLS_KEY_FILE not used"
        assert f"without TLS, on this machine only: {left_out}" in greeting
        # Old clients work against it, and what they may is named.
        assert "PROVISIONER_COMPAT=on" in greeting
        shown = await read_until(process.stdout, "COMPLETED")
        assert "step_2_company: done" in shown

        process.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            rest = await process.stdout.read()
            assert await process.wait() == 0, rest
        assert b"Traceback" not in rest
        # The demo keeps nothing.
        assert list(tmp_path.glob("provisioner-demo-*")) == []
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
