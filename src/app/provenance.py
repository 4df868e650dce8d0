"""Which code and which libraries produced a number?"""

from __future__ import annotations

import hashlib
import platform
from functools import cache
from importlib.metadata import version
from typing import Any

import orjson

from src.settings import PROJECT_ROOT

NUMERIC_LIBRARIES = ("lightgbm", "numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "statsmodels")


@cache
def code_version() -> str:
    """Package version and a digest of every source file, so that an edited checkout is a different version."""
    digest = hashlib.sha256()
    for file in sorted((PROJECT_ROOT / "src").rglob("*.py")):
        digest.update(file.relative_to(PROJECT_ROOT).as_posix().encode())
        digest.update(file.read_bytes())
    return f"{version('e2i')}+src.{digest.hexdigest()[:12]}"


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that touch the numbers, and the machine type."""
    found = {name: version(name) for name in NUMERIC_LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine(), **found}


def stable_sha256(document: Any) -> str:
    """SHA-256 of a JSON document with sorted keys."""
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
