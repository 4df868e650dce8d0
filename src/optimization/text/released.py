"""Are the files with the fairness rules and the thresholds those that were released?

``config/released.sha256`` lists their digests as ``sha256sum`` writes them, so that it works without git and in an
installed package. Who changes such a file on purpose releases it: ``sha256sum FILE… > config/released.sha256`` in the
project's folder. Until then nothing is changed automatically.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from src.errors import ConfigError
from src.settings import PROJECT_ROOT

RELEASED_FILE = Path("config/released.sha256")
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<path>\S.*)")


def released_digests(root: Path = PROJECT_ROOT) -> dict[str, str]:
    """Digest by path. Raises ConfigError where the list is missing or a line is none of ``sha256sum``."""
    try:
        lines = (root / RELEASED_FILE).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"{RELEASED_FILE} cannot be read ({error.strerror}); make it by sha256sum") from error
    found = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ConfigError(f"{RELEASED_FILE}, line {number}: no line of sha256sum")
        found[match["path"]] = match["digest"]
    return found


def file_digests(paths: Iterable[str], root: Path = PROJECT_ROOT) -> dict[str, str]:
    """SHA-256 (hex) of the files as they are now; a file that is missing is absent."""
    there = {path: root / path for path in paths if (root / path).is_file()}
    return {path: hashlib.sha256(file.read_bytes()).hexdigest() for path, file in there.items()}


def changed_files(paths: Iterable[str], found: Mapping[str, str], released: Mapping[str, str]) -> list[str]:
    """Why each file that is not as released is none, one line each."""
    problems = []
    for path in paths:
        if path not in released:
            problems.append(f"{path} is not listed in {RELEASED_FILE}")
        elif path not in found:
            problems.append(f"{path} is missing")
        elif found[path] != released[path]:
            problems.append(f"{path} is not as released; if that is meant: sha256sum it into {RELEASED_FILE}")
    return problems
