"""Shows a message of the contract as JSON, for scripts.

Field names are the contract's own, enum values the words without their prefix, int64
numbers, times RFC 3339. Every field is there: unset ones with their default, unset
messages, times and `optional` fields as null.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from google.protobuf.message import Message

    # protobuf has two implementations of descriptors without a common type.
    FieldDescriptor = Any
    EnumDescriptor = Any


def document(value: object) -> str:
    """Return `value` as one line of JSON in ASCII, which any terminal and locale takes.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(value, allow_nan=False)


def as_object(message: Message) -> dict[str, Any]:  # Any: the values of a JSON object
    """Return a message as a JSON object with all of its fields."""
    return {field.name: _field(message, field) for field in message.DESCRIPTOR.fields}


def _field(message: Message, field: FieldDescriptor) -> object:
    value = getattr(message, field.name)
    if _is_map(field):
        return {str(key): value[key] for key in sorted(value)}
    if field.is_repeated:
        return [_single(item, field) for item in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _single(value, field)


def _single(value: Any, field: FieldDescriptor) -> object:  # Any: protobuf types by descriptor
    if field.enum_type is not None:
        return _enum_word(value, field.enum_type)
    if isinstance(value, Timestamp):
        return value.ToJsonString()
    if field.message_type is not None:
        return as_object(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON knows no NaN
    return value


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _enum_word(number: int, enum: EnumDescriptor) -> str:
    known = enum.values_by_number.get(number)
    if known is None:
        return f"UNKNOWN_{number}"  # sent by a newer service
    # The zero value is PREFIX_UNSPECIFIED, so it tells the prefix.
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(known.name.removeprefix(prefix))
