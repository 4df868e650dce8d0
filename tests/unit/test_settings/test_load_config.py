"""The one configuration loader: substitution, unknown keys, one clear line per mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from src.errors import ConfigError
from src.settings import ConfigModel, load_config


class Service(ConfigModel):
    url: str
    retries: int = 3


class Optional(ConfigModel):
    enabled: bool
    key: str = ""
    name: str = ""


class Settings(ConfigModel):
    service: Service
    mirror: Optional | None = None


def write(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text)
    return file


def test_environment_variable_wins_over_the_default(tmp_path: Path) -> None:
    file = write(tmp_path, "service: {url: '${E2I_URL:-http://default}'}")
    assert load_config(file, Settings, environ={}).service.url == "http://default"
    assert load_config(file, Settings, environ={"E2I_URL": "http://set"}).service.url == "http://set"


def test_nested_default_is_resolved_from_the_inside(tmp_path: Path) -> None:
    file = write(tmp_path, "service: {url: '${A:-${B:-inner}}'}")
    assert load_config(file, Settings, environ={}).service.url == "inner"
    assert load_config(file, Settings, environ={"B": "from-b"}).service.url == "from-b"


def test_substituted_numbers_keep_their_type(tmp_path: Path) -> None:
    file = write(tmp_path, "service: {url: x, retries: '${N:-5}'}")
    assert load_config(file, Settings, environ={}).service.retries == 5


def test_unset_variable_in_a_disabled_branch_is_not_needed(tmp_path: Path) -> None:
    text = "service: {url: x}\nmirror: {enabled: %s, key: '${SECRET}', name: '${WHO:-me}'}"
    disabled = load_config(write(tmp_path, text % "false"), Settings, environ={})
    assert disabled.mirror == Optional(enabled=False, name="me")
    with pytest.raises(ConfigError, match=r"mirror\.key.*SECRET is not set"):
        load_config(write(tmp_path, text % "true"), Settings, environ={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("service: {url: x, retrys: 1}", r"service\.retrys: unknown key"),
        ("service: {url: x, retries: many}", r"service\.retries: .*integer"),
        ("service: {url: '${NOT_SET}'}", r"service\.url: environment variable NOT_SET"),
        ("service: [", "not valid YAML"),
        ("just text", "expected keys and values"),
        ("service: {retries: 1}", r"service\.url: Field required"),
    ],
)
def test_a_mistake_is_one_line_naming_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(write(tmp_path, text), Settings, environ={})
    assert "settings.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such configuration file"):
        load_config(tmp_path / "absent.yaml", Settings)


def test_settings_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    settings = load_config(write(tmp_path, "service: {url: x}"), Settings, environ={})
    with pytest.raises(ValueError, match="frozen"):
        settings.service = Service(url="y")
