"""What is the language model told before it sees the facts?"""

from __future__ import annotations

import hashlib

from src.errors import ConfigError
from src.settings import CONFIG_DIR

FILE = CONFIG_DIR / "prompts" / "feature_analyzer.md"


def system_prompt() -> str:
    """The text of config/prompts/feature_analyzer.md. Raises ConfigError when it is missing or empty."""
    try:
        text = FILE.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{FILE}: the prompt cannot be read ({type(error).__name__})") from error
    if not text:
        raise ConfigError(f"{FILE}: the prompt is empty")
    return text


def fingerprint(prompt: str) -> str:
    """What names this version of a prompt on spans: the first 12 hex digits of its SHA-256."""
    return hashlib.sha256(prompt.encode()).hexdigest()[:12]
