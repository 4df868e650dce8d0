"""Which component does the quality of an answer speak of?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from src.domain.improvement import LearningItem

# The prompts that write the words of an answer. The others sort, plan or judge: their part in a poor text is small.
WRITERS = ("explainer", "rag_answer")


class Answered(Protocol):
    """An answer: the agent that is answerable for it, and the prompts that had a part in it."""

    @property
    def component(self) -> str: ...

    @property
    def prompt_versions(self) -> Mapping[str, int]: ...


def component_of(item: Answered) -> str:
    """The component whose prompt wrote the answer, or the agent that is answerable for it where no model wrote."""
    return next((name for name in WRITERS if name in item.prompt_versions), item.component)


def by_component(items: Iterable[LearningItem]) -> Mapping[str, Sequence[LearningItem]]:
    """Items by the component they speak of, components in the order of their names."""
    found: defaultdict[str, list[LearningItem]] = defaultdict(list)
    for item in items:
        found[component_of(item)].append(item)
    return {name: tuple(found[name]) for name in sorted(found)}
