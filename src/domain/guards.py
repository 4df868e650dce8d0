"""Which questions are not answered, what may a role see, and how much may a session ask?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from src.settings import CONFIG_DIR, ConfigModel

GUARDS_FILE = CONFIG_DIR / "guards.yaml"


@dataclass(frozen=True, slots=True)
class Declined:
    """Why a question is not answered, in one line for the one who asked, and the name of the rule that says so."""

    rule: str
    reason: str


class Guards(ConfigModel):
    """``config/guards.yaml``."""

    def screen(self, question: str) -> Declined | None:
        """None for a question that may be answered."""
        raise NotImplementedError

    def hidden_columns(self, role: str) -> frozenset[str]:
        """Columns nobody of that role is shown or may filter and group by. Raises ConfigError for an unknown role."""
        raise NotImplementedError


def load_guards(path: Path = GUARDS_FILE) -> Guards:
    """Read ``config/guards.yaml``; raises ConfigError."""
    raise NotImplementedError
