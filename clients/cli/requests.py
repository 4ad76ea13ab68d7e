"""What a person asked for on the command line, as values.

Light on purpose, so that parsing and `--help` need neither gRPC nor the contract's messages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.cli.connection import TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What all commands that call the service have in common."""

    address: str
    timeout_seconds: float
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Login(Request):
    """Sign in, and keep the token."""

    email: str
    password: str = field(repr=False)
    tls: TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Request):
    """Write everything about a tenant into one file."""

    tenant: str
    file: str
    skip_engine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI(Request):
    """Show who one is to the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a tenant should have, as it was typed; for None the service's default holds."""

    company_name: str = ""
    country: str | None = None
    currency: str | None = None
    chart: str | None = None
    demo_data: bool | None = None
    pos_store: bool | None = None
    till_user: str | None = None
    engine: str | None = None
    payments: tuple[str, ...] = ()
    opening_amount: float | None = None


# The option was not given.
NO_SPEC = Spec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Start(Request):
    """Provision a new tenant."""

    spec: Spec
    tenant_id: str | None
    request_id: str
    watch: bool
    # Show the plan first and ask whether to go on; `yes` agrees beforehand.
    plan: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Status(Request):
    """Show where a tenant stands."""

    tenant: str
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs(Request):
    """Show a tenant's log."""

    tenant: str
    after: int
    follow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(Request):
    """Continue with the steps that are not done."""

    tenant: str
    reason: str
    expected_revision: int | None
    request_id: str
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Request):
    """Check all steps again, or those from a given one on."""

    tenant: str
    step: str
    reason: str
    expected_revision: int | None
    request_id: str
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnose(Request):
    """Say why a tenant stands where it stands."""

    tenant: str
    skip_engine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListTenants(Request):
    """List tenants; an empty filter matches all."""

    text: str
    states: tuple[str, ...]
    engine: str
    held: bool | None
    stuck_seconds: float | None
    order: str
    limit: int
    page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Request):
    """Say what a run would find and make: for a tenant, or for a spec."""

    tenant: str
    spec: Spec | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify(Request):
    """Show how a tenant differs from what it should have."""

    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep(Request):
    """Make one sweep now, or say what it would do."""

    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSweeps(Request):
    """List sweeps that found something."""

    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFindings(Request):
    """List what sweeps found."""

    tenant: str
    open_only: bool
    person_only: bool
    members: bool
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Request):
    """Report what got stuck in a period; times as Unix seconds."""

    begins_at: float | None
    ends_at: float | None
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix(Request):
    """Diagnose, show the remedy, ask, apply, follow; all stuck tenants where none is named."""

    tenant: str
    all_stuck: bool
    dry_run: bool
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch(Request):
    """Show where a tenant stands, and each change."""

    tenant: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order(Request):
    """An order on a tenant, with what every one carries."""

    tenant: str
    reason: str
    expected_revision: int | None
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip(Order):
    """Leave a step out."""

    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Order):
    """Stop a run."""

    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Deprovision(Order):
    """Remove what was made for a tenant."""

    even_if_sold: bool
    delete_transactions: bool
    dry_run: bool
    yes: bool
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt(Order):
    """Accept a Company that is there."""

    dry_run: bool
    yes: bool
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Order):
    """Lift a hold, or end a dead lease."""

    dry_run: bool
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StartMany(Request):
    """Start every tenant of a file."""

    file: str
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptSite(Request):
    """Accept an engine's site as it is."""

    engine: str
    reason: str
    dry_run: bool
    yes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEngines(Request):
    """Show how the engines stand."""
