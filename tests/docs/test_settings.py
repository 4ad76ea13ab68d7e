"""README.md's table of settings is the code's list of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pydantic_core import PydanticUndefined

from server.settings import ENV_PREFIX, Settings, load_engines, load_settings
from tests.docs.pages import README, blocks, table, words

if TYPE_CHECKING:
    from pathlib import Path

_ROWS = {words(row["name"])[0]: row for row in table(README, "name", "default")}


def test_the_table_names_every_setting_and_no_other() -> None:
    assert set(_ROWS) == {ENV_PREFIX + name.upper() for name in Settings.model_fields}


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_the_table_gives_the_default(name: str) -> None:
    default = Settings.model_fields[name].default
    said = _ROWS[ENV_PREFIX + name.upper()]["default"]
    if default is PydanticUndefined:  # made at the start, so it is described
        assert said
    elif default in {None, ""}:
        assert said == "none"
    elif isinstance(default, bool):
        assert said == ("`on`" if default else "`off`")
    elif isinstance(default, float):
        assert said == f"`{default:g}`"
    else:
        assert said == f"`{default}`"


def test_the_engines_file_of_the_readme_is_accepted(tmp_path: Path) -> None:
    (example,) = (block for block in blocks(README) if block.language == "toml")
    (tmp_path / "engines.toml").write_text(example.text)
    for name in ("main.key", "main.secret"):
        (tmp_path / name).write_text("text-of-a-key")
        (tmp_path / name).chmod(0o600)
    settings = load_settings(
        config=None, overrides={"engines_file": str(tmp_path / "engines.toml")}, environ={}
    )
    engines = load_engines(settings)
    assert engines.default == "main"
    assert engines.engines["main"].host == "shop.example.com"
