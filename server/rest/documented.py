"""What /openapi.json says about each route of the old API.

`shapes` has the forms of the answers, and `examples` a true one of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.json_schema import models_json_schema

from server.rest import bodies, examples, shapes

if TYPE_CHECKING:
    from pydantic import BaseModel

Said = dict[Any, Any]  # Any: OpenAPI is JSON; FastAPI wants statuses as numbers


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
    described: Said = found["$defs"]
    return described


# Every answer's shape with its example, for the test that compares them.
EXAMPLES: list[tuple[Any, Any]] = []  # Any: a model or a list of one; JSON
_REF = "#/components/schemas/{model}"
_SHAPES: dict[str, type[BaseModel]] = {}
_FAULT: Said = {"application/json": {"schema": reference(shapes.Fault)}}
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
START = said(shapes.StatusAnswer, examples.RUNNING, *_ID, 409, 422, sent=bodies.StartOptions)
STATUS = said(shapes.StatusAnswer, examples.STOPPED, *_ID)
RETRY = said(shapes.StatusAnswer, examples.RUNNING, *_ID, 409, 422, sent=bodies.RetryOptions)
CONTINUE = said(shapes.StatusAnswer, examples.RUNNING, *_ID, 409)
SKIP_STEP = said(shapes.StatusAnswer, examples.RUNNING, *_ID, 409, 422, sent=bodies.SkippedStep)
LOGS = said(shapes.LogAnswer, examples.LOG_LINES, *_ID)
SIGN_IN = said(shapes.SignedIn, examples.SIGNED_IN, 401, 422, sent=bodies.SignIn, needs_token=False)
SIGN_IN_TO_TENANT = said(
    shapes.TenantSignIn,
    examples.SIGNED_IN_TO_TENANT,
    401,
    403,
    422,
    sent=bodies.SignInToTenant,
    needs_token=False,
)
CREATE = said(shapes.Created, examples.CREATED, 409, 422, sent=bodies.NewTenant)
LIST = said(shapes.TenantPage, examples.LISTED, 422)
INVITE = said(shapes.Invited, examples.INVITED, *_ID, 409, 422, sent=bodies.Invitation)
ENGINE_HEALTH = said(shapes.EngineHealth, examples.ENGINE)
ENGINES_HEALTH = said(shapes.HealthResults, examples.HEALTHS, 422, sent=bodies.TenantIds)
MEMBERSHIPS = said(shapes.MembershipLine, examples.MEMBER_OF, many=True)
HEALTH = said(shapes.Healthy, {"status": "healthy"}, needs_token=False)
READY = said(shapes.Healthy, {"status": "ready"}, needs_token=False)
ROOT = said(shapes.Message, {"message": "Tenant provisioner"}, needs_token=False)
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
