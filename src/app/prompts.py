"""Which wording does every component use, and how did it come to it?"""

from __future__ import annotations

import difflib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from src.app.tracing import traced_database
from src.errors import ConfigError, nearest_names
from src.storage.database import Database
from src.storage.prompt_versions import PromptRepository, PromptStore, PromptVersion


async def open_prompts(database: Database) -> PromptStore:
    """The prompts of a database, with the shipped files in it. Raises ConfigError for a file that cannot be used."""
    repository = PromptRepository(database)
    await repository.import_files()
    return PromptStore(repository)


async def all_prompts() -> Sequence[PromptVersion]:
    """Every version of every component."""
    async with _repository() as repository:
        return await repository.versions()


async def prompt_history(component: str) -> Sequence[PromptVersion]:
    """The versions of a component, oldest first. Raises ConfigError for an unknown one, with the nearest names."""
    async with _repository() as repository:
        found = await repository.versions(component)
        if not found:
            known = {one.component for one in await repository.versions()}
            raise ConfigError(
                f"no component '{component[:60]}' has a prompt; {nearest_names(component, sorted(known))}"
            )
        return found


async def prompt_version(component: str, version: int | None = None) -> PromptVersion:
    """A version, by default the active one. Raises ConfigError."""
    return _chosen(await prompt_history(component), version)


async def prompt_difference(component: str, old: int | None = None, new: int | None = None) -> str:
    """A unified diff of two versions: by default of the active one and the one it came after; empty for equal texts.

    Raises ConfigError for versions that there are not.
    """
    versions = await prompt_history(component)
    later = _chosen(versions, new)
    earlier = _before(versions, later) if old is None else _chosen(versions, old)
    names = [f"{component} version {one.version} ({one.status})" for one in (earlier, later)]
    lines = difflib.unified_diff(
        earlier.content.splitlines(), later.content.splitlines(), names[0], names[1], lineterm=""
    )
    return "\n".join(lines)


@asynccontextmanager
async def _repository() -> AsyncIterator[PromptRepository]:
    async with traced_database() as database:
        repository = PromptRepository(database)
        await repository.import_files()
        yield repository


def _chosen(versions: Sequence[PromptVersion], version: int | None) -> PromptVersion:
    component = versions[0].component
    for one in versions:
        if one.active if version is None else one.version == version:
            return one
    there_are = ", ".join(str(one.version) for one in versions)
    wanted = "active version" if version is None else f"version {version}"
    raise ConfigError(f"the prompt of '{component}' has no {wanted}; there is: {there_are}")


def _before(versions: Sequence[PromptVersion], later: PromptVersion) -> PromptVersion:
    """The version that a version came after: its parent, else the one numbered before it."""
    parent = later.parent_version
    if parent is None:
        parent = max((one.version for one in versions if one.version < later.version), default=None)
    if parent is None:
        raise ConfigError(
            f"version {later.version} of '{later.component}' is the first one; name the versions to compare"
        )
    return _chosen(versions, parent)
