"""The engines file: what it may say, what is refused, and the keys it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.errors import SettingsError
from server.settings import EnginesConfig, Settings, load_engines
from tests.server.settings.given import secret_file

if TYPE_CHECKING:
    from pathlib import Path

_KEYS = 'api_key_file = "key"\napi_secret_file = "secret"\n'


def _engines(directory: Path, text: str) -> EnginesConfig:
    for name in ("key", "secret"):
        secret_file(directory / name, f"the-{name}\n")
    file = directory / "engines.toml"
    file.write_text(text, encoding="utf-8")
    return load_engines(Settings(engines_file=file))


def _no_engines(directory: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        _engines(directory, text)
    return caught.value.message


def test_without_an_engines_file_there_is_no_engine() -> None:
    config = load_engines(Settings())
    assert config.default == ""
    assert dict(config.engines) == {}


def test_engines_are_read_with_their_keys(tmp_path: Path) -> None:
    config = _engines(
        tmp_path,
        'default = "main"\n[engines.main]\nurl = "HTTPS://ERP.example.com:443/"\n'
        f'{_KEYS}[engines.second]\nurl = "https://erp.example.com"\nhost = "Two.local"\n'
        f'{_KEYS}[engines.bench]\nblueprint = "noop"\n',
    )
    assert config.default == "main"
    assert list(config.engines) == ["main", "second", "bench"]
    main, second, bench = config.engines.values()
    assert (main.id, main.blueprint, main.url, main.host) == (
        "main",
        "erpnext",
        "https://erp.example.com",
        "",
    )
    assert main.site == "https://erp.example.com host=erp.example.com"
    assert second.site == "https://erp.example.com host=two.local"
    assert main.api_key.get_secret_value() == "the-key"
    assert main.api_secret.get_secret_value() == "the-secret"
    assert "the-" not in repr(config)
    assert (bench.blueprint, bench.url) == ("noop", "")
    with pytest.raises(TypeError):
        config.engines["x"] = main  # type: ignore[index]  # that is what is tested


def test_a_single_engine_is_the_default_and_an_empty_file_has_none(tmp_path: Path) -> None:
    assert _engines(tmp_path, '[engines.a]\nblueprint = "noop"\n').default == "a"
    assert _engines(tmp_path, "").default == ""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('url = "https://erp.example.com"', 'url = "https://ERP.example.com.:443/"'),
        ('url = "http://erp.example.com"', 'url = "http://erp.example.com:80"'),
        (
            'url = "https://erp.example.com"',
            'url = "https://erp.example.com"\nhost = "ERP.example.com"',
        ),
        ('url = "http://10.0.0.1"\nhost = "a"', 'url = "http://10.0.0.1"\nhost = "A:80"'),
    ],
)
def test_two_engines_of_one_site_are_refused(tmp_path: Path, first: str, second: str) -> None:
    message = _no_engines(
        tmp_path,
        f'default = "a"\n[engines.a]\n{first}\n{_KEYS}[engines.b]\n{second}\n{_KEYS}',
    )
    assert "engines.a and engines.b are the same site" in message


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('defalt = "main"', "defalt", "Did you mean default?"),
        ("engines = 3", "engines", "must hold tables"),
        ("[engines]\nmain = 3", "engines.main", "must be a table"),
        ('[engines.main]\nurls = "x"', "urls", "Did you mean url?"),
        ("[engines.main]\nurl = 3", "engines.main.url", "must be a text"),
        (f"[engines.main]\n{_KEYS}", "engines.main.url", "is missing"),
        ('[engines.main]\nurl = "http://h"', "engines.main.api_key_file", "is missing"),
        ('[engines."a b"]\nurl = "http://h"', "engines.a b", "a-z, 0-9"),
        ('[engines.a]\nblueprint = "erp"', "engines.a.blueprint", "Did you mean erpnext?"),
        ('default = "b"\n[engines.a]\nblueprint = "noop"', "default", "which is no engine"),
        ('default = "b"', "default", "which is no engine"),
        ("default = 3", "default", "must be the name"),
        (
            '[engines.a]\nblueprint = "noop"\n[engines.b]\nblueprint = "noop"',
            "default",
            "is missing",
        ),
        (f'[engines.a]\nurl = "erp.example.com"\n{_KEYS}', "engines.a.url", "not the url"),
        (f'[engines.a]\nurl = "ftp://h"\n{_KEYS}', "engines.a.url", "not the url"),
        (f'[engines.a]\nurl = "http://h:x"\n{_KEYS}', "engines.a.url", "cannot be one"),
        (f'[engines.a]\nurl = "http://u:hunter2@h"\n{_KEYS}', "engines.a.url", "holds a name"),
        (f'[engines.a]\nurl = "http://h?x=1"\n{_KEYS}', "engines.a.url", "a query"),
        (f'[engines.a]\nurl = "http://h"\nhost = "a/b"\n{_KEYS}', "engines.a.host", "no host"),
        ("[engines.a", "engines.toml", "is not TOML"),
    ],
)
def test_a_wrong_engines_file_is_refused_with_file_and_key(
    tmp_path: Path, text: str, key: str, problem: str
) -> None:
    message = _no_engines(tmp_path, text)
    assert str(tmp_path / "engines.toml") in message
    assert key in message
    assert problem in message
    assert "hunter2" not in message


def test_a_mark_that_an_editor_put_before_the_first_line_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "engines.toml"
    file.write_text('default = "a"\n[engines.a]\nblueprint = "noop"\n', encoding="utf-8-sig")
    assert load_engines(Settings(engines_file=file)).default == "a"


def test_an_engines_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Cannot read the engines file"):
        load_engines(Settings(engines_file=tmp_path / "none.toml"))


def test_an_engine_s_key_file_is_checked_like_any_secret(tmp_path: Path) -> None:
    text = f'[engines.a]\nurl = "http://h"\n{_KEYS}'.replace('"secret"', '"other"')
    assert "engines.a.api_secret_file: cannot read" in _no_engines(tmp_path, text)
    secret_file(tmp_path / "other", "two words")
    assert "characters that no ERPNext key" in _no_engines(tmp_path, text)
    secret_file(tmp_path / "other", "x", 0o604)
    assert "mode 0604" in _no_engines(tmp_path, text)
