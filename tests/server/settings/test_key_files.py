"""Key files of an engine that change while the process runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.settings import Settings, load_engines
from server.settings.key_files import LOOK_SECONDS, KeyFiles

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr


def write(file: Path, text: str, mode: int = 0o600) -> None:
    file.unlink(missing_ok=True)
    file.write_text(text)
    file.chmod(mode)


def files(directory: Path, time: list[float]) -> KeyFiles:
    write(directory / "key", "key-1")
    write(directory / "secret", "secret-1")
    engines = directory / "engines.toml"
    engines.write_text(
        '[engines.main]\nurl = "https://erp.example.com"\n'
        'api_key_file = "key"\napi_secret_file = "secret"\n'
    )
    keys = load_engines(Settings(engines_file=engines)).engines["main"].keys
    assert keys is not None
    keys._clock = lambda: time[0]
    keys._looked_at = time[0]
    return keys


def shown(pair: tuple[SecretStr, SecretStr]) -> tuple[str, str]:
    return pair[0].get_secret_value(), pair[1].get_secret_value()


def test_changed_files_are_read_again_without_a_restart(tmp_path: Path) -> None:
    time = [0.0]
    keys = files(tmp_path, time)
    write(tmp_path / "key", "key-2")
    write(tmp_path / "secret", "secret-2")
    assert shown(keys.current()) == ("key-1", "secret-1"), "files are not looked at every time"
    time[0] += LOOK_SECONDS
    assert shown(keys.current()) == ("key-2", "secret-2")
    assert "key-2" not in repr(keys)


def test_a_file_that_is_wrong_keeps_the_old_pair_until_it_is_right(tmp_path: Path) -> None:
    time = [0.0]
    keys = files(tmp_path, time)
    write(tmp_path / "key", "key-2")
    write(tmp_path / "secret", "secret-2", mode=0o644)
    time[0] += LOOK_SECONDS
    assert shown(keys.current()) == ("key-1", "secret-1")
    (tmp_path / "secret").unlink()
    time[0] += LOOK_SECONDS
    assert shown(keys.current()) == ("key-1", "secret-1")
    write(tmp_path / "secret", "secret-2")
    time[0] += LOOK_SECONDS
    assert shown(keys.current()) == ("key-2", "secret-2")
