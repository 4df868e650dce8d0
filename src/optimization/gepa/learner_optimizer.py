"""How are the feedback learner's own four phases optimised, and from which examples?"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from src.domain.improvement import LearningItem
from src.errors import HPOError
from src.optimization.gepa.configuration import BudgetName, GepaConfig, load_gepa_config
from src.optimization.gepa.library import load_dspy
from src.optimization.gepa.metrics import metric_for
from src.optimization.gepa.metrics.feedback_learner import OUTPUT_OF
from src.optimization.gepa.mipro import compile_by_mipro
from src.optimization.gepa.optimizer import OptimizationResult, check_sets, optimize_agent, with_instructions
from src.optimization.gepa.program import clean
from src.optimization.gepa.versioning import save_optimized_module

Phase = Literal["pattern", "recommendation", "update", "summary"]
PHASES: tuple[Phase, ...] = ("pattern", "recommendation", "update", "summary")
AGENT = "feedback_learner"
PER_EXAMPLE = 4
LEAST_EXAMPLES = 5
WEAK_RUBRIC, WEAK_METRIC = 3.0, 0.7
KIND_OF: Mapping[str, str] = {
    "faithfulness": "accuracy",
    "answer_correctness": "accuracy",
    "answer_relevancy": "relevance",
    "context_precision": "relevance",
    "context_recall": "coverage",
    "causal_validity": "accuracy",
    "evidence_chain": "accuracy",
    "actionability": "relevance",
    "regulatory_awareness": "format",
    "uncertainty_communication": "format",
}
"""Which pattern a low score is a sign of."""
INSTRUCTIONS: Mapping[Phase, str] = {
    "pattern": "Find what went wrong again and again in these evaluated answers. Name each as 'component: kind'.",
    "recommendation": "Say for each pattern which component should change and what about it.",
    "update": "Write the lessons to keep: a JSON list of objects with title, description and component.",
    "summary": "Sum up for a person what was found and what should be done about which component.",
}


class FeedbackLearnerOptimizer:
    """Optimises the instructions of one phase, by GEPA or MIPROv2, with the metric ``feedback_learner``.

    ``model`` is the dspy model that carries out the phase, ``reflection_lm`` the one that proposes.
    """

    def __init__(
        self,
        optimizer_type: Literal["gepa", "miprov2"] = "gepa",
        *,
        model: Any,
        reflection_lm: Any,
        config: GepaConfig | None = None,
        **recording: Any,
    ) -> None:
        self.optimizer_type = optimizer_type
        self._model, self._reflection_lm = model, reflection_lm
        self._config = config or load_gepa_config()
        self._recording = recording

    async def optimize(
        self,
        phase: Phase,
        signals: Sequence[LearningItem],
        budget: BudgetName | None = None,
        *,
        random_state: int | None = None,
        max_metric_calls: int | None = None,
    ) -> OptimizationResult:
        """Optimise a phase on examples made of evaluated answers; half are learnt from, half choose.

        Raises HPOError, naming the count, for too few examples.
        """
        found = phase_examples(phase, signals)
        if len(found) < 2 * LEAST_EXAMPLES:
            raise HPOError(
                f"{len(found)} examples of the phase {phase} could be made of {len(signals)} evaluated answers, "
                f"{2 * LEAST_EXAMPLES} are needed: {PER_EXAMPLE} answers with a weakness make one"
            )
        train, validation = found[::2], found[1::2]
        module = phase_module(phase, self._model)
        if self.optimizer_type == "gepa":
            return await optimize_agent(
                AGENT, module, train, validation, budget, reflection_lm=self._reflection_lm, config=self._config,
                random_state=random_state, max_metric_calls=max_metric_calls, **self._recording,
            )  # fmt: skip
        return await self._by_mipro(module, train, validation, random_state)

    async def _by_mipro(
        self, module: Any, train: Sequence[Any], validation: Sequence[Any], random_state: int | None
    ) -> OptimizationResult:
        check_sets(train, validation, self._config.reflection_minibatch)
        judge = metric_for(AGENT, self._config)
        calls = 0

        def metric(gold: Any, pred: Any, trace: Any = None) -> float:
            nonlocal calls
            calls += 1
            return float(judge(gold, pred).score)

        def mean(program: Any) -> float:
            return sum(metric(one, program(**one.inputs())) for one in validation) / len(validation)

        def search() -> tuple[float, float, dict[str, str], Any]:
            seed = self._config.random_state if random_state is None else random_state
            baseline = mean(module)
            compiled = compile_by_mipro(
                module, metric, train, validation, self._reflection_lm, self._model, self._config, seed
            )
            best = mean(compiled)
            program = compiled if best > baseline else module
            texts = {name: one.signature.instructions for name, one in program.named_predictors()}
            return max(best, baseline), baseline, texts, with_instructions(module, texts)

        best, baseline, texts, program = await asyncio.to_thread(search)
        saved = save_optimized_module(
            AGENT,
            texts,
            folder=self._recording.get("folder") or self._config.versioning.folder,
            keep=self._config.versioning.keep,
            now=datetime.now(UTC),
            score=best,
            baseline_score=baseline,
            metadata={"optimizer": "miprov2"},
        )
        return OptimizationResult(saved.version_id, best, baseline, 1, calls, texts, module=program)


def phase_module(phase: Phase, model: Any) -> Any:
    """The dspy program of a phase; it asks ``model``."""
    predict = load_dspy().Predict(_signature(phase))
    predict.lm = model
    return predict


def phase_examples(phase: Phase, signals: Sequence[LearningItem]) -> list[Any]:
    """Examples of a phase: a few evaluated answers each, with what is known to be wrong in them as gold.

    Answers without a weakness make none, and equal examples count once: they could be learnt from and chosen by.
    Identifiers of persons are taken out.
    """
    weak = [one for one in signals if weaknesses(one)]
    groups = [weak[start : start + PER_EXAMPLE] for start in range(0, len(weak) - PER_EXAMPLE + 1, PER_EXAMPLE)]
    found: list[Any] = []
    for one in (_example(phase, group) for group in groups):
        found += [] if one in found else [one]
    return found


def weaknesses(item: LearningItem) -> dict[str, str]:
    """Names of low scores and the pattern each is a sign of."""
    low = [name for name, value in item.ragas.items() if value is not None and value < WEAK_METRIC]
    low += [name for name, value in item.rubric.items() if value is not None and value < WEAK_RUBRIC]
    return {name: KIND_OF[name] for name in (*low, *item.weaknesses) if name in KIND_OF}


def _example(phase: Phase, items: Sequence[LearningItem]) -> Any:
    dspy = load_dspy()
    patterns = sorted({f"{item.component}: {kind}" for item in items for kind in weaknesses(item).values()})
    shown = "\n\n".join(_shown(item) for item in items)
    wanted = [pattern.replace(":", "") for pattern in patterns]
    gold = {"patterns": patterns, "recommendations": wanted, "lessons": wanted}
    given = {"evaluated_answers": shown}
    if phase != "pattern":
        given["found_patterns"] = "\n".join(patterns)
    return dspy.Example(phase=phase, **given, **gold).with_inputs(*given)


def _shown(item: LearningItem) -> str:
    low = ", ".join(f"{name.replace('_', ' ')} low" for name in sorted(weaknesses(item)))
    return clean(f"component {item.component}; {low}\nquestion: {item.query}\nanswer: {item.answer[:500]}")


@functools.cache
def _signature(phase: Phase) -> Any:
    given = "evaluated_answers" if phase == "pattern" else "evaluated_answers, found_patterns"
    return load_dspy().Signature(f"{given} -> {OUTPUT_OF[phase]}", INSTRUCTIONS[phase])
