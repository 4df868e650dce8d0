"""Where are the SQL files, and what do they say without comments and function bodies?"""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[3] / "database"
MANIFEST = (FOLDER / "manifest.txt").read_text(encoding="utf-8").split()


def text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def statements(name: str) -> str:
    """The file without comments."""
    return re.sub(r"--[^\n]*", "", text(name))


def declarations(name: str) -> str:
    """The file without comments and function bodies."""
    return re.sub(r"\$\$.*?\$\$", "''", statements(name), flags=re.DOTALL)
