"""How good are the answers of a wording to questions that were asked before, as the judge of the gate sees them?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from src.agents.feedback_learner.evaluation.applicability import speaks_of_effects
from src.agents.feedback_learner.evaluation.rubric_configuration import SelfImprovementConfig
from src.agents.feedback_learner.evaluation.rubric_evaluator import RubricEvaluator
from src.app.improving.inputs import evidence_ids
from src.app.improving.metering import MeteredClient
from src.app.improving.runners import can_answer_again
from src.domain.improvement import ItemScores, LearningItem, Variant
from src.domain.prompts import PromptSource
from src.domain.rubric import RubricContext, RubricEvaluation
from src.errors import DataUnavailable, MalformedReply, ModelRefused
from src.llm.client import LLMClient
from src.optimization.gepa.component import ComponentRunner, Ran
from src.rag.evaluator import RAGASEvaluator
from src.rag.judging.batch import in_parallel
from src.rag.judging.opening import Scoring
from src.rag.samples import EvaluationSample
from src.rag.scores import METRICS

UNREADABLE = "what was kept of the question cannot be read"
EXPERTISE = "analyst"


@dataclass(frozen=True, slots=True)
class ModelJudge:
    """Judges answers by the rubric with a model, and by the RAGAS metrics where a model measures them.

    ``name`` is that of the model; ``scoring`` is None where only rules could measure.
    """

    name: str
    client: LLMClient
    config: SelfImprovementConfig
    prompts: PromptSource
    evaluator: RAGASEvaluator
    scoring: Scoring | None

    async def rubric(self, component: str, item: LearningItem, ran: Ran) -> RubricEvaluation | None:
        """The rubric's judgement, None where the model's could not be used.

        Which criteria apply is settled by the answer that was given then: two variants are judged by the same ones.
        Raises DataUnavailable for a model that cannot be reached, and BudgetExhausted.
        """
        metered = MeteredClient(self.client)
        judge = RubricEvaluator(self.config, metered, prompts=self.prompts)
        context = RubricContext(
            query=item.query,
            answer=ran.answer,
            contexts=ran.contexts,
            evidence=evidence_ids(component, item),
            expertise=str(item.inputs.get("user_expertise", EXPERTISE)),
            component=component,
            causal=speaks_of_effects(item.query, item.answer),
        )
        found = await judge.evaluate(context)
        if found.method == "llm":
            return found
        metered.used.check()
        return None

    async def ragas(self, item: LearningItem, ran: Ran) -> dict[str, float | None]:
        """The RAGAS metrics; a metric that was not measured is None."""
        if self.scoring is None:
            return {}
        sample = EvaluationSample(
            query=item.query,
            answer=ran.answer,
            retrieved_contexts=ran.contexts,
            metadata={"brand": item.brand},
            sample_id=item.interaction_id,
        )
        result = await self.evaluator.scored(sample, self.scoring)
        return {name: result.value(name) for name in METRICS}


@dataclass(frozen=True, slots=True)
class PromptReplay:
    """Answers with a wording, judged by a model: a ``Replay``."""

    runner: Callable[[str], ComponentRunner]
    judged_by: ModelJudge
    max_concurrent: int

    @property
    def judge(self) -> str:
        """The model's name."""
        return self.judged_by.name

    async def scores(self, variant: Variant, items: Sequence[LearningItem]) -> Sequence[ItemScores]:
        """The weighted points of the rubric, its criteria and the RAGAS metrics, item by item.

        Raises DataUnavailable for a component that cannot answer again, for items of which none can be read, and where
        no model judged any of them; BudgetExhausted.
        """
        runner = self.runner(variant.component)
        if items and not any(can_answer_again(variant.component, item) for item in items):
            raise DataUnavailable(f"none of the {len(items)} questions can be answered again: {UNREADABLE}")
        found = await in_parallel(
            items, lambda item: self._scored(runner, variant, item), max_concurrent=self.max_concurrent
        )
        if items and all(one.target is None and not one.problems for one in found):
            raise DataUnavailable(f"{self.judge} judged none of {len(items)} answers")
        return found

    async def _scored(self, runner: ComponentRunner, variant: Variant, item: LearningItem) -> ItemScores:
        if not can_answer_again(variant.component, item):
            return ItemScores(item.interaction_id, None)
        try:
            ran = await runner.run(str(variant.content["text"]), item)
        except (MalformedReply, ModelRefused) as error:
            return ItemScores(item.interaction_id, None, problems=(f"no usable reply ({type(error).__name__})",))
        rubric = await self.judged_by.rubric(variant.component, item, ran)
        criteria = {} if rubric is None else {str(name): one.score for name, one in rubric.scores.items()}
        return ItemScores(
            item_id=item.interaction_id,
            target=None if rubric is None else rubric.weighted,
            metrics={**criteria, **await self.judged_by.ragas(item, ran)},
            cost_dollars=ran.cost_dollars,
            tokens=ran.tokens,
            latency_ms=ran.latency_ms,
            answer=ran.answer,
            problems=ran.problems,
        )
