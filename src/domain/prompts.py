"""What is a language model told, and which version of it?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from src.errors import ConfigError
from src.settings import CONFIG_DIR

PROMPTS = CONFIG_DIR / "prompts"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The instructions of one component; files are version 1."""

    component: str
    version: int
    text: str

    @property
    def fingerprint(self) -> str:
        """What names this text on spans."""
        return fingerprint(self.text)


def fingerprint(text: str) -> str:
    """What names a version of a prompt on spans: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_prompt(component: str, folder: Path = PROMPTS) -> Prompt:
    """The prompt in ``config/prompts/<component>.md``. Raises ConfigError when it is missing, unreadable or empty."""
    file = folder / f"{component}.md"
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the prompt cannot be read ({type(error).__name__})") from error
    if not text:
        raise ConfigError(f"{file}: the prompt is empty")
    return Prompt(component, 1, text)


class PromptSource(Protocol):
    """Gives the wording in use."""

    async def active(self, component: str) -> Prompt:
        """The active version of a component's prompt. Raises ConfigError for a component without one."""
        ...


class FilePrompts:
    """The wording of the files, version 1: where no database holds others."""

    async def active(self, component: str) -> Prompt:
        """``config/prompts/<component>.md``."""
        return load_prompt(component)
