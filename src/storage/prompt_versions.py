"""Which wording does each component use, which did it use before, and where do the shipped files stand?"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from src.domain.prompts import PROMPTS, Prompt, PromptSource, load_prompt
from src.errors import ConfigError, ContractViolation, nearest_names
from src.storage.canaries import variant_of
from src.storage.database import Database, Session
from src.storage.refusals import refusals

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
    id: str = ""
    source_action_id: str | None = None

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
_ONE = f"SELECT {_COLUMNS} FROM prompt_versions WHERE component = %s AND version = %s"
_OF_ACTION = f"SELECT {_COLUMNS} FROM prompt_versions WHERE source_action_id::text = %s"
# The active version in one row with that of the canary that compares it with another.
_IN_USE = """
SELECT active.version, active.content, canary.id AS canary_id, canary.split,
       tried.version AS tried_version, tried.content AS tried_content
FROM prompt_versions AS active
LEFT JOIN prompt_ab_tests AS canary
    ON canary.component = active.component AND canary.status = 'running' AND canary.control_version = active.version
LEFT JOIN prompt_versions AS tried
    ON tried.component = canary.component AND tried.version = canary.treatment_version
    AND tried.status IN ('candidate', 'approved')
WHERE active.component = %s AND active.status = 'active'
"""
_OF_TEXT = f"""
SELECT {_COLUMNS} FROM prompt_versions
WHERE component = %s AND content_sha256 = %s AND origin = %s AND status = 'candidate' AND source_action_id IS NULL
ORDER BY version DESC LIMIT 1
"""
_TRIED = """
INSERT INTO prompt_versions
    (component, version, content, content_sha256, parent_version, origin, source_action_id, created_by)
SELECT %(component)s, coalesce(max(version), 0) + 1, %(text)s, %(sha256)s,
       max(version) FILTER (WHERE status = 'active'), %(origin)s, %(action_id)s, %(created_by)s
FROM prompt_versions WHERE component = %(component)s
"""
_RESTATED = """
UPDATE prompt_versions SET status = %(to)s
WHERE component = %(component)s AND version = %(version)s AND status = ANY(%(allowed)s) RETURNING version
"""
_SCORED = """
UPDATE prompt_versions SET offline_score = %s, baseline_score = %s WHERE component = %s AND version = %s
"""
# The lock of activate_prompt_version and rollback_prompt_version.
_LOCKED = "SELECT pg_advisory_xact_lock(hashtext('prompt:' || %s))"
_ADDED = f"""
INSERT INTO prompt_versions (component, version, content, content_sha256, parent_version, origin, created_by)
VALUES (%s, %s, %s, %s, %s, 'file', '{IMPORTER}')
"""
_ACTIVATED = f"SELECT version FROM activate_prompt_version(%s, %s, '{IMPORTER}')"


@dataclass(frozen=True, slots=True)
class PromptsInUse:
    """What a component's sessions get: the active version, and while a canary runs another for a share of them."""

    active: Prompt
    tried: Prompt | None = None
    canary_id: str = ""
    split: float = 0.0

    def for_unit(self, unit_id: str) -> Prompt:
        """The version of a session, or of the trace of a question outside of any session."""
        if self.tried is not None and variant_of(self.canary_id, unit_id, self.split) == "treatment":
            return self.tried
        return self.active


class PromptRepository:
    """Writes and reads ``prompt_versions`` and brings the shipped files into it.

    Exactly one version of a component is active at every instant.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def active(self, component: str) -> PromptVersion | None:
        """The version in use, None where there is none."""
        row = await self._database.fetchrow(_ACTIVE, (component,))
        return None if row is None else PromptVersion(**row)

    async def in_use(self, component: str) -> PromptsInUse | None:
        """The active version with the one that a canary compares it with; None without an active one.

        A canary of another version than the active one divides nobody.
        """
        row = await self._database.fetchrow(_IN_USE, (component,))
        if row is None:
            return None
        active = Prompt(component, row["version"], row["content"])
        if row["tried_version"] is None:
            return PromptsInUse(active)
        tried = Prompt(component, row["tried_version"], row["tried_content"])
        return PromptsInUse(active, tried, row["canary_id"], row["split"])

    async def get(self, component: str, version: int, *, session: Session | None = None) -> PromptVersion:
        """A version by its number. Raises ContractViolation."""
        row = await (session or self._database).fetchrow(_ONE, (component, version))
        if row is None:
            raise ContractViolation(f"prompt {component} has no version {version}")
        return PromptVersion(**row)

    async def of_action(self, action_id: str) -> PromptVersion | None:
        """The candidate of an action."""
        row = await self._database.fetchrow(_OF_ACTION, (action_id,))
        return None if row is None else PromptVersion(**row)

    async def add_candidate(
        self,
        component: str,
        text: str,
        *,
        action_id: str | None,
        origin: Literal["improvement", "gepa"],
        created_by: str,
        session: Session | None = None,
    ) -> PromptVersion:
        """Store a text as a candidate with the active version as parent; once for each action.

        Without an action, a candidate of the same origin and text that nobody decided on is returned.
        """
        if session is None:
            async with self._database.transaction() as own:
                return await self.add_candidate(
                    component, text, action_id=action_id, origin=origin, created_by=created_by, session=own
                )
        await session.execute(_LOCKED, (component,))
        values: dict[str, str | None] = {
            "component": component,
            "text": text,
            "sha256": _sha256(text),
            "origin": origin,
        }
        values |= {"action_id": action_id, "created_by": created_by}
        known = _OF_ACTION if action_id is not None else _OF_TEXT
        wanted = (action_id,) if action_id is not None else (component, values["sha256"], origin)
        if (row := await session.fetchrow(known, wanted)) is None:
            await session.execute(_TRIED, values)
            row = await session.fetchrow(known, wanted)
        assert row is not None
        return PromptVersion(**row)

    async def scored(
        self,
        component: str,
        version: int,
        *,
        offline_score: float | None,
        baseline_score: float | None,
        session: Session | None = None,
    ) -> None:
        """Note the means of the offline test, of the version and of the one in use."""
        await (session or self._database).execute(_SCORED, (offline_score, baseline_score, component, version))

    async def approve(self, component: str, version: int, *, session: Session | None = None) -> None:
        """A candidate may answer a share of the sessions. Raises ContractViolation for what is no candidate."""
        await self._restate(component, version, "approved", ("candidate", "approved"), session)

    async def reject(self, component: str, version: int, *, session: Session | None = None) -> None:
        """A candidate is not used, ever. Raises ContractViolation for a version that is or was in use."""
        await self._restate(component, version, "rejected", ("candidate", "approved", "rejected"), session)

    async def activate(
        self, component: str, version: int, actor: str, *, session: Session | None = None
    ) -> PromptVersion:
        """Use a version from now on and retire the one before, both or neither.

        Raises ContractViolation for an unknown, rejected or rolled back one.
        """
        with refusals():
            await (session or self._database).execute(
                "SELECT activate_prompt_version(%s, %s, %s)", (component, version, actor)
            )
        return await self.get(component, version, session=session)

    async def roll_back(
        self, component: str, reason: str, *, keep: int | None = None, session: Session | None = None
    ) -> PromptVersion:
        """Take the active version back; returns the one before, which is active again, both or neither.

        With ``keep`` only to one of so many that were active last, the active one counted. Raises ContractViolation
        where there is nothing to go back to.
        """
        with refusals():
            row = await (session or self._database).fetchrow(
                "SELECT version FROM rollback_prompt_version(%s, %s, %s)", (component, reason, keep)
            )
        assert row is not None
        return await self.get(component, row["version"], session=session)

    async def _restate(
        self, component: str, version: int, to: str, allowed: tuple[str, ...], session: Session | None
    ) -> None:
        values = {"component": component, "version": version, "to": to, "allowed": list(allowed)}
        if await (session or self._database).fetchrow(_RESTATED, values) is None:
            known = await self.get(component, version, session=session)
            raise ContractViolation(f"version {version} of prompt {component} is {known.status} and cannot be {to}")

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
        self._known: dict[str, tuple[float, PromptsInUse]] = {}

    async def active(self, component: str) -> Prompt:
        """The active version. Raises ConfigError for a component without one, DatabaseUnavailable."""
        return (await self.in_use(component)).active

    def for_unit(self, unit_id: str) -> PromptSource:
        """The wording for a session: that of a canary for the units of its share, otherwise the active one."""
        return _UnitPrompts(self, unit_id)

    async def in_use(self, component: str) -> PromptsInUse:
        """The active version and what is tried. Raises ConfigError for a component without one, DatabaseUnavailable."""
        read_at, known = self._known.get(component, (0.0, None))
        now = self._clock()
        if known is not None and now - read_at < self._cache_s:
            return known
        found = await self._repository.in_use(component)
        if found is None:
            names = {one.component for one in await self._repository.versions() if one.active}
            raise ConfigError(f"no prompt of '{component}' is active; {nearest_names(component, sorted(names))}")
        self._known[component] = (now, found)
        return found


@dataclass(frozen=True, slots=True)
class _UnitPrompts:
    store: PromptStore
    unit_id: str

    async def active(self, component: str) -> Prompt:
        """The version that this unit gets."""
        return (await self.store.in_use(component)).for_unit(self.unit_id)
