"""Every limit that is said is kept by somebody; a call without a deadline has one all the same."""

from __future__ import annotations

import ast
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from provisioner.v1 import provisioning_pb2
from server import limits
from tests.server.rpc.conftest import rig as rig  # noqa: PLC0414 - a fixture
from tests.server.rpc.conftest import unserved as unserved  # noqa: PLC0414 - a fixture

if TYPE_CHECKING:
    from tests.server.rpc.conftest import Rig

SERVER = Path(limits.__file__).parent


def test_no_limit_is_said_that_nobody_keeps() -> None:
    said = {name for name in vars(limits) if name.isupper()}
    kept: set[str] = set()
    for file in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "server.limits":
                kept |= {each.name for each in node.names}
    assert said
    assert said == kept


async def test_a_call_whose_caller_set_no_deadline_ends_all_the_same(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.rpc.answering.CALL_SECONDS", 0.05)

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(rig.commands, "continue_", never)
    request = provisioning_pb2.ContinueRequest(tenant_id="01900000-0000-7000-8000-000000000000")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rig.stub.Continue(request)
    assert ended.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    details = dict(ended.value.trailing_metadata() or ())
    assert b"CALL_TIME_OVER" in details["grpc-status-details-bin"]


async def test_a_time_limit_of_the_work_itself_is_not_taken_for_the_calls(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(rig.commands, "continue_", late)
    request = provisioning_pb2.ContinueRequest(tenant_id="01900000-0000-7000-8000-000000000000")
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await rig.stub.Continue(request)
    assert ended.value.code() is grpc.StatusCode.INTERNAL
