"""What does an optimiser need of a component: to run it with a wording, and a model that judges what came of it?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from src.domain.improvement import LearningItem
from src.errors import DataUnavailable
from src.llm.budget import Budget
from src.llm.client import LLMClient


class NotJudged(DataUnavailable):
    """No model judged an answer; what rules say of it is nothing to optimise against."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a component said with a wording. ``tokens`` are of prompt and reply; None and an unknown cost are None.

    ``problems`` are what must never happen and did (a lost caveat, a number without a source, an identifier).
    """

    answer: str
    contexts: tuple[str, ...] = ()
    tokens: int | None = None
    cost_dollars: float | None = None
    latency_ms: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """How good an answer was (0–1), what was wrong in words, and the single metrics (0–1) by name."""

    score: float
    feedback: str
    metrics: Mapping[str, float | None] = field(default_factory=dict)


class ComponentRunner(Protocol):
    """Runs the component itself, as it answers users, on inputs that were kept."""

    async def run(self, text: str, item: LearningItem) -> Ran:
        """Answer ``item`` with ``text`` as the component's prompt.

        Raises BudgetExhausted, DataUnavailable where the model or the item's inputs are not there, and MalformedReply
        or ModelRefused where the model's reply cannot be used.
        """
        ...


class OptimisingJudge(Protocol):
    """A model that judges while a prompt is improved; the gate is judged by another."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    async def judge(self, item: LearningItem, ran: Ran) -> Judgement:
        """Judge an answer. Raises NotJudged where no model did, BudgetExhausted."""
        ...


@dataclass(frozen=True, slots=True)
class RunTools:
    """What one run works with. All calls of all three go through clients that keep the run's budget.

    ``judge`` is None where no model is configured to judge.
    """

    runner: ComponentRunner
    judge: OptimisingJudge | None
    model: LLMClient


OpenTools = Callable[[str, Budget], AbstractAsyncContextManager[RunTools]]
"""Opens the tools for a component, on clients made with that budget (``open_client(…, budget=budget)``)."""
