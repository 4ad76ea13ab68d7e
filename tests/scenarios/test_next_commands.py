"""Errors say the next command: where a tenant stands or an order is refused, it is one that helps.

Tenants are put where they can stand, in a service that drives nothing, and each command that is
named for them is given through the command line: it may find nothing to do, but no refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shlex
import sys
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from server.app import App, utc_now
from server.commands import OrderTerms
from server.model.actor import LOCAL
from server.model.identifiers import WorkerId
from server.model.records import Hold
from server.model.states import ErrorClass
from server.model.undo import UndoOptions
from server.settings import load_settings
from server.standin.app import StandIn
from server.store.operations import TenantOperation, WorkerOperation
from tests.reconciler.scene import OPTIONAL_PASSING, PASSING, PERMANENT, Scene
from tests.support.site import engines_at
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from server.model.identifiers import TenantId

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENCE_SECONDS = 60.0
# One process for all: starting the command line takes longer than what it does here.
PROGRAM = """
import contextlib, io, json, sys
from clients.cli.program import run
for line in sys.stdin:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        run(json.loads(line))
    sys.stdout.write(out.getvalue())
    sys.stdout.flush()
"""
_ASK = {"accept-site", "adopt", "deprovision", "release"}
# What stands in capitals for what nobody knows is for a person to fill in.
_FILLED_IN = {
    "COUNTRY": "KE",
    "CURRENCY": "KES",
    "CHART": "Standard",
    "USER": "till@example.com",
    "METHOD": "Cash",
    "AMOUNT": "0",
}
WHY = OrderTerms(reason="a test")


@dataclass
class Service:
    """A service that drives nothing, its database, and a command line that calls it."""

    scene: Scene
    program: asyncio.subprocess.Process
    names: count[int] = field(default_factory=count)

    @property
    def name(self) -> str:
        """A name that no other tenant has."""
        return f"Shop {next(self.names)}"

    async def give(self, command: str) -> dict[str, Any]:
        """Give a command as it stands, with a yes where it asks; but nothing is watched."""
        words = [_FILLED_IN.get(word, word) for word in shlex.split(command)[1:]]
        words = [word for word in words if word != "--watch"]
        words += ["--yes"] if words[0] in _ASK and "--yes" not in words else []
        assert self.program.stdin is not None
        assert self.program.stdout is not None
        self.program.stdin.write(f"{json.dumps([*words, '--json'])}\n".encode())
        await self.program.stdin.drain()
        async with asyncio.timeout(PATIENCE_SECONDS):
            said = await self.program.stdout.readline()
        document: dict[str, Any] = json.loads(said)
        return document

    async def must_take(self, command: str, named_by: str) -> dict[str, Any]:
        """Give a command that was named, and see that it is not refused."""
        said = await self.give(command)
        assert "error" not in said, f"{named_by} names {command!r}: {said['error']['message']}"
        return said


async def _never_begun(here: Service) -> TenantId:
    tenant_id = await here.scene.start(here.name)
    for table in ("steps", "runs"):
        await here.scene.sql(f"DELETE FROM {table} WHERE tenant_id = :id", id=tenant_id)  # noqa: S608 - our own names
    await here.scene.sql(
        "UPDATE tenants SET run_id = NULL, state = 'PENDING' WHERE id = :id", id=tenant_id
    )
    return tenant_id


async def _queued(here: Service) -> TenantId:
    return await here.scene.start(here.name)


async def _driven(here: Service, worker: str, *, ago: timedelta, lease: float) -> TenantId:
    tenant_id, at = await here.scene.start(here.name), utc_now() - ago
    await here.scene.database.submit(
        WorkerOperation(worker_id=WorkerId(worker), at=at, lease_seconds=lease)
    )
    await here.scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = :worker, deadline_at = :until "
        "WHERE tenant_id = :id",
        id=tenant_id,
        worker=worker,
        until=at + timedelta(minutes=30),
    )
    await here.scene.sql("UPDATE tenants SET updated_at = :at WHERE id = :id", id=tenant_id, at=at)
    return tenant_id


async def _running(here: Service) -> TenantId:
    return await _driven(here, "alive", ago=timedelta(0), lease=3600.0)


async def _stalled(here: Service) -> TenantId:
    return await _driven(here, "dead", ago=timedelta(hours=1), lease=1.0)


async def _completed(here: Service) -> TenantId:
    return await here.scene.completed(here.name)


async def _partial(here: Service) -> TenantId:
    return await here.scene.stopped(here.name, OPTIONAL_PASSING)


async def _failed(here: Service) -> TenantId:
    return await here.scene.stopped(here.name, PASSING)


async def _stopped_for_good(here: Service) -> TenantId:
    return await here.scene.stopped(here.name, PERMANENT)


async def _record_lost(here: Service) -> TenantId:
    tenant_id = await _partial(here)
    await here.scene.lose_steps(tenant_id)
    return tenant_id


async def _record_lost_in_motion(here: Service) -> TenantId:
    tenant_id = await _queued(here)
    await here.scene.sql("DELETE FROM steps WHERE tenant_id = :id", id=tenant_id)
    return tenant_id


async def _cancelled(here: Service) -> TenantId:
    tenant_id = await _queued(here)
    await here.scene.commands.cancel(LOCAL, tenant_id, WHY)
    return tenant_id


async def _being_removed(here: Service) -> TenantId:
    tenant_id = await _failed(here)
    await here.scene.commands.deprovision(
        LOCAL, tenant_id, WHY, options=UndoOptions(even_if_sold=True)
    )
    return tenant_id


async def _half_removed(here: Service) -> TenantId:
    tenant_id = await _being_removed(here)
    step = "undo_1_trade_check"
    await here.scene.end_run(tenant_id, {step: (ErrorClass.PERMANENT, "LEDGER_ENTRIES")})
    return tenant_id


async def _removed(here: Service) -> TenantId:
    tenant_id = await _being_removed(here)
    await here.scene.end_run(tenant_id)
    return tenant_id


async def _imported_held(here: Service) -> TenantId:
    tenant_id, at = await _never_begun(here), utc_now()
    await _changed(here, tenant_id, "first_completed_at = created_at")
    hold = Hold(reason="IMPORT_COMPANY_GONE: The record says done.", by="imported", since=at)
    await here.scene.database.submit(TenantOperation(tenant_id=tenant_id, at=at, hold=hold))
    return tenant_id


async def _changed(here: Service, tenant_id: TenantId, columns: str) -> TenantId:
    await here.scene.sql(f"UPDATE tenants SET {columns} WHERE id = :id", id=tenant_id)  # noqa: S608 - our own words
    return tenant_id


async def _unreadable(here: Service) -> TenantId:
    return await _changed(here, await _failed(here), "spec = '{}'")


async def _elsewhere(here: Service) -> TenantId:
    return await here.scene.commands.register_elsewhere(
        LOCAL, name=here.name, country_code="UG", kind="odoo", facts={}
    )


async def _not_configured(here: Service) -> TenantId:
    return await _changed(here, await _failed(here), "engine_id = 'gone'")


async def _finished_and_not_configured(here: Service) -> TenantId:
    return await _changed(here, await _completed(here), "engine_id = 'gone'")


async def _of_another_site(here: Service) -> TenantId:
    return await _changed(here, await _failed(here), "site = 'http://gone'")


STANDS = [
    _never_begun, _queued, _running, _stalled, _completed, _partial, _failed, _stopped_for_good,
    _record_lost, _record_lost_in_motion, _cancelled, _being_removed, _half_removed, _removed,
    _imported_held, _unreadable, _elsewhere, _not_configured, _finished_and_not_configured,
    _of_another_site,
]  # fmt: skip
ORDERS = (
    "continue ID",
    "retry ID",
    "skip ID --step step_4_warehouses --reason x",
    "cancel ID",
    "adopt ID",
    "release ID",
    "deprovision ID",
    "verify ID",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """Serve over a store whose driver lock is somebody else's."""
    file = tmp_path_factory.mktemp("next") / "provisioner.db"
    await copied_store(file)
    async with contextlib.AsyncExitStack() as stack:
        lock = stack.enter_context(file.with_name(f"{file.name}.driver").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        site = await stack.enter_async_context(StandIn())
        settings = load_settings(
            config=None,
            overrides={
                "database_url": f"sqlite+aiosqlite:///{file}",
                "auth": "off",
                "grpc_address": "127.0.0.1:0",
                "http_address": "127.0.0.1:0",
            },
            environ={},
        )
        app = App(settings, engines_at(site.url))
        core = (await stack.enter_async_context(app)).core
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM,
            env={**os.environ, "PROVISIONER_GRPC_ADDRESS": f"127.0.0.1:{app.grpc_port}"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )  # fmt: skip
        stack.push_async_callback(program.wait)
        stack.callback(program.kill)
        scene = Scene(database=core.database, commands=core.commands, clock=utc_now)  # type: ignore[arg-type]  # it is not set by hand here
        yield Service(scene, program)


def _held(stand: Callable[[Service], Awaitable[TenantId]]) -> Any:  # Any: a parameter
    async def held(here: Service) -> TenantId:
        tenant_id, at = await stand(here), utc_now()
        hold = Hold(reason="somebody asked", by="jane", since=at)
        await here.scene.database.submit(TenantOperation(tenant_id=tenant_id, at=at, hold=hold))
        return tenant_id

    return pytest.param(held, id=f"held{stand.__name__}")


ALL = [pytest.param(stand, id=stand.__name__.removeprefix("_")) for stand in STANDS]
# A hold changes what is named for these; the others refuse and take the same as without one.
HELD = [_held(stand) for stand in (_running, _completed, _failed, _half_removed, _removed)]


@pytest.mark.parametrize("stand", [*ALL, *HELD])
async def test_what_a_status_and_a_diagnosis_name_is_not_refused(
    here: Service, stand: Callable[[Service], Awaitable[TenantId]]
) -> None:
    tenant_id = await stand(here)
    if command := (await here.give(f"provisioner status {tenant_id}"))["next_command"]:
        await here.must_take(command, "status")
    number = 0
    while True:
        # Each on a tenant that stands there: the one before may have moved it.
        tenant_id = await stand(here)
        causes = (await here.give(f"provisioner diagnose {tenant_id}"))["causes"]
        if number >= len(causes):
            break
        if command := causes[number]["remedy"]["command"]:
            await here.must_take(command, f"diagnose, of {causes[number]['code']},")
        number += 1


@pytest.mark.parametrize("stand", ALL)
async def test_what_a_refusal_names_is_not_refused(
    here: Service, stand: Callable[[Service], Awaitable[TenantId]]
) -> None:
    for order in ORDERS:
        tenant_id = await stand(here)
        refusal = (await here.give(f"provisioner {order.replace('ID', tenant_id)}")).get("error")
        left = deque([] if refusal is None else [refusal["next_command"]])
        while left:
            command = left.popleft()
            said = await here.must_take(command, f"the refusal of {order!r}")
            # Who is sent to a status is sent on by that.
            if command.startswith("provisioner status ") and said["next_command"] != command:
                left.extend([said["next_command"]] if said["next_command"] else [])
