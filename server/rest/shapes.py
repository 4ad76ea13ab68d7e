"""The shapes of what the old API answers, for its description at /openapi.json."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class StepFault(BaseModel):
    """What is wrong with one step."""

    step: str
    error: str


class StatusAnswer(BaseModel):
    """Where a tenant stands."""

    status: str
    current_step: str | None
    progress: float
    steps_completed: int
    total_steps: int
    errors: list[StepFault]
    estimated_completion: str | None
    started_at: str | None
    completed_at: str | None


class LogLine(BaseModel):
    """What became of one step."""

    step: str
    status: str
    message: str
    error: str | None
    completed_at: str | None
    duration_ms: float | None


class LogAnswer(BaseModel):
    """What became of each step, in step order."""

    logs: list[LogLine]


class TenantRef(BaseModel):
    """A tenant's id and names."""

    id: str
    name: str
    code: str
    engine: str


class SignedIn(BaseModel):
    """A token, and the user it belongs to."""

    access_token: str
    token_type: str
    user_id: str
    user_code: str
    email: str
    full_name: str | None
    kyc_tier: str
    tenants: list[TenantRef]


class TenantSignIn(BaseModel):
    """A token for one tenant; or, if it is not clear which, the tenants to choose from."""

    access_token: str | None = None
    token_type: str | None = None
    tenant: TenantRef | None = None
    message: str | None = None
    tenants: list[TenantRef] | None = None
    require_tenant_selection: bool | None = None


class CreatedTenant(BaseModel):
    """The tenant that was made."""

    id: str
    code: str
    name: str
    category: str
    description: str | None
    engine: str


class Person(BaseModel):
    """A person of a tenant; never with an `id`: scripts take any `id` for the tenant's."""

    code: str
    email: str
    role: str


class Company(BaseModel):
    """What is known about the Company at the engine."""

    created: bool
    name: str
    message: str


class Begun(BaseModel):
    """Says that the first run is open."""

    status: str
    progress: float
    current_step: str | None
    steps_completed: int
    total_steps: int
    message: str


class Created(BaseModel):
    """Answers the creation of a tenant; only engine "erpnext" has the last two fields."""

    message: str
    tenant: CreatedTenant
    owner: Person
    admin: Person
    company: Company | None = None
    provisioning: Begun | None = None


class Owner(BaseModel):
    """The owner of a tenant."""

    id: str
    email: str
    full_name: str | None


class ListedTenant(BaseModel):
    """One tenant of the list."""

    id: str
    tenant_code: str
    name: str
    country_code: str
    status: str
    engine: str
    member_count: int
    owner: Owner | None
    created_at: str


class TenantPage(BaseModel):
    """A page of tenants, newest first."""

    total: int
    tenants: list[ListedTenant]
    skip: int
    limit: int


class Invited(BaseModel):
    """An invitation."""

    message: str
    invitation_code: str
    user_code: str
    type: str


class EngineHealth(BaseModel):
    """Whether the engine takes work, as it was last seen."""

    erpnext_host: str | None
    erpnext_site: str | None
    erpnext_user: str | None
    tenant_id: str | None
    resolved_site: str | None
    connected: bool
    authenticated: bool
    error: str | None
    message: str


class OneHealth(BaseModel):
    """The engine of one tenant."""

    status: str
    engine: str | None
    message: str
    checked_at: str
    response_time_ms: float | None
    error: str | None


class HealthResults(BaseModel):
    """The engines of some tenants, by tenant id."""

    results: dict[str, OneHealth]


class MembershipLine(BaseModel):
    """A tenant that the caller belongs to."""

    id: str
    name: str
    code: str
    engine: str
    status: str
    role: str
    membership_status: str


class Healthy(BaseModel):
    """Says that the service is there, or ready."""

    status: str


class Message(BaseModel):
    """A message for people."""

    message: str


class Fault(BaseModel):
    """A request that failed: a text, an object with `type` and `message`, or wrong fields."""

    detail: str | dict[str, Any] | list[dict[str, Any]]
