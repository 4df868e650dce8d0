"""Which wording does each component use, which did it use before, and where do the shipped files stand?"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from src.domain.prompts import PROMPTS, Prompt, load_prompt
from src.errors import ConfigError, nearest_names
from src.storage.database import Database, Session

IMPORTER = "config/prompts"
"""Who activated a version that came with the files."""
LONGEST_CACHE_S = 60.0
_NEVER_AGAIN = ("rejected", "rolled_back")


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of a component's prompt. ``origin`` is file, improvement or gepa; scores are of offline tests."""

    component: str
    version: int
    content: str
    content_sha256: str
    parent_version: int | None
    status: str
    origin: str
    offline_score: float | None
    baseline_score: float | None
    activated_at: datetime | None
    activated_by: str | None
    retired_at: datetime | None
    rollback_reason: str | None
    created_by: str | None
    created_at: datetime

    @property
    def active(self) -> bool:
        """Whether the component uses it now."""
        return self.status == "active"


_COLUMNS = ", ".join(field.name for field in dataclasses.fields(PromptVersion))
_VERSIONS = f"""
SELECT {_COLUMNS} FROM prompt_versions WHERE %(component)s::text IS NULL OR component = %(component)s
ORDER BY component, version
"""
_ACTIVE = f"SELECT {_COLUMNS} FROM prompt_versions WHERE component = %s AND status = 'active'"
# The lock of activate_prompt_version and rollback_prompt_version.
_LOCKED = "SELECT pg_advisory_xact_lock(hashtext('prompt:' || %s))"
_ADDED = f"""
INSERT INTO prompt_versions (component, version, content, content_sha256, parent_version, origin, created_by)
VALUES (%s, %s, %s, %s, %s, 'file', '{IMPORTER}')
"""
_ACTIVATED = f"SELECT version FROM activate_prompt_version(%s, %s, '{IMPORTER}')"


class PromptRepository:
    """Reads ``prompt_versions`` and brings the shipped files into it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self, component: str) -> PromptVersion | None:
        """The version in use, None where there is none."""
        row = await self._database.fetchrow(_ACTIVE, (component,))
        return None if row is None else PromptVersion(**row)

    async def versions(self, component: str | None = None) -> tuple[PromptVersion, ...]:
        """All versions of a component, or of all of them, oldest first."""
        rows = await self._database.fetch(_VERSIONS, {"component": component})
        return tuple(PromptVersion(**row) for row in rows)

    async def import_files(self, folder: Path = PROMPTS) -> Mapping[str, int]:
        """Make every file of ``folder`` a version, and the one in use unless somebody chose another.

        The first text of a component is its version 1. A changed file is the next version; it is activated where the
        active one came with the files too and nobody activated or rolled back anything by hand, else it is a candidate.
        A file that went back to an earlier text has that version activated again. Nothing is ever overwritten.
        Returns the versions that were activated, by component. Raises ConfigError for a file that cannot be used.
        """
        files = [load_prompt(file.stem, folder) for file in sorted(folder.glob("*.md"))]
        known = {one.component: one.content_sha256 for one in await self.versions() if one.active}
        activated: dict[str, int] = {}
        for file in files:
            if known.get(file.component) != _sha256(file.text):
                async with self._database.transaction() as session:
                    if (version := await _import(session, file)) is not None:
                        activated[file.component] = version
        return activated


async def _import(session: Session, file: Prompt) -> int | None:
    """Take one file in; the version that was activated for it."""
    await session.execute(_LOCKED, (file.component,))
    rows = await session.fetch(_VERSIONS, {"component": file.component})
    versions = [PromptVersion(**row) for row in rows]
    digest = _sha256(file.text)
    active = next((one for one in versions if one.active), None)
    same = next((one for one in reversed(versions) if one.origin == "file" and one.content_sha256 == digest), None)
    if same is None:
        number = max((one.version for one in versions), default=0) + 1
        parent = active.version if active is not None else None
        await session.execute(_ADDED, (file.component, number, file.text, digest, parent))
    elif same.active or same.status in _NEVER_AGAIN:
        return None
    else:
        number = same.version
    if versions and not _left_to_the_files(active, versions):
        return None
    await session.execute(_ACTIVATED, (file.component, number))
    return number


def _left_to_the_files(active: PromptVersion | None, versions: Sequence[PromptVersion]) -> bool:
    """Whether the version in use came with the files and nobody had a hand in it.

    A roll-back makes a version active at the very moment at which it takes another back.
    """
    if active is None or active.origin != "file" or active.activated_by != IMPORTER:
        return False
    return not any(one.status == "rolled_back" and one.retired_at == active.activated_at for one in versions)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class PromptStore:
    """The wording in use, as ``PromptSource``: what is activated is read at the latest ``LONGEST_CACHE_S`` later."""

    def __init__(
        self,
        repository: PromptRepository,
        *,
        clock: Callable[[], float] = time.monotonic,
        cache_s: float = LONGEST_CACHE_S,
    ) -> None:
        """``cache_s`` is at most 60; ``clock`` counts seconds. Raises ValueError."""
        if not 0 <= cache_s <= LONGEST_CACHE_S:
            raise ValueError(f"a prompt may be kept for 0 to {LONGEST_CACHE_S:g} seconds, not {cache_s:g}")
        self._repository = repository
        self._clock = clock
        self._cache_s = cache_s
        self._known: dict[str, tuple[float, Prompt]] = {}

    async def active(self, component: str) -> Prompt:
        """The active version. Raises ConfigError for a component without one, DatabaseUnavailable."""
        read_at, prompt = self._known.get(component, (0.0, None))
        now = self._clock()
        if prompt is not None and now - read_at < self._cache_s:
            return prompt
        found = await self._repository.active(component)
        if found is None:
            known = {one.component for one in await self._repository.versions() if one.active}
            raise ConfigError(f"no prompt of '{component}' is active; {nearest_names(component, sorted(known))}")
        prompt = Prompt(component, found.version, found.content)
        self._known[component] = (now, prompt)
        return prompt
