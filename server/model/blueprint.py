"""Blueprints: the ordered catalogue of steps for one kind of engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

from server.model.states import Order

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from server.model.records import Run
    from server.model.spec import TenantSpec


class Skippable(Enum):
    """Who may order that a step be left out."""

    BY_NOBODY = auto()
    BY_OPERATORS = auto()
    BY_ANYBODY = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepType:
    """One step of a blueprint.

    Attributes:
        key: Stable name, on the wire and in the tables.
        title: Name for people.
        needs: Keys of the steps that must be done before it.
        required: Whether the tenant is unusable without it.
        always: Whether every run does it again, whatever earlier runs did.
        once: Whether it is never done again for a tenant that was COMPLETED before.
        last: Whether it runs once all others are settled, including those that failed.
        demo_only: Whether only runs with demo data have it.
        deadline_seconds: The longest one attempt may take.
        serial: Whether, for most of its duration, a site does it for one tenant at a time.
        skippable: Who may order that it be left out.
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
    serial: bool = False
    skippable: Skippable = Skippable.BY_NOBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """An ordered catalogue of steps, with a version that runs remember.

    Attributes:
        write_seconds: How long it takes to make one document, by doctype, where that is
            noticeable; for forecasts.
        seconds_for_each_company: How much longer a Company takes for each that exists already.
    """

    name: str
    version: int
    steps: tuple[StepType, ...]
    write_seconds: Mapping[str, float] = field(default_factory=dict)
    seconds_for_each_company: float = 0.0

    def steps_for(self, spec: TenantSpec) -> tuple[StepType, ...]:
        """Return the steps of a run, in order.

        Args:
            spec: If it wants no demo data, the steps that make it are left out.
        """
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


# What each step makes is in server/erpnext/steps. A Company takes 1.6 s to 11 s, and about
# 0.2 s more for each Company on the site (recording 12-company-create-time-grows), hence the
# long deadline of step_2.
ERPNEXT = Blueprint(
    name="erpnext",
    version=1,
    # Medians of recording 12-latencies.
    write_seconds={
        "Company": 1.6,
        "Selling Settings": 0.6,
        "Stock Settings": 1.0,
        "POS Profile": 0.6,
    },
    seconds_for_each_company=0.2,
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
            serial=True,
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
            skippable=Skippable.BY_ANYBODY,
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
            # People open tills every day anyway.
            skippable=Skippable.BY_OPERATORS,
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

# Ten steps that do nothing, to measure what the machinery itself costs (benchmarks, selftest).
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

# Removes what was made for a tenant, in the only order that the engine accepts (recordings
# 00-undo-path, 10-delete-wrong-order): a document goes before those it refers to. What each
# step removes is in server/erpnext/undo.
_UNDO_STEPS = (
    ("step_0_engine_check", "Engine check", 120.0),
    ("undo_1_trade_check", "Has the shop sold", 120.0),
    ("undo_2_transactions", "Transactions", 600.0),
    ("undo_3_tills", "Tills", 300.0),
    ("undo_4_pos_profile", "POS profile", 300.0),
    ("undo_5_items", "Demo items", 300.0),
    ("undo_6_customer", "Walk-in customer", 300.0),
    ("undo_7_price_list", "Price list", 300.0),
    ("undo_8_item_group", "Demo item group", 300.0),
    ("undo_9_company_parts", "Accounts and warehouses", 300.0),
    ("undo_10_company", "Company", 600.0),
    ("undo_11_final_check", "Nothing is left", 300.0),
)
ERPNEXT_UNDO = Blueprint(
    name="erpnext-undo",
    version=1,
    steps=tuple(
        StepType(
            key=key,
            title=title,
            needs=(_UNDO_STEPS[position - 1][0],) if position else (),
            always=True,
            deadline_seconds=seconds,
        )
        for position, (key, title, seconds) in enumerate(_UNDO_STEPS)
    ),
)
NOOP_UNDO = Blueprint(
    name="noop-undo",
    version=1,
    steps=(StepType(key="undo_0_noop", title="No-op undo", always=True),),
)

# The blueprints an engine can be configured with.
ENGINE_BLUEPRINTS = {blueprint.name: blueprint for blueprint in (ERPNEXT, NOOP)}
# The blueprints a run can have.
BLUEPRINTS = {
    **ENGINE_BLUEPRINTS,
    ERPNEXT_UNDO.name: ERPNEXT_UNDO,
    NOOP_UNDO.name: NOOP_UNDO,
}
# Blueprints of removals, by the name of the blueprint whose tenants they remove.
UNDO_BLUEPRINTS = {ERPNEXT.name: ERPNEXT_UNDO, NOOP.name: NOOP_UNDO}


def blueprint_of(run: Run | None, blueprint: Blueprint) -> Blueprint:
    """Return the blueprint whose steps a run has.

    Args:
        run: The tenant's last run, or None.
        blueprint: The blueprint of the tenant's engine.
    """
    if run is not None and run.order is Order.DEPROVISION:
        return UNDO_BLUEPRINTS.get(blueprint.name, blueprint)
    return blueprint
