"""What /openapi.json says about the old API: shapes, answers and true examples.

A test compares the examples with what the server really answers.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.rest import bodies

Said = dict[Any, Any]  # Any: OpenAPI is JSON; FastAPI wants statuses as numbers


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


RUNNING: Said = {
    "status": "IN_PROGRESS",
    "current_step": "step_0_engine_check",
    "progress": 0.0,
    "steps_completed": 0,
    "total_steps": 10,
    "errors": [],
    "estimated_completion": None,
    "started_at": None,
    "completed_at": None,
}
STOPPED: Said = {
    "status": "PARTIAL",
    "current_step": "step_9_pos_session",
    "progress": 90.0,
    "steps_completed": 9,
    "total_steps": 10,
    "errors": [
        {
            "step": "step_9_pos_session",
            "error": "POS Opening Entry refused: user cashier@example.com is disabled",
        }
    ],
    "estimated_completion": None,
    "started_at": "2026-03-01T08:15:04.120000Z",
    "completed_at": "2026-03-01T08:16:40.002000Z",
}
LOG_LINES: Said = {
    "logs": [
        {
            "step": "step_0_engine_check",
            "status": "completed",
            "message": "Engine check: done",
            "error": None,
            "completed_at": "2026-03-01T08:15:05.010000Z",
            "duration_ms": 212.4,
        },
        {
            "step": "step_6_items",
            "status": "skipped",
            "message": "Demo items not requested",
            "error": None,
            "completed_at": "2026-03-01T08:15:30.000000Z",
            "duration_ms": 0,
        },
    ]
}
_TENANT = {
    "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
    "name": "Kijani Stores",
    "code": "TEN-KE-26-4H8ZP",
    "engine": "erpnext",
}
SIGNED_IN: Said = {
    "access_token": "eyJ...",
    "token_type": "bearer",
    "user_id": "5b0e4c1e-0f52-4f1a-9a55-7f3f0f6c2a01",
    "user_code": "USR-KE-26-7Q2MD",
    "email": "owner@example.com",
    "full_name": "Shop Owner",
    "kyc_tier": "KYC-T1",
    "tenants": [_TENANT],
}
CREATED: Said = {
    "message": "Tenant created successfully",
    "tenant": {
        "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
        "code": "TEN-KE-26-4H8ZP",
        "name": "Kijani Stores",
        "category": "Enterprise",
        "description": "Corner shop",
        "engine": "erpnext",
    },
    "owner": {"code": "USR-KE-26-7Q2MD", "email": "owner@example.com", "role": "OWNER"},
    "admin": {"code": "USR-KE-26-7Q2MD", "email": "owner@example.com", "role": "ADMIN"},
    "company": {
        "created": False,
        "name": "Kijani Stores",
        "message": "Company will be created by provisioning",
    },
    "provisioning": {
        "status": "IN_PROGRESS",
        "progress": 0,
        "current_step": "step_0_engine_check",
        "steps_completed": 0,
        "total_steps": 10,
        "message": "Provisioning started in background",
    },
}
LISTED: Said = {
    "total": 1,
    "tenants": [
        {
            "id": "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10",
            "tenant_code": "TEN-KE-26-4H8ZP",
            "name": "Kijani Stores",
            "country_code": "KE",
            "status": "COMPLETED",
            "engine": "erpnext",
            "member_count": 1,
            "owner": {
                "id": "5b0e4c1e-0f52-4f1a-9a55-7f3f0f6c2a01",
                "email": "owner@example.com",
                "full_name": "Shop Owner",
            },
            "created_at": "2026-03-01T08:15:04.120000Z",
        }
    ],
    "skip": 0,
    "limit": 100,
}
ENGINE: Said = {
    "erpnext_host": None,
    "erpnext_site": "main",
    "erpnext_user": None,
    "tenant_id": None,
    "resolved_site": "main",
    "connected": True,
    "authenticated": True,
    "error": None,
    "message": "The engine takes work.",
}
HEALTHS: Said = {
    "results": {
        "0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f10": {
            "status": "online",
            "engine": "erpnext",
            "message": "The engine takes work.",
            "checked_at": "2026-03-01T08:15:04.120000Z",
            "response_time_ms": None,
            "error": None,
        }
    }
}
MEMBER_OF = [
    {**_TENANT, "status": "COMPLETED", "role": "OWNER", "membership_status": "ACTIVE"},
]


def said(
    model: type[BaseModel],
    example: Any,  # Any: JSON
    *faults: int,
    sent: type[BaseModel] | None = None,
    needs_token: bool = True,
    many: bool = False,
) -> Said:
    """Return how a route is documented.

    Args:
        model: The shape of the answer.
        example: A true answer.
        faults: The error statuses of this route; those that any route can have are added.
        sent: The shape of the request's body; None if there is none.
        needs_token: Whether callers must sign in.
        many: Whether the answer is a list of that shape.
    """
    EXAMPLES.append((list[model] if many else model, example))  # type: ignore[valid-type]  # made at run time
    tokens = (401, 403) if needs_token else ()
    shape = reference(model)
    answer = {"schema": {"type": "array", "items": shape} if many else shape, "example": example}
    responses: Said = {200: {"description": "OK", "content": {"application/json": answer}}}
    responses |= {
        code: {"description": _FAULTS[code], "content": _FAULT}
        for code in sorted({*tokens, *faults, 429, 500, 503})
    }
    extra: Said = {"security": [{"bearer": []}] if needs_token else []}
    if sent is not None:
        extra["requestBody"] = {
            "required": any(field.is_required() for field in sent.model_fields.values()),
            "content": {"application/json": {"schema": reference(sent)}},
        }
    return {"responses": responses, "openapi_extra": extra}


def reference(model: type[BaseModel]) -> Said:
    """Return a reference to a shape, which is only worked out when the description is read."""
    _SHAPES[model.__name__] = model
    return {"$ref": _REF.format(model=model.__name__)}


def schemas() -> Said:
    """Return the shapes that are referred to."""
    modes = [
        (model, "validation" if issubclass(model, bodies.Sent) else "serialization")
        for model in _SHAPES.values()
    ]
    _, found = models_json_schema(modes, ref_template=_REF)  # type: ignore[arg-type]  # literals
    shapes: Said = found["$defs"]
    return shapes


# Every answer's shape with its example, for the test that compares them.
EXAMPLES: list[tuple[Any, Any]] = []  # Any: a model or a list of one; JSON
_REF = "#/components/schemas/{model}"
_SHAPES: dict[str, type[BaseModel]] = {}
_FAULT: Said = {"application/json": {"schema": reference(Fault)}}
_FAULTS = {
    400: "The request does not fit: the tenant's id is no UUID, or the step can't be skipped.",
    401: "Not signed in, or no longer.",
    403: "Not the caller's to see or to do.",
    404: "There is no such tenant, or no record of its provisioning.",
    409: "It is there already, or in motion.",
    422: "One or more fields are wrong; each is named.",
    429: "Too many at once; `Retry-After` says when to come again.",
    500: "The server met an error of its own.",
    503: "The engine or the database does not take work now.",
}

_ID = (400, 404)
START = said(StatusAnswer, RUNNING, *_ID, 409, 422, sent=bodies.StartOptions)
STATUS = said(StatusAnswer, STOPPED, *_ID)
RETRY = said(StatusAnswer, RUNNING, *_ID, 409, 422, sent=bodies.RetryOptions)
CONTINUE = said(StatusAnswer, RUNNING, *_ID, 409)
SKIP_STEP = said(StatusAnswer, RUNNING, *_ID, 409, 422, sent=bodies.SkippedStep)
LOGS = said(LogAnswer, LOG_LINES, *_ID)
SIGN_IN = said(SignedIn, SIGNED_IN, 401, 422, sent=bodies.SignIn, needs_token=False)
SIGN_IN_TO_TENANT = said(
    TenantSignIn,
    {"access_token": "eyJ...", "token_type": "bearer", "tenant": _TENANT},
    401,
    403,
    422,
    sent=bodies.SignInToTenant,
    needs_token=False,
)
CREATE = said(Created, CREATED, 409, 422, sent=bodies.NewTenant)
LIST = said(TenantPage, LISTED, 422)
INVITE = said(
    Invited,
    {
        "message": "Invitation created",
        "invitation_code": "INV-4H8ZP7Q2MD",
        "user_code": "USR-KE-26-7Q2MD",
        "type": "INVITED_NEW",
    },
    *_ID,
    409,
    422,
    sent=bodies.Invitation,
)
ENGINE_HEALTH = said(EngineHealth, ENGINE)
ENGINES_HEALTH = said(HealthResults, HEALTHS, 422, sent=bodies.TenantIds)
MEMBERSHIPS = said(MembershipLine, MEMBER_OF, many=True)
HEALTH = said(Healthy, {"status": "healthy"}, needs_token=False)
READY = said(Healthy, {"status": "ready"}, needs_token=False)
ROOT = said(Message, {"message": "Tenant provisioner"}, needs_token=False)
METRICS: Said = {
    "responses": {
        200: {
            "description": "The metrics.",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        },
        **{code: {"description": _FAULTS[code], "content": _FAULT} for code in (500, 503)},
    },
    "openapi_extra": {"security": []},
}
