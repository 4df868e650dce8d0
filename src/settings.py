"""What do the files in config/ and the environment say? Parsed once, frozen, unknown keys refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from src.errors import ConfigError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
CONFIG_DIR = PROJECT_ROOT / "config"

_PLACEHOLDER = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*)(?::-(?P<default>[^${}]*))?\}")

Model = TypeVar("Model", bound="ConfigModel")


class ConfigModel(BaseModel):
    """Base of every configuration model: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


def _http_address(address: str) -> str:
    # The address itself is not shown: it may hold a password.
    try:
        names_a_host = address.startswith(("http://", "https://")) and bool(urlsplit(address).hostname)
    except ValueError:
        names_a_host = False
    if address and not names_a_host:
        raise ValueError("the address must start with http:// or https:// and name a host")
    return address


# Empty, or the address of an HTTP service.
HttpAddress = Annotated[str, AfterValidator(_http_address)]


def shown_address(url: str) -> str:
    """An address for people: scheme, host, port and path, without credentials and query."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def var_dir() -> Path:
    """Folder for everything E2I generates (``E2I_VAR_DIR``, default ``var/`` in the checkout)."""
    return Path(os.environ.get("E2I_VAR_DIR") or PROJECT_ROOT / "var").resolve()


def load_config(path: Path | str, model: type[Model], *, environ: Mapping[str, str] | None = None) -> Model:
    """Read a YAML file into ``model``, with ``${VAR}`` and ``${VAR:-default}`` replaced.

    Raises ConfigError, one line, naming file and key: missing file, bad YAML, unset variable
    without default, unknown key, wrong type or value.
    """
    file = Path(path)
    shown = file.relative_to(PROJECT_ROOT) if file.is_relative_to(PROJECT_ROOT) else file
    try:
        raw = _parsed(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{shown}: no such configuration file") from error
    except OSError as error:
        raise ConfigError(f"{shown}: cannot be read ({error.strerror})") from error
    except DuplicateKey as error:
        raise ConfigError(f"{shown}: {error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{shown}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{shown}: expected keys and values at the top level")
    resolved = _substitute(raw, os.environ if environ is None else environ, shown, "")
    try:
        return model.model_validate(resolved)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        problem = "unknown key" if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(": ".join(str(part) for part in (shown, key, problem) if part)) from error


@lru_cache(maxsize=64)
def _parsed(text: str) -> Any:
    """What YAML says, parsed once per text; it is read only. A file that changed is another text."""
    return yaml.load(text, Loader=_UniqueKeys)


class DuplicateKey(Exception):
    """A mapping says the same key twice."""


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which the second of two equal keys is an error rather than the winner."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise DuplicateKey(f"{key}: given twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _substitute(value: Any, environ: Mapping[str, str], file: Path, key: str) -> Any:
    if isinstance(value, dict):
        if value.get("enabled") is False:
            value = {name: item for name, item in value.items() if not _has_unset(item, environ)}
        return {name: _substitute(item, environ, file, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, environ, file, f"{key}[{index}]") for index, item in enumerate(value)]
    if not isinstance(value, str) or "${" not in value:
        return value
    return _substitute_text(value, environ, file, key)


def _substitute_text(text: str, environ: Mapping[str, str], file: Path, key: str) -> Any:
    def resolve(match: re.Match[str]) -> str:
        name, default = match["name"], match["default"]
        if environ.get(name):
            return environ[name]
        if default is None:
            raise ConfigError(f"{file}: {key}: environment variable {name} is not set and has no default")
        return default

    previous = None
    while previous != text and _PLACEHOLDER.search(text):
        previous, text = text, _PLACEHOLDER.sub(resolve, text)
    return text  # as it is: the model makes numbers and booleans of it, and a key of digits stays a text


def _has_unset(value: Any, environ: Mapping[str, str]) -> bool:
    if not isinstance(value, str):
        return False
    return any(m["default"] is None and not environ.get(m["name"]) for m in _PLACEHOLDER.finditer(value))
