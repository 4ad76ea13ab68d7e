"""Finds the fields of a JSON request that do not fit its message, and says how to correct each.

protobuf's parser stops at the first of them, and reports it in terms of Python and of messages,
which mean nothing to whoever writes JSON.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format, message_factory

from server.errors import Violation
from server.validation.words import MAX_NAME, nearest, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from google.protobuf.message import Message

    # Any: protobuf has two implementations of descriptors without a common type.
    Field = Any
    Descriptor = Any

_MOST = 20
_TIMESTAMP = "google.protobuf.Timestamp"


def misfits(message: type[Message], sent: Mapping[str, object]) -> tuple[Violation, ...]:
    """Return what protobuf's parser refuses in a request; at most twenty fields.

    Args:
        message: The class of the rpc's request.
        sent: The JSON object that was sent for it.
    """
    return tuple(islice(_of_object(message.DESCRIPTOR, sent, ""), _MOST))


def told_twice(message: type[Message], sent: Mapping[str, object]) -> tuple[Violation, ...]:
    """Return the fields that are sent in both spellings; protobuf's parser takes one of the values.

    Args:
        message: The class of the rpc's request.
        sent: The JSON object that was sent for it, which the parser takes.
    """
    return tuple(islice(_twice_in(message.DESCRIPTOR, sent, ""), _MOST))


def _twice_in(descriptor: Descriptor, sent: Mapping[str, object], at: str) -> Iterator[Violation]:
    for field in descriptor.fields:
        if field.name != field.json_name and field.name in sent and field.json_name in sent:
            yield _wrong(f"{at}{field.name}", f"is also sent as {field.json_name}. Send it once.")
        value = sent.get(field.name, sent.get(field.json_name))
        if field.message_type is not None and isinstance(value, dict):
            yield from _twice_in(field.message_type, value, f"{at}{field.name}.")


def _of_object(descriptor: Descriptor, sent: Mapping[str, object], at: str) -> Iterator[Violation]:
    fields = {name: each for each in descriptor.fields for name in (each.json_name, each.name)}
    for name, value in sent.items():
        field = fields.get(name)
        if field is None:
            near = nearest(name, [each.name for each in descriptor.fields])
            known = ", ".join(each.name for each in descriptor.fields)
            path = name if _is_plain(name) else shown(name)
            yield _wrong(f"{at}{path}", f"is no field here. {near or f'Known are: {known}.'}")
        elif value is not None and not _fits(field, value):
            yield from _of_field(field, value, f"{at}{field.name}")


def _of_field(field: Field, value: object, at: str) -> Iterator[Violation]:
    if not field.is_repeated:
        yield from _of_value(field, value, at)
    elif not isinstance(value, list):
        yield _wrong(at, "must be a list, in square brackets.")
    else:
        for position, each in enumerate(value):
            if not _fits(field, [each]):
                yield from _of_value(field, each, f"{at}[{position}]")


def _of_value(field: Field, value: object, at: str) -> Iterator[Violation]:
    nested = field.message_type
    if nested is None or nested.full_name == _TIMESTAMP:
        yield _wrong(at, f"must be {_wanted(field)}.")
    elif isinstance(value, dict):
        yield from _of_object(nested, value, f"{at}.")
    else:
        yield _wrong(at, "must be an object, in braces.")


def _is_plain(name: str) -> bool:
    return name.isascii() and name.isidentifier() and len(name) <= MAX_NAME


def _wrong(field: str, description: str) -> Violation:
    return Violation(field=field, description=description)


def _fits(field: Field, value: object) -> bool:
    """Tell whether the parser takes a value, as it reads a whole request later."""
    message = message_factory.GetMessageClass(field.containing_type)()
    try:
        json_format.ParseDict({field.name: value}, message)
    except (json_format.ParseError, ValueError, RecursionError):
        return False
    return True


def _wanted(field: Field) -> str:
    if field.message_type is not None:
        return 'a time, such as "2026-05-04T12:00:00Z"'
    if field.enum_type is not None:
        return f"one of {', '.join(each.name for each in field.enum_type.values)}"
    return {
        field.CPPTYPE_STRING: "text, in quotes",
        field.CPPTYPE_BOOL: "true or false",
        field.CPPTYPE_DOUBLE: "a number",
        field.CPPTYPE_INT32: "a whole number, from -2147483648 to 2147483647",
        field.CPPTYPE_INT64: "a whole number, from -9223372036854775808 to 9223372036854775807",
    }.get(field.cpp_type, "another kind of value")
