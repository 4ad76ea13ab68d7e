"""docs/errors.md lists every code the code can show, and no other."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import grpc

from server.erpnext.codes import MEANINGS, Code
from server.model.causes import Cause
from server.model.legacy import ImportCode
from server.model.states import WaitingCode
from tests.docs.pages import ROOT, modules, strings, tables, words

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = ROOT / "docs" / "errors.md"
_CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
_KEYWORDS = frozenset({"code", "reason", "error_code"})
_GRPC = frozenset(code.name for code in grpc.StatusCode)
# The general word of a gRPC status that has the same name as its reason.
_SAME_AS_GRPC = frozenset({"INTERNAL"})


def _documented() -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for rows in tables(_PAGE):
        for row in rows:
            for code in words(row["code"]):
                found.setdefault(code, []).append(row)
    return found


def _in_the_code() -> set[str]:
    found = {
        word
        for path, module in modules("server", "clients")
        for word in _codes_of(module)
        if _CODE.fullmatch(word)
    }
    found |= {code.value for code in Code}
    found |= {code.value for code in WaitingCode}
    found |= {cause.value for cause in Cause}
    found |= {code.value for code in ImportCode}
    return {code for code in found if code not in _GRPC or code in _SAME_AS_GRPC}


def _codes_of(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.keyword) and node.arg in _KEYWORDS:
            yield from strings(node.value)
        elif isinstance(node, ast.Call) and _is_named(node.func, "EngineError"):
            yield from strings(node.args[1] if len(node.args) > 1 else None)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            yield from _assigned(node)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if set(strings(key)) & _KEYWORDS:
                    yield from strings(value)


def _assigned(node: ast.Assign | ast.AnnAssign) -> list[str]:
    """Return `default_code = "X"`, and constants that are named as what they hold."""
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if not isinstance(target, ast.Name):
        return []
    texts = strings(node.value)
    return [text for text in texts if target.id in {"default_code", text}]


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_every_code_of_the_code_is_documented() -> None:
    # Enum members of states are named as what they hold, too.
    states = {
        word
        for _, module in modules("server/model", "server/probing")
        for node in ast.walk(module)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.Assign)
        for word in _assigned(item)
    }
    only_words = states - {code.value for code in WaitingCode}
    missing = _in_the_code() - set(_documented()) - only_words
    assert not missing


def test_every_documented_code_is_in_the_code() -> None:
    assert not set(_documented()) - _in_the_code()


def test_every_documented_code_says_what_happened_and_what_to_do() -> None:
    for code, rows in _documented().items():
        for row in rows:
            assert all(row.values()), code


def test_an_engine_code_means_what_the_adapter_says() -> None:
    documented = _documented()
    for code, meaning in MEANINGS.items():
        said = {row.get("what happened", "") for row in documented[code.value]}
        assert meaning.meaning in said, code
