"""Settings as an operator gives them: options, environment, a file; and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.errors import SettingsError
from server.settings import ENV_PREFIX, Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


def load(
    config: Path | None = None,
    overrides: dict[str, str] | None = None,
    /,
    **environ: str,
) -> Settings:
    return load_settings(
        config=config,
        overrides=overrides or {},
        environ={ENV_PREFIX + name.upper(): value for name, value in environ.items()},
    )


def refused(
    config: Path | None = None, overrides: dict[str, str] | None = None, /, **environ: str
) -> str:
    with pytest.raises(SettingsError) as caught:
        load(config, overrides, **environ)
    return caught.value.message


def secret_file(file: Path, content: str, mode: int = 0o600) -> Path:
    file.write_text(content, encoding="utf-8")
    file.chmod(mode)
    return file
