"""Where do the variants of a kind live, and how does one take the place of another?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from src.domain.improvement import ChangeKind, digest
from src.errors import ConfigError, ContractViolation
from src.optimization.pipeline.services import PipelineServices
from src.storage.database import Session
from src.storage.improvement_actions import ImprovementAction
from src.storage.prompt_versions import PromptRepository, PromptVersion
from src.storage.retrieval_configurations import RetrievalConfigRepository, RetrievalVersion


class Stale(Exception):
    """Somebody chose another version in between; raised inside a transaction, which then changes nothing."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Numbers of the version in use when the candidate was made, and of the candidate; the row of each.

    ``activated_at``: when the candidate came into use, by the database's clock.
    """

    control: int
    treatment: int
    control_id: str
    treatment_id: str
    active: bool
    """Whether the candidate is the one in use."""
    activated_at: datetime | None


class Versions(Protocol):
    """The versions of one kind of change. What is called with a session is part of its transaction."""

    async def in_use(self, component: str) -> Mapping[str, Any]:
        """The content in use. Raises ConfigError or DataUnavailable where nothing is."""
        ...

    async def add(self, action: ImprovementAction, session: Session) -> Mapping[str, Any]:
        """Store the candidate; the action's columns that name it. Raises Stale."""
        ...

    async def pair(self, action: ImprovementAction) -> Pair:
        """Both versions of a change that has a candidate."""
        ...

    async def is_current(self, action: ImprovementAction) -> bool:
        """Whether what the change is to replace is still in use."""
        ...

    async def approve(self, action: ImprovementAction, session: Session) -> None:
        """Let the candidate answer a share of the questions."""
        ...

    async def reject(self, action: ImprovementAction, session: Session) -> None:
        """Never use the candidate."""
        ...

    async def scored(
        self, action: ImprovementAction, offline: float | None, baseline: float | None, session: Session
    ) -> None:
        """Note the means of the test with the candidate, where the versions have a place for it."""
        ...

    async def activate(self, action: ImprovementAction, actor: str, session: Session) -> None:
        """Use the candidate in place of what it was made from. Raises Stale where that is not in use any more."""
        ...

    async def roll_back(self, action: ImprovementAction, reason: str, session: Session) -> int:
        """Use the version before again; its number. Raises Stale where the candidate is not in use any more,
        ContractViolation where the one before is not kept any longer."""
        ...


def versions_of(services: PipelineServices, kind: ChangeKind) -> Versions:
    """The versions of a kind. Raises ContractViolation for workflow, which has none."""
    keep = services.settings.safety.keep_versions
    if kind is ChangeKind.PROMPT:
        return PromptTexts(services.prompts, keep, services.actor)
    if kind is ChangeKind.RETRIEVAL:
        return RetrievalSettings(services.retrieval, keep)
    raise ContractViolation(f"a change of the kind {kind.value} has no versions")


class PromptTexts:
    """Versions of prompts; the content is {"text": …}."""

    def __init__(self, prompts: PromptRepository, keep: int, actor: str) -> None:
        self._prompts = prompts
        self._keep = keep
        self._actor = actor

    async def in_use(self, component: str) -> Mapping[str, Any]:
        found = await self._prompts.active(component)
        if found is None:
            raise ConfigError(f"no prompt of '{component}' is active; 'e2i prompts' imports the files")
        return {"text": found.content}

    async def add(self, action: ImprovementAction, session: Session) -> Mapping[str, Any]:
        added = await self._prompts.add_candidate(
            action.component,
            str((action.after_config or {})["text"]),
            action_id=action.action_id,
            origin="gepa" if action.origin == "gepa" else "improvement",
            created_by=self._actor,
            session=session,
        )
        parent = await self._parent(added, session)
        if digest({"text": parent.content}) != digest(action.before_config):
            raise Stale(f"version {parent.version} of {action.component} came into use in between")
        return {"prompt_version_id": added.id}

    async def pair(self, action: ImprovementAction) -> Pair:
        candidate = await self._candidate(action)
        parent = await self._parent(candidate)
        return Pair(
            parent.version, candidate.version, parent.id, candidate.id, candidate.active, candidate.activated_at
        )

    async def is_current(self, action: ImprovementAction) -> bool:
        found = await self._prompts.active(action.component)
        if found is None:
            return False
        candidate = await self._prompts.of_action(action.action_id)
        if candidate is None:
            return digest({"text": found.content}) == digest(action.before_config)
        return found.version == candidate.parent_version

    async def approve(self, action: ImprovementAction, session: Session) -> None:
        candidate = await self._candidate(action)
        await self._prompts.approve(action.component, candidate.version, session=session)

    async def reject(self, action: ImprovementAction, session: Session) -> None:
        candidate = await self._candidate(action)
        await self._prompts.reject(action.component, candidate.version, session=session)

    async def scored(
        self, action: ImprovementAction, offline: float | None, baseline: float | None, session: Session
    ) -> None:
        candidate = await self._candidate(action)
        await self._prompts.scored(
            action.component, candidate.version, offline_score=offline, baseline_score=baseline, session=session
        )

    async def activate(self, action: ImprovementAction, actor: str, session: Session) -> None:
        candidate = await self._candidate(action)
        active = await self._prompts.activate(action.component, candidate.version, actor, session=session)
        parent = await self._parent(active, session)
        # Both times are those of the transaction: another version would have been retired by it.
        if parent.retired_at != active.activated_at:
            raise Stale(f"another version of {action.component} than {parent.version} is in use")

    async def roll_back(self, action: ImprovementAction, reason: str, session: Session) -> int:
        candidate = await self._candidate(action)
        restored = await self._prompts.roll_back(action.component, reason, keep=self._keep, session=session)
        now = await self._prompts.get(action.component, candidate.version, session=session)
        if now.status != "rolled_back":
            raise Stale(f"version {candidate.version} of {action.component} is not in use any more")
        return restored.version

    async def _candidate(self, action: ImprovementAction) -> PromptVersion:
        found = await self._prompts.of_action(action.action_id)
        if found is None:
            raise ContractViolation(f"action {action.action_id} has no candidate")
        return found

    async def _parent(self, candidate: PromptVersion, session: Session | None = None) -> PromptVersion:
        if candidate.parent_version is None:
            raise Stale(f"no version of {candidate.component} was in use")
        return await self._prompts.get(candidate.component, candidate.parent_version, session=session)


class RetrievalSettings:
    """Versions of the retrieval settings; the content are those that can be changed."""

    def __init__(self, retrieval: RetrievalConfigRepository, keep: int) -> None:
        self._retrieval = retrieval
        self._keep = keep

    async def in_use(self, component: str) -> Mapping[str, Any]:
        return (await self._retrieval.active()).settings

    async def add(self, action: ImprovementAction, session: Session) -> Mapping[str, Any]:
        after = action.after_config or {}
        added = await self._retrieval.add_candidate(after, action_id=action.action_id, session=session)
        parent = await self._parent(added)
        if digest(dict(parent.config.settings)) != digest(action.before_config):
            raise Stale(f"retrieval settings {parent.config.version} came into use in between")
        return {"retrieval_config_id": added.config.config_id}

    async def pair(self, action: ImprovementAction) -> Pair:
        candidate = await self._candidate(action)
        parent = await self._parent(candidate)
        return Pair(
            parent.config.version,
            candidate.config.version,
            parent.config.config_id,
            candidate.config.config_id,
            candidate.active,
            candidate.activated_at,
        )

    async def is_current(self, action: ImprovementAction) -> bool:
        active = await self._retrieval.active()
        if action.retrieval_config_id is None:
            return digest(dict(active.settings)) == digest(action.before_config)
        return active.config_id == (await self._candidate(action)).parent_id

    async def approve(self, action: ImprovementAction, session: Session) -> None:
        candidate = await self._candidate(action)
        await self._retrieval.approve(candidate.config.version, session=session)

    async def reject(self, action: ImprovementAction, session: Session) -> None:
        candidate = await self._candidate(action)
        await self._retrieval.reject(candidate.config.version, session=session)

    async def scored(
        self, action: ImprovementAction, offline: float | None, baseline: float | None, session: Session
    ) -> None:
        """Settings have no scores of their own: they are in the ledger."""

    async def activate(self, action: ImprovementAction, actor: str, session: Session) -> None:
        candidate = await self._candidate(action)
        active = await self._retrieval.activate(candidate.config.version, actor, session=session)
        parent = await self._parent(active)
        now = await self._retrieval.get(parent.config.version, session=session)
        if now.retired_at != active.activated_at:
            raise Stale(f"other retrieval settings than {parent.config.version} are in use")

    async def roll_back(self, action: ImprovementAction, reason: str, session: Session) -> int:
        candidate = await self._candidate(action)
        restored = await self._retrieval.roll_back(reason, keep=self._keep, session=session)
        now = await self._retrieval.get(candidate.config.version, session=session)
        if now.status != "rolled_back":
            raise Stale(f"retrieval settings {candidate.config.version} are not in use any more")
        return restored.config.version

    async def _candidate(self, action: ImprovementAction) -> RetrievalVersion:
        if action.retrieval_config_id is None:
            raise ContractViolation(f"action {action.action_id} has no candidate")
        return await self._retrieval.of_id(action.retrieval_config_id)

    async def _parent(self, candidate: RetrievalVersion) -> RetrievalVersion:
        if candidate.parent_id is None:
            raise Stale("no retrieval settings were in use")
        return await self._retrieval.of_id(candidate.parent_id)
