"""Which optimised wordings are there, what is in them, and which one counts?"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.domain.improvement import digest
from src.errors import ContractViolation, DataUnavailable, nearest_names
from src.storage.prompt_versions import PromptRepository, PromptVersion

CURRENT = "current"
_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class SavedVersion:
    """An optimised program: its instructions by predictor, and what they scored on the validation items (0–1)."""

    version_id: str
    component: str
    instructions: Mapping[str, str]
    created_at: datetime
    score: float | None = None
    baseline_score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def instruction_hash(self) -> str:
        """See ``compute_instruction_hash``."""
        return compute_instruction_hash(self.instructions)


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """What differs: the instructions as a unified diff by predictor, and the scores (``second`` minus ``first``)."""

    first: str
    second: str
    same_instructions: bool
    diff: Mapping[str, str]
    score_difference: float | None


def compute_instruction_hash(instructions: Mapping[str, str]) -> str:
    """SHA-256 (hex) of instructions by predictor; the order does not matter."""
    return digest(dict(instructions))


def generate_version_id(component: str, instructions: Mapping[str, str], now: datetime) -> str:
    """``gepa_<component>_<time in UTC>_<first 8 digits of the instructions' hash>``."""
    if not _NAME.fullmatch(component):
        raise ValueError(f"'{component}' is no name of a component: letters, digits, - and _ only")
    return f"gepa_{component}_{now.astimezone(UTC):%Y%m%dT%H%M%SZ}_{compute_instruction_hash(instructions)[:8]}"


def save_optimized_module(
    component: str,
    instructions: Mapping[str, str],
    *,
    folder: Path,
    keep: int,
    now: datetime,
    score: float | None = None,
    baseline_score: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> SavedVersion:
    """Keep a version, make it the current one and remove all but the newest ``keep``.

    Saved again with the same instructions in the same second, it is the same version.
    """
    version_id = generate_version_id(component, instructions, now)
    saved = SavedVersion(version_id, component, dict(instructions), now, score, baseline_score, dict(metadata or {}))
    _write(folder / component / f"{version_id}.json", {**asdict(saved), "created_at": now.isoformat()})
    _point(folder, component, version_id)
    for old in list_versions(component, folder=folder)[keep:]:
        (folder / component / f"{old.version_id}.json").unlink(missing_ok=True)
    return saved


def load_optimized_module(component: str, version_id: str | None = None, *, folder: Path, module: Any = None) -> Any:
    """The version of that id, by default the current one; with ``module`` a copy of it with these instructions.

    Raises DataUnavailable for an unknown version and for a file whose instructions are not those it was saved with.
    """
    saved = _read(folder, component, version_id or current_version(component, folder=folder))
    if module is None:
        return saved
    from src.optimization.gepa.optimizer import with_instructions

    return with_instructions(module, saved.instructions)


def list_versions(component: str, *, folder: Path) -> list[SavedVersion]:
    """All versions of a component, the newest first."""
    files = (folder / component).glob("gepa_*.json")
    found = [_read(folder, component, file.stem) for file in files]
    return sorted(found, key=lambda one: (one.created_at, one.version_id), reverse=True)


def current_version(component: str, *, folder: Path) -> str:
    """The id of the version that counts. Raises DataUnavailable where there is none."""
    try:
        return (folder / component / CURRENT).read_text("utf-8").strip()
    except FileNotFoundError:
        raise DataUnavailable(f"{component}: no optimised version is saved in {folder}") from None


def rollback_to_version(component: str, version_id: str, *, folder: Path) -> SavedVersion:
    """Make an earlier version the current one. Raises DataUnavailable for one that is not kept."""
    saved = _read(folder, component, version_id)
    _point(folder, component, version_id)
    return saved


def compare_versions(component: str, first: str, second: str, *, folder: Path) -> VersionComparison:
    """What differs between two versions. Raises DataUnavailable for one that is not kept."""
    one, other = _read(folder, component, first), _read(folder, component, second)
    names = sorted({*one.instructions, *other.instructions})
    diff = {
        name: _diff(one.instructions.get(name, ""), other.instructions.get(name, ""), first, second) for name in names
    }
    difference = None if one.score is None or other.score is None else other.score - one.score
    same = one.instruction_hash == other.instruction_hash
    return VersionComparison(first, second, same, {name: text for name, text in diff.items() if text}, difference)


async def as_candidate(saved: SavedVersion, prompts: PromptRepository, *, created_by: str) -> PromptVersion:
    """The version as a candidate among the component's prompts, where gates and canary decide on it; once for a text.

    Raises ContractViolation for a program with several prompts.
    """
    if len(saved.instructions) != 1:
        raise ContractViolation(f"{saved.version_id} has {len(saved.instructions)} prompts; a component has one")
    (text,) = saved.instructions.values()
    return await prompts.add_candidate(saved.component, text, action_id=None, origin="gepa", created_by=created_by)


def _diff(one: str, other: str, first: str, second: str) -> str:
    return "\n".join(difflib.unified_diff(one.splitlines(), other.splitlines(), first, second, lineterm=""))


def _read(folder: Path, component: str, version_id: str) -> SavedVersion:
    file = folder / component / f"{version_id}.json"
    if not _NAME.fullmatch(component) or not _NAME.fullmatch(version_id) or not file.is_file():
        known = [one.stem for one in (folder / component).glob("gepa_*.json")]
        raise DataUnavailable(f"{component}: no version '{version_id}' is kept; {nearest_names(version_id, known)}")
    kept = json.loads(file.read_text("utf-8"))
    content_hash = kept.pop("sha256")
    if content_hash != _content_hash(kept):
        raise DataUnavailable(f"{file}: the file was changed after it was saved; remove it")
    return SavedVersion(**{**kept, "created_at": datetime.fromisoformat(kept["created_at"])})


def _write(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _replace(file, json.dumps({**content, "sha256": _content_hash(content)}, ensure_ascii=False, indent=1))


def _point(folder: Path, component: str, version_id: str) -> None:
    _replace(folder / component / CURRENT, version_id)


def _replace(file: Path, text: str) -> None:
    """Never a half-written file, whenever the process dies."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    with open(temporary, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)


def _content_hash(content: Mapping[str, Any]) -> str:
    encoded = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(encoded.encode()).hexdigest()
