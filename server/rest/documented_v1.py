"""What /openapi.json says about `/v1`: made from the contract, in protobuf's JSON form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FieldDescriptor

from server.rest import examples_v1
from server.rest.routes_v1 import Route, fields_in_path

Said = dict[Any, Any]  # Any: OpenAPI is JSON; FastAPI wants statuses as numbers

if TYPE_CHECKING:
    Descriptor = Any  # Any: protobuf has two implementations without a common type

_REF = "#/components/schemas/"
_FAULTS = {
    "400": "One or more fields are wrong; `details` names each.",
    "401": "Not signed in, or no longer.",
    "403": "Not the caller's to see or to do.",
    "404": "There is no such thing.",
    "409": "It does not fit the tenant's state, exists already, or has changed meanwhile.",
    "410": "The log is no longer kept that far back; `details` names the oldest cursor.",
    "416": "The cursor is beyond the end of the log.",
    "429": "Too many at once; `Retry-After` says when to come again.",
    "500": "The server met an error of its own.",
    "503": "The database does not answer, or the server stops; `Retry-After` says when.",
}
FAULT_SCHEMA: Said = {
    "title": "Fault",
    "description": (
        "A call that failed, as google.rpc.Status has it. `code` is gRPC's word; "
        "`details` holds an ErrorInfo whose `reason` is stable (docs/errors.md), a "
        "BadRequest where a field is wrong, a RetryInfo where waiting helps."
    ),
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {
        "code": {"type": "string"},
        "message": {"type": "string"},
        "details": {"type": "array", "items": {"type": "object"}},
    },
    "example": {
        "code": "NOT_FOUND",
        "message": "No tenant 01900000-0000-7000-8000-000000000000. Check the id.",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "TENANT_NOT_FOUND",
                "domain": "provisioner",
            }
        ],
    },
}
FAULT = "V1Fault"

_INT32: Said = {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1}
# Larger than JavaScript's numbers can hold exactly, so protobuf writes them as strings.
_INT64: Said = {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$"}
_NUMBERS: dict[int, Said] = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_UINT32: {**_INT32, "minimum": 0},
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_UINT64: {**_INT64, "pattern": "^[0-9]{1,18}$"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number"},
}
_WELL_KNOWN: dict[str, Said] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?s$"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.Any": {"type": "object"},
}


def documented(route: Route) -> Said:
    """Return how a route is documented, for FastAPI."""
    method = route.method
    answer: Said = {
        "application/json": _content(method.output_type, examples_v1.ANSWERS.get(route.rpc))
    }
    if route.event:
        answer["text/event-stream"] = {"schema": {"type": "string"}}
    extra: Said = {
        "security": [{"bearer": []}],
        "parameters": _parameters(route, method.input_type),
    }
    if route.verb == "POST":
        extra["requestBody"] = {
            "required": False,
            "content": {
                "application/json": _content(method.input_type, examples_v1.REQUESTS.get(route.rpc))
            },
        }
    responses: Said = {200: {"description": "OK", "content": answer}}
    responses |= {
        int(code): {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": f"{_REF}{FAULT}"}}},
        }
        for code, text in _FAULTS.items()
    }
    return {
        "summary": route.rpc,
        "description": f"{route.service}.{route.rpc}; the contract says what it promises.",
        "responses": responses,
        "openapi_extra": extra,
    }


def _content(descriptor: Descriptor, example: Said | None) -> Said:
    content: Said = {"schema": _reference(descriptor)}
    return content if example is None else {**content, "example": example}


def schemas(routes: tuple[Route, ...]) -> Said:
    """Return the schemas that the routes refer to."""
    found: Said = {FAULT: FAULT_SCHEMA}
    for route in routes:
        for descriptor in (route.method.input_type, route.method.output_type):
            _collect(descriptor, found)
    return found


def _parameters(route: Route, descriptor: Descriptor) -> list[Said]:
    inside = fields_in_path(route.path)
    parameters: list[Said] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in inside
    ]
    if route.verb == "POST":
        return parameters
    for field in descriptor.fields:
        # A message can't be a parameter, except for those that JSON writes as one string, like
        # times.
        told = field.message_type is None or field.message_type.full_name in _WELL_KNOWN
        if field.name not in inside and field.name != "follow" and told:
            parameters.append(
                {"name": field.name, "in": "query", "required": False, "schema": _field(field)}
            )
    if route.resume is not None:
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "Id of the last event that was read: the stream goes on after it.",
                "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
            }
        )
    return parameters


def _collect(descriptor: Descriptor, found: Said) -> None:
    if descriptor.name in found or descriptor.full_name in _WELL_KNOWN:
        return
    found[descriptor.name] = {
        "title": descriptor.name,
        "type": "object",
        "properties": {field.name: _field(field) for field in descriptor.fields},
    }
    for field in descriptor.fields:
        if field.message_type is not None and not _is_map(field):
            _collect(field.message_type, found)


def _field(field: Descriptor) -> Said:
    if _is_map(field):
        values = field.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _single(values)}
    if field.is_repeated:
        return {"type": "array", "items": _single(field)}
    return _single(field)


def _single(field: Descriptor) -> Said:
    if field.message_type is not None:
        return _reference(field.message_type)
    if field.enum_type is not None:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type == FieldDescriptor.TYPE_BOOL:
        return {"type": "boolean"}
    return _NUMBERS.get(field.type, {"type": "string"})


def _reference(descriptor: Descriptor) -> Said:
    known = _WELL_KNOWN.get(descriptor.full_name)
    return known if known is not None else {"$ref": f"{_REF}{descriptor.name}"}


def _is_map(field: Descriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)
