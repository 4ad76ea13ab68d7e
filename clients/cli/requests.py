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
    """What all commands that call the service have in common.

    Attributes:
        address: The service's `host:port`.
        timeout_seconds: The longest one call may take, in seconds.
        as_json: Whether stdout holds JSON only.
    """

    address: str
    timeout_seconds: float
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Login(Request):
    """Sign in, and keep the token.

    Attributes:
        email: Who signs in.
        password: The password; never shown in a repr.
        tls: Whom to trust, and what to show the service; kept with the token.
    """

    email: str
    password: str = field(repr=False)
    tls: TlsFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle(Request):
    """Write everything about a tenant into one file.

    Attributes:
        tenant: The tenant's id.
        file: The file to write; one that exists is overwritten.
        skip_engine: Whether to look at the database only.
    """

    tenant: str
    file: str
    skip_engine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WhoAmI(Request):
    """Show who one is to the service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a tenant should have, as it was typed; for None the service's default holds.

    Attributes:
        company_name: The company's name; "" if there was none.
        country: ISO 3166-1 alpha-2 code.
        currency: ISO 4217 code.
        chart: The name of a chart of accounts.
        demo_data: Whether to make demo items.
        pos_store: Whether the shop has a warehouse of its own.
        till_user: The ERPNext user whose till is opened.
        engine: The engine's id.
        payments: Means of payment, the default one first; none for the service's default.
        opening_amount: What is in the till of each of these, in the tenant's currency.
    """

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
    """Provision a new tenant.

    Attributes:
        spec: What it should have.
        tenant_id: Its UUID; None to have the service choose one.
        request_id: Names the order; given again it is the same one.
        watch: Whether to follow the tenant until it is at rest.
        plan: Whether to show the plan first, and ask whether to go on.
        yes: Whether that question is answered beforehand.
    """

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
    """Show a tenant's log.

    Attributes:
        tenant: The tenant's id.
        after: The cursor after which to begin; 0 for everything that is kept.
        follow: Whether to stay until the tenant is at rest.
    """

    tenant: str
    after: int
    follow: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Continue(Request):
    """Continue with the steps that are not done.

    Attributes:
        tenant: The tenant's id.
        reason: Why, for the record; "" if none was given.
        expected_revision: Only if the tenant still has this revision; None in any case.
        request_id: Names the order; given again it is the same one.
        watch: Whether to follow the tenant until it is at rest.
    """

    tenant: str
    reason: str
    expected_revision: int | None
    request_id: str
    watch: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry(Request):
    """Check all steps again, or those from a given one on.

    Attributes:
        tenant: The tenant's id.
        step: The step to begin with; "" for all.
        reason: Why, for the record; "" if none was given.
        expected_revision: Only if the tenant still has this revision; None in any case.
        request_id: Names the order; given again it is the same one.
        watch: Whether to follow the tenant until it is at rest.
    """

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
    """List tenants; an empty filter matches all.

    Attributes:
        text: The beginning of a word in the company's name, or of the tenant's id.
        states: Words such as "FAILED"; any of them.
        engine: The engine's id.
        held: Only held tenants, or only those that are not; None for both.
        stuck_seconds: Only those that have not been well for longer than this; None for all.
        order: The word of the contract behind LIST_ORDER_.
        limit: The most tenants to show.
        page_token: Where an earlier list ended; "" for the beginning.
    """

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
    """Say what a run would find and make: for a tenant, or for a spec.

    Attributes:
        tenant: The tenant's id; "" if there is a spec.
        spec: What a new tenant should have; None if there is a tenant.
    """

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
    """List what sweeps found.

    Attributes:
        tenant: Only this tenant's; "" for all.
        open_only: Only those that are not over.
        person_only: Only those for which a person must act.
        members: Also those that are counted in another finding.
        limit: The most findings to show.
    """

    tenant: str
    open_only: bool
    person_only: bool
    members: bool
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Request):
    """Report what got stuck in a period.

    Attributes:
        begins_at: The period's start in Unix seconds; None for a day before its end.
        ends_at: The period's end in Unix seconds; None for now.
        hours: How long the period is, in place of `begins_at`; None if that holds.
    """

    begins_at: float | None
    ends_at: float | None
    hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix(Request):
    """Diagnose, show the remedy, ask, apply, follow; all stuck tenants where none is named.

    Attributes:
        tenant: The tenant's id; "" with `all_stuck`.
        all_stuck: Whether it is for all tenants that a sweep finds stuck.
        dry_run: Whether only to show.
        yes: Whether every question is answered beforehand.
    """

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
    """An order on a tenant, with what every one carries.

    Attributes:
        tenant: The tenant's id.
        reason: Why, for the record; "" if none was given.
        expected_revision: Only if the tenant still has this revision; None in any case.
        request_id: Names the order; given again it is the same one.
    """

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
