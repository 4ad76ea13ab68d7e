"""Frozen records that are cheap to make and to change: each step makes a dozen of them.

A frozen dataclass sets each field with `object.__setattr__`, which took an eighth of the event
loop's time with many runs (docs/decisions/0044). Here the fields are set while the record
belongs to an unfrozen twin of its class, with the same slots; then it is given its real class,
and is as frozen as any. A row of 19 fields is made in less than half the time, and changed in
an eighth of it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import replace

__all__ = ["made_often", "replace"]

_Class = TypeVar("_Class", bound=type)


def made_often(record: _Class) -> _Class:
    """Make instances of a frozen dataclass with slots quick to make and to copy.

    Args:
        record: A class decorated with `@dataclass(frozen=True, slots=True, kw_only=True)`.

    Returns:
        The same class.

    Raises:
        TypeError: it is anything else, or it does more than hold its fields.
    """
    fields = dataclasses.fields(record)
    names = [each.name for each in fields]
    plain = record.__bases__ == (object,) and [*record.__dict__.get("__slots__", ())] == names
    if not plain or hasattr(record, "__post_init__"):
        raise TypeError(f"{record.__name__} is no plain frozen dataclass with slots")
    if not all(each.init and each.kw_only for each in fields):
        raise TypeError(f"{record.__name__} has a field that is not given by its name")
    made = _compiled(record, fields)
    setattr(record, "__init__", made["__init__"])  # noqa: B010 - not on an instance
    _COPIES[record] = made["copied"]
    return record


if not TYPE_CHECKING:

    def replace(record: Any, /, **changes: Any) -> Any:
        """Return a record with some fields changed, as `dataclasses.replace` does.

        Raises:
            TypeError: it has no field of one of these names.
        """
        copied = _COPIES.get(record.__class__)
        if copied is None:
            return dataclasses.replace(record, **changes)
        made = copied(record)
        try:
            for name, value in changes.items():
                setattr(made, name, value)
        except AttributeError:
            raise TypeError(f"{type(record).__name__} has no field {name!r}") from None
        made.__class__ = record.__class__
        return made


# By class: makes a copy that is not frozen yet.
_COPIES: dict[type, Callable[[Any], Any]] = {}
_ABSENT = object()


def _compiled(record: type, fields: tuple[dataclasses.Field[Any], ...]) -> dict[str, Any]:
    """Write and compile the two functions, as dataclasses itself does."""
    names = [each.name for each in fields]
    open_twin = type(record.__name__, (), {"__slots__": tuple(names)})
    known: dict[str, Any] = {
        "as_open": object.__setattr__,
        "new": object.__new__,
        "absent": _ABSENT,
        "open_twin": open_twin,
        "record": record,
    }
    given, first = [], []
    for each in fields:
        if each.default_factory is not MISSING:
            known[f"make_{each.name}"] = each.default_factory
            given.append(f"{each.name}=absent")
            first += [f"if {each.name} is absent:", f"    {each.name} = make_{each.name}()"]
        elif each.default is not MISSING:
            known[f"usual_{each.name}"] = each.default
            given.append(f"{each.name}=usual_{each.name}")
        else:
            given.append(each.name)
    lines = [
        f"def __init__(self, *, {', '.join(given)}):",
        *(f"    {line}" for line in first),
        "    as_open(self, '__class__', open_twin)",
        *(f"    self.{name} = {name}" for name in names),
        "    self.__class__ = record",
        "def copied(self):",
        "    made = new(open_twin)",
        *(f"    made.{name} = self.{name}" for name in names),
        "    return made",
    ]
    exec("\n".join(lines), known)  # noqa: S102 - of the names of a class of ours
    return known
