"""Blueprints: the ordered catalogue of steps for one kind of engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.model.spec import TenantSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StepType:
    """One step of a blueprint.

    Attributes:
        key: Stable name, on the wire and in the tables.
        title: Name for people.
        needs: Keys of the steps that must be done before.
        required: Whether the tenant is unusable without it.
        always: Whether every run does it anew, whatever earlier runs did.
        once: Whether a tenant that was COMPLETED once never gets it again.
        last: Whether it runs when all others are settled, even failed ones.
        demo_only: Whether it is part of a run only with demo data.
        deadline_seconds: Longest time one attempt may take.
    """

    key: str
    title: str
    needs: tuple[str, ...] = ()
    required: bool = True
    always: bool = False
    once: bool = False
    last: bool = False
    demo_only: bool = False
    deadline_seconds: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """An ordered catalogue of steps, with a version that runs remember."""

    name: str
    version: int
    steps: tuple[StepType, ...]

    def steps_for(self, spec: TenantSpec) -> tuple[StepType, ...]:
        """Return the steps of a run for `spec`, in order."""
        return tuple(step for step in self.steps if spec.include_demo_data or not step.demo_only)

    def step(self, key: str) -> StepType | None:
        """Return the step of that key, or None."""
        return next((step for step in self.steps if step.key == key), None)

    def and_those_that_need(self, keys: Iterable[str]) -> frozenset[str]:
        """Return `keys` and all steps that need one of them, directly or not."""
        wanted = set(keys)
        for step in self.steps:  # needs point backwards only, so one pass is enough
            if wanted.intersection(step.needs):
                wanted.add(step.key)
        return frozenset(wanted)


# Content: what each step makes is in server/erpnext/steps. A Company takes 1.6 s to
# 11 s and about 0.2 s more for each Company of the site (recording
# 12-company-create-time-grows), hence the long deadline of step_2.
ERPNEXT = Blueprint(
    name="erpnext",
    version=1,
    steps=(
        StepType(key="step_0_engine_check", title="Engine check", always=True),
        StepType(
            key="step_1_platform_setup", title="Platform setup", needs=("step_0_engine_check",)
        ),
        StepType(
            key="step_2_company",
            title="Company",
            needs=("step_0_engine_check", "step_1_platform_setup"),
            deadline_seconds=420.0,
        ),
        StepType(
            key="step_3_chart_of_accounts", title="Chart of accounts", needs=("step_2_company",)
        ),
        StepType(key="step_4_warehouses", title="Warehouses", needs=("step_2_company",)),
        StepType(
            key="step_5_settings",
            title="Settings and price list",
            needs=("step_1_platform_setup", "step_2_company"),
        ),
        StepType(
            key="step_6_items",
            title="Demo items",
            needs=("step_4_warehouses", "step_5_settings"),
            required=False,
            demo_only=True,
        ),
        # The customer is named after the Company's abbreviation, hence step_2 too.
        StepType(
            key="step_7_customer",
            title="Walk-in customer",
            needs=("step_1_platform_setup", "step_2_company"),
        ),
        StepType(
            key="step_8_pos_profile",
            title="POS profile",
            needs=(
                "step_3_chart_of_accounts",
                "step_4_warehouses",
                "step_5_settings",
                "step_7_customer",
            ),
        ),
        StepType(
            key="step_9_pos_session",
            title="Till",
            needs=("step_8_pos_profile",),
            required=False,
            once=True,
        ),
        StepType(
            key="step_10_post_sale_updates",
            title="Final check",
            required=False,
            last=True,
            always=True,
        ),
    ),
)

# Ten steps that do nothing: what the machinery itself costs (benchmarks, selftest).
NOOP = Blueprint(
    name="noop",
    version=1,
    steps=tuple(
        StepType(
            key=f"step_{position}_noop",
            title=f"No-op {position}",
            needs=(f"step_{position - 1}_noop",) if position else (),
        )
        for position in range(10)
    ),
)

BLUEPRINTS = {blueprint.name: blueprint for blueprint in (ERPNEXT, NOOP)}
