"""What a look at a whole tenant found: step by step, what exists and what differs.

Pure values. A survey says nothing about the engine's own troubles: if it could not be asked,
there is no survey (`server.errors.EngineNotReady`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.difference import Difference
    from server.model.spec import TenantSpec

# A run probes each step twice, and once more at its end.
_LOOK_SECONDS = 0.015
# Assumed for a write that was never measured.
_WRITE_SECONDS = 0.05


@unique
class Stand(StrEnum):
    """How the engine compares with what a step wants.

    OK: everything exists and is right. MISSING: something does not exist, or is wrong in a way
    the step fixes itself. FOREIGN: a document of that name is somebody else's. DIFFERENT: it
    is ours but not as wanted, which a person must fix. SKIPPED: the tenant does not need it.
    UNKNOWN: not examined, because a step it depends on is not as it should be.
    """

    OK = "OK"
    MISSING = "MISSING"
    FOREIGN = "FOREIGN"
    DIFFERENT = "DIFFERENT"
    SKIPPED = "SKIPPED"
    UNKNOWN = "UNKNOWN"


@unique
class Whose(StrEnum):
    """Whose a document is, according to the tenant's record.

    CREATED and ADOPTED are the record's own words; UNRECORDED exists, is right, and would be
    adopted; SHARED belongs to the whole site.
    """

    CREATED = "CREATED"
    ADOPTED = "ADOPTED"
    UNRECORDED = "UNRECORDED"
    SHARED = "SHARED"


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSeen:
    """A document that exists.

    Attributes:
        doctype: Its doctype.
        name: Its name at the engine; our own key if the engine makes up the names.
        whose: Whose it is, by the tenant's record.
        owner: The ERPNext user who made it; "" if not read.
        created_at: When it was made, in UTC; None if not read.
    """

    doctype: str
    name: str
    whose: Whose
    owner: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLook:
    """One step, as found at the engine.

    Attributes:
        key: Its key in the blueprint.
        title: Its name for people.
        required: Whether the tenant is unusable without it.
        stand: How it compares with what the step wants.
        documents: What exists.
        missing: What a run would make or change (for MISSING).
        differences: What a person must fix, field by field (FOREIGN, DIFFERENT).
        code: Stable code of a conflict, or "".
        message: What is wrong and what to do, in plain words; "" if all is well. It may name other
            tenants.
        public: The same without other tenants' names, if it has any; else "".
        notes: What else a person may want to know.
        outputs: Facts the step gives to others (names, time zone, …).
        requests: How many reads this look took.
    """

    key: str
    title: str
    required: bool
    stand: Stand
    documents: tuple[DocumentSeen, ...] = ()
    missing: tuple[Difference, ...] = ()
    differences: tuple[Difference, ...] = ()
    code: str = ""
    message: str = ""
    notes: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0
    public: str = ""

    @property
    def told(self) -> str:
        """The message for whoever sees the tenant."""
        return self.public or self.message

    @property
    def without_others(self) -> StepLook:
        """The same without names of other tenants."""
        differences = tuple(each.told for each in self.differences)
        return replace(self, differences=differences, message=self.told, public="")

    @property
    def expected_requests(self) -> int:
        """How many requests a run would need for this step, about."""
        if self.stand is Stand.MISSING:
            return 2 * self.requests + len(self.missing)
        return self.requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A whole tenant as the engine has it, step by step.

    The final check is no part of it: it repeats these looks.

    Attributes:
        spec: What was looked for.
        engine_id: Where.
        looked_at: When the look began, in UTC.
        seconds: How long it took.
        steps: In the blueprint's order.
        write_seconds: What the making of one document takes, in seconds, by doctype.
        seconds_for_each_company: How many seconds longer a Company takes for each that is there.
    """

    spec: TenantSpec
    engine_id: str
    looked_at: datetime
    seconds: float
    steps: tuple[StepLook, ...]
    write_seconds: Mapping[str, float] = field(default_factory=dict)
    seconds_for_each_company: float = 0.0

    @property
    def clean(self) -> bool:
        """Whether every step stands as the tenant needs it."""
        return all(step.stand in {Stand.OK, Stand.SKIPPED} for step in self.steps)

    @property
    def without_others(self) -> Survey:
        """The same without names of other tenants, for who may not know of them."""
        return replace(self, steps=tuple(step.without_others for step in self.steps))

    @property
    def conflicts(self) -> tuple[StepLook, ...]:
        """Steps that a run would stop at until a person decides."""
        return tuple(step for step in self.steps if step.code)

    @property
    def engine(self) -> str:
        """What the engine said of itself, in a line; "" if it was not asked."""
        check = self.steps[0].outputs if self.steps else {}
        if "erpnext_version" not in check:
            return ""
        return (
            f"ERPNext {check['erpnext_version']} (Frappe {check['frappe_version']}), "
            f"as {check['api_user']}, time zone {check['time_zone']}"
        )

    def step(self, key: str) -> StepLook | None:
        """Return the look at one step; None if the tenant's blueprint has no such step."""
        return next((step for step in self.steps if step.key == key), None)

    @property
    def expected_requests(self) -> int:
        """How many requests a run would need, about; the final check looks at all again."""
        return sum(step.expected_requests + step.requests for step in self.steps)

    def expected_seconds(self, step: StepLook) -> float:
        """How long a run would need for a step, about, on an engine with nothing else to do.

        Returns:
            Seconds, from the blueprint's measured times (for ERPNext, recordings 12-latencies and
            12-company-create-time-grows).
        """
        seconds = step.expected_requests * _LOOK_SECONDS
        for each in step.missing:
            seconds += self.write_seconds.get(each.doctype, _WRITE_SECONDS)
            if each.doctype == "Company":
                there = int(step.outputs.get("companies") or 0)
                seconds += there * self.seconds_for_each_company
        return seconds
