"""Reads tenants from a YAML file: one, or many with values they share.

All mistakes are reported at once, each with its line and field, before anything is ordered. Texts
are taken as written: `country_code: NO` is Norway, although YAML reads a "no". A tenant without an
id gets one made from its engine and company name, so that the same file names the same tenants
each time.
"""

from __future__ import annotations

import contextlib
import difflib
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Ten times a file of a thousand tenants.
_MAX_BYTES = 2_000_000
_MAX_TENANTS = 1000
# The namespace of ids made from names; with another one, every file would name new tenants.
_NAMESPACE = uuid.UUID("5f1b7f39-9a5e-5d0f-8a3d-2f6f0f3c4f10")

_TEXTS = (
    "tenant_id",
    "company_name",
    "country_code",
    "currency",
    "chart_template",
    "till_user",
    "engine_id",
)
_FLAGS = ("include_demo_data", "pos_store_enabled")
_NUMBERS = ("opening_amount",)
_LISTS = ("payment_methods",)
FIELDS = (*_TEXTS, *_FLAGS, *_NUMBERS, *_LISTS)
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float"
_NOT_TEXT = (yaml.MappingNode, yaml.SequenceNode)

Value = str | bool | float | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """One tenant of a file.

    Attributes:
        line: The line it begins on.
        tenant_id: As written, or made from engine and name.
        values: Fields of the spec, by their names in the contract.
        lines: The line each field is on.
    """

    line: int
    tenant_id: str
    values: Mapping[str, Value]
    lines: Mapping[str, int]

    @property
    def name(self) -> str:
        """The company's name."""
        return str(self.values.get("company_name", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong in a file.

    Attributes:
        line: The line, from 1.
        field: The field; "" if it is about none.
        description: The problem and the remedy; the rest of a sentence.
    """

    line: int
    field: str
    description: str


class TemplateError(Exception):
    """A file that can't be used as it is; nothing was ordered.

    Attributes:
        mistakes: Everything that is wrong, in the order of the lines.
    """

    def __init__(self, mistakes: tuple[Mistake, ...]) -> None:
        super().__init__("; ".join(f"line {m.line}: {m.description}" for m in mistakes))
        self.mistakes = mistakes


def read(path: Path) -> tuple[Template, ...]:
    """Read a file.

    Raises:
        OSError: it can't be read.
        TemplateError: with everything that is wrong.
    """
    data = path.read_bytes()
    if len(data) > _MAX_BYTES:
        raise TemplateError((Mistake(line=1, field="", description="is larger than 2 MB."),))
    return parse(data)


def parse(data: bytes) -> tuple[Template, ...]:
    """Read the content of a file.

    Args:
        data: YAML, in UTF-8 or UTF-16: tenants, lists of them, or `tenants` with `defaults`.

    Returns:
        The tenants, in the order of the file; at least one, and at most a thousand.

    Raises:
        TemplateError: with everything that is wrong.
    """
    try:
        documents = list(yaml.compose_all(data, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise TemplateError((_broken(error),)) from error
    except RecursionError as error:
        deep = Mistake(line=1, field="", description="holds lists within lists without end.")
        raise TemplateError((deep,)) from error
    reader = _Reader()
    for document in documents:
        reader.document(document)
    if not reader.mistakes and not reader.found:
        reader.wrong(1, "", "holds no tenant. Write at least company_name: NAME.")
    if len(reader.found) > _MAX_TENANTS:
        reader.wrong(1, "", f"holds more than {_MAX_TENANTS} tenants. Split it.")
    reader.check_double()
    if reader.mistakes:
        raise TemplateError(tuple(sorted(reader.mistakes, key=lambda each: each.line)))
    return tuple(reader.found)


@dataclass(slots=True)
class _Reader:
    found: list[Template] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)

    def wrong(self, line: int, name: str, description: str) -> None:
        self.mistakes.append(Mistake(line=line, field=name, description=description))

    def document(self, node: yaml.Node) -> None:
        """Take one document: a tenant, a list of them, or `tenants` with `defaults`."""
        if node.tag == _NULL:
            return
        if isinstance(node, yaml.SequenceNode):
            self.tenants(node, {}, {})
        elif isinstance(node, yaml.MappingNode):
            parts = {str(key.value): value for key, value in node.value}
            if "tenants" in parts:
                self.many(node, parts)
            else:
                self.tenant(node, {}, {})
        else:
            self.wrong(_line(node), "", "must be a tenant: lines like company_name: NAME.")

    def many(self, node: yaml.MappingNode, parts: dict[str, yaml.Node]) -> None:
        for key, _ in node.value:
            if key.value not in {"tenants", "defaults"}:
                self.wrong(_line(key), str(key.value), "is not known next to tenants and defaults.")
        defaults = parts.get("defaults")
        values: dict[str, Value] = {}
        lines: dict[str, int] = {}
        if isinstance(defaults, yaml.MappingNode):
            values, lines = self.fields(defaults)
        elif defaults is not None:
            self.wrong(_line(defaults), "defaults", "must be lines like country_code: KE.")
        listed = parts["tenants"]
        if isinstance(listed, yaml.SequenceNode):
            self.tenants(listed, values, lines)
        else:
            self.wrong(_line(listed), "tenants", "must be a list: lines that begin with a dash.")

    def tenants(
        self, node: yaml.SequenceNode, values: dict[str, Value], lines: dict[str, int]
    ) -> None:
        for each in node.value:
            if isinstance(each, yaml.MappingNode):
                self.tenant(each, values, lines)
            else:
                self.wrong(_line(each), "", "must be a tenant: lines like company_name: NAME.")

    def tenant(
        self, node: yaml.MappingNode, defaults: dict[str, Value], lines: dict[str, int]
    ) -> None:
        own, own_lines = self.fields(node)
        values, where = {**defaults, **own}, {**lines, **own_lines}
        name = values.get("company_name")
        if not name:
            self.wrong(_line(node), "company_name", "is missing.")
            return
        given = values.pop("tenant_id", None)
        made = uuid.uuid5(_NAMESPACE, f"{values.get('engine_id', '')}\n{str(name).strip()}")
        self.found.append(
            Template(line=_line(node), tenant_id=str(given or made), values=values, lines=where)
        )

    def fields(self, node: yaml.MappingNode) -> tuple[dict[str, Value], dict[str, int]]:
        values: dict[str, Value] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = str(key.value), _line(key)
            if name in lines:
                self.wrong(line, name, f"is there twice; first in line {lines[name]}.")
                continue
            lines[name] = line
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Known are: {', '.join(FIELDS)}."
                self.wrong(line, name, f"is not known. {hint}")
                continue
            read = self.value(name, value)
            if read is not None:
                values[name] = read
        return values, lines

    def value(self, name: str, node: yaml.Node) -> Value | None:
        """Read one value; None if it is wrong or left to the service."""
        if node.tag == _NULL:
            return None
        if name in _LISTS:
            return self.texts(name, node)
        if isinstance(node, _NOT_TEXT):
            self.wrong(_line(node), name, "must be a single value.")
            return None
        text = str(node.value)
        return text if name in _TEXTS else self.flag_or_number(name, node, text)

    def flag_or_number(self, name: str, node: yaml.Node, text: str) -> Value | None:
        if name in _FLAGS and node.tag == _BOOL:
            return text.lower() in {"yes", "true", "on"}
        if name in _NUMBERS and node.tag in {_INT, _FLOAT}:
            with contextlib.suppress(ValueError):  # 0x10 and 1:30 are numbers to YAML
                return float(text.replace("_", ""))
        hint = "true or false" if name in _FLAGS else "a number such as 1500.50"
        self.wrong(_line(node), name, f"is {text!r}; write {hint}.")
        return None

    def texts(self, name: str, node: yaml.Node) -> tuple[str, ...] | None:
        if isinstance(node, yaml.SequenceNode) and all(
            isinstance(each, yaml.ScalarNode) for each in node.value
        ):
            return tuple(str(each.value) for each in node.value)
        self.wrong(_line(node), name, "must be a list, such as [Cash, M-Pesa].")
        return None

    def check_double(self) -> None:
        seen: dict[str, int] = {}
        for each in self.found:
            if each.tenant_id in seen:
                self.wrong(
                    each.line,
                    "tenant_id" if "tenant_id" in each.lines else "company_name",
                    f"names the tenant that begins in line {seen[each.tenant_id]} already.",
                )
            seen.setdefault(each.tenant_id, each.line)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _broken(error: yaml.YAMLError) -> Mistake:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    line = 1 if mark is None else int(mark.line) + 1
    return Mistake(line=line, field="", description=f"is no YAML: {problem}.")
