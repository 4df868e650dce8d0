"""Has a change like this been tried, and what came of it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from src.domain.improvement import ChangeKind, Lesson, digest
from src.optimization.pipeline.evidence import changed_lines
from src.optimization.pipeline.services import PipelineServices
from src.resilience.outcomes import Unavailable
from src.storage.knowledge import LessonType

MOST_LESSONS = 12
_FAILED: tuple[LessonType, ...] = ("failure", "constraint")


@dataclass(frozen=True, slots=True)
class Embedded:
    """A vector and the model that made it."""

    vector: tuple[float, ...]
    model: str


@dataclass(frozen=True, slots=True)
class Veto:
    """A lesson against a change, and why it is about this one."""

    lesson: Lesson
    reason: str


async def lessons_of(services: PipelineServices, component: str) -> tuple[Lesson, ...]:
    """What a candidate should be made with: successes as examples, failures to avoid; newest first."""
    if not services.settings.improvement.use_knowledge_store:
        return ()
    return await services.knowledge.active(component, MOST_LESSONS)


async def embedded(
    services: PipelineServices, kind: ChangeKind, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Embedded | None:
    """The vector of what changes in a prompt; None for settings, whose numbers say nothing to a model of language, and
    where no embeddings can be had: then only the very same change is found again."""
    lines = changed_lines(before, after) if kind is ChangeKind.PROMPT else ""
    if services.embeddings is None or not lines:
        return None
    vectors = await services.embeddings.embed([lines])
    if isinstance(vectors, Unavailable):
        return None
    return Embedded(tuple(float(value) for value in vectors[0]), services.embeddings.model)


async def veto_of(
    services: PipelineServices, component: str, after: Mapping[str, Any], change: Embedded | None
) -> Veto | None:
    """The failed lesson about the same content, or about a change as similar as the settings say."""
    if not services.settings.improvement.use_knowledge_store:
        return None
    for lesson in await services.knowledge.of_change(digest(after), component):
        if lesson.lesson_type in _FAILED:
            return Veto(lesson, f"the same was tried and failed: {lesson.title}")
    least = services.settings.improvement.veto_similarity
    if change is not None:
        for lesson_type in _FAILED:
            found = await services.knowledge.similar(
                change.vector, change.model, component, lesson_type=lesson_type, min_similarity=least, limit=1
            )
            for lesson, similarity in found:
                return Veto(
                    lesson, f"as good as the same (cosine {similarity:.2f}) was tried and failed: {lesson.title}"
                )
    return None
