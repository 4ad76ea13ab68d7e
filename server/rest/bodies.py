"""What the old clients send: read leniently, checked by type, never echoed.

A body may be empty whatever its content type says, unknown fields are ignored, and an error names
the field without repeating what was sent, because that may be a password.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.limits import MAX_IDS, MAX_OLD_TEXT, MAX_PERSON_NAME
from server.rest.answers import Refusal

if TYPE_CHECKING:
    from starlette.requests import Request

Body = TypeVar("Body", bound=BaseModel)


class Sent(BaseModel):
    """A body; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class SignIn(Sent):
    """Who signs in."""

    email: str = Field(max_length=MAX_OLD_TEXT, examples=["admin@moran.com"])
    password: str = Field(max_length=MAX_OLD_TEXT, examples=["admin123"])


class SignInToTenant(SignIn):
    """Who signs in, and to which tenant."""

    tenant_id: str | None = Field(default=None, max_length=MAX_OLD_TEXT)


class NewTenant(Sent):
    """A tenant that signs up."""

    name: str = Field(max_length=MAX_OLD_TEXT, examples=["Kijani Stores"])
    admin_email: str = Field(min_length=1, max_length=MAX_OLD_TEXT, examples=["owner@example.com"])
    admin_name: str = Field(max_length=MAX_PERSON_NAME, examples=["Shop Owner"])
    admin_password: str = Field(min_length=1, max_length=MAX_OLD_TEXT, examples=["a long password"])
    category: str = Field(default="Enterprise", max_length=MAX_OLD_TEXT)
    description: str | None = Field(default=None, max_length=MAX_OLD_TEXT)
    country_code: str = Field(default="KE", max_length=MAX_OLD_TEXT)
    engine: str = Field(
        default="odoo",
        max_length=MAX_OLD_TEXT,
        description='"erpnext" is provisioned here; a tenant of another kind has no runs.',
        examples=["erpnext"],
    )


class Invitation(Sent):
    """Who is asked to join a tenant."""

    email: str = Field(
        max_length=254,
        pattern=r"^[^@\s<>,;\"]+@[^@\s<>,;\"]+\.[^@\s<>,;\"]+$",
        examples=["cashier@example.com"],
    )
    full_name: str | None = Field(default=None, max_length=MAX_PERSON_NAME)
    role: str = Field(default="CASHIER", max_length=40)


class StartOptions(Sent):
    """What a tenant should have; what is left out stays as it is."""

    include_demo_data: bool | None = None
    pos_store_enabled: bool | None = None
    country_template: str | None = Field(default=None, max_length=MAX_OLD_TEXT)
    template: str | None = Field(default=None, max_length=MAX_OLD_TEXT)


class RetryOptions(Sent):
    """What to check again: all steps, or one step and those that need it."""

    step: str | None = Field(default=None, max_length=MAX_OLD_TEXT)


class SkippedStep(Sent):
    """The step to leave out."""

    step: str = Field(max_length=MAX_OLD_TEXT, examples=["step_6_items"])


class TenantIds(Sent):
    """The tenants whose engines' health is asked for."""

    tenant_ids: list[str] = Field(max_length=MAX_IDS)


async def read(request: Request, model: type[Body]) -> Body:
    """Return the body of a request, whatever its content type; an empty one has no fields.

    Raises:
        Refusal: 422, with each wrong field.
    """
    content = await request.body()
    sent: Any = {}  # Any: whatever JSON can hold
    if content.strip():
        try:
            sent = json.loads(content)
        except (ValueError, RecursionError):
            raise Refusal(
                422, [{"loc": ["body"], "msg": "The body is no JSON.", "type": "json_invalid"}]
            ) from None
    if sent is None:
        sent = {}
    if isinstance(sent, dict):
        sent = {
            name: value
            for name, value in sent.items()
            if value is not None or not _has_default(model, name)
        }
    try:
        return model.model_validate(sent)
    except ValidationError as error:
        raise Refusal(422, wrong_fields(error)) from None


def _has_default(model: type[BaseModel], name: str) -> bool:
    """Tell whether a field that was sent as null counts as not sent: old forms send it so."""
    field = model.model_fields.get(name)
    return field is not None and not field.is_required()


def wrong_fields(error: ValidationError) -> list[dict[str, Any]]:
    """Return what was wrong, without repeating what was sent."""
    return [
        {"loc": ["body", *problem["loc"]], "msg": problem["msg"], "type": problem["type"]}
        for problem in error.errors(include_url=False, include_input=False, include_context=False)
    ]
