"""docs/cli.md is what the command line says of itself, whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from clients.cli import templates
from tests.docs.pages import blocks
from tools import cli_page

if TYPE_CHECKING:
    import pytest


def test_the_page_is_what_the_command_line_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("PROVISIONER_GRPC_ADDRESS", "example.com:1")
    assert cli_page.PAGE.read_text(encoding="utf-8") == cli_page.page(), "run: make generate"


def test_the_file_of_tenants_on_the_page_is_taken() -> None:
    (shown,) = [block for block in blocks(cli_page.PAGE) if block.language == "yaml"]
    found = templates.parse(shown.text.encode())
    assert len(found) == len(yaml.safe_load(shown.text)["tenants"])
