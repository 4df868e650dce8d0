"""How good was an answer by the rubric, and what follows? A model judges where there is one, else rules do."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from src.agents.feedback_learner.evaluation.applicability import inapplicable
from src.agents.feedback_learner.evaluation.overrides import decide
from src.agents.feedback_learner.evaluation.rubric_configuration import (
    ANCHORS,
    RubricSettings,
    SelfImprovementConfig,
    load_self_improvement,
)
from src.agents.feedback_learner.evaluation.rubric_heuristic import heuristic_scores
from src.agents.feedback_learner.evaluation.rubric_judge import (
    JudgeFailed,
    Judgement,
    RubricJudge,
    Sleep,
)
from src.domain.prompts import FilePrompts, PromptSource
from src.domain.rubric import Criterion, CriterionScore, RubricContext, RubricEvaluation, RubricMethod
from src.llm.client import LLMClient


@dataclass(frozen=True, slots=True)
class _Scored:
    scores: dict[Criterion, CriterionScore]
    method: RubricMethod
    suggestion: str
    model: str | None = None
    cost: float | None = 0.0
    notes: tuple[str, ...] = ()
    prompt: Mapping[str, str] = field(default_factory=dict)


class RubricEvaluator:
    """Judges answers. ``config`` is read from ``config/self_improvement.yaml`` when it is None.

    Without ``llm``, with one that is not the configured provider, and when the model did not decide, the heuristic
    scores; ``method`` says which it was and ``notes`` say why. ``prompts`` has the wording of ``rubric_judge``, by
    default that of the file. Raises ConfigError for an unusable configuration, and when it judges for an unusable
    prompt, never for what a model does.
    """

    def __init__(
        self,
        config: SelfImprovementConfig | None = None,
        llm: LLMClient | None = None,
        *,
        prompts: PromptSource | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.config = config if config is not None else load_self_improvement()
        self._rubric = self.config.rubric
        self._no_judge, self._judge = "", None
        if reason := _why_no_judge(llm, self.config.evaluation.provider):
            self._no_judge = reason
        elif llm is not None:
            source = prompts or FilePrompts()
            self._judge = RubricJudge(llm, self.config.evaluation, self._rubric, source, sleep=sleep)

    async def check(self) -> None:
        """Raise ConfigError where there is a judge and its prompt cannot be used."""
        if self._judge is not None:
            await self._judge.instructions()

    async def evaluate(self, context: RubricContext) -> RubricEvaluation:
        """Judge one answer by the criteria that apply to it."""
        read = await asyncio.to_thread(heuristic_scores, context)
        scored = await self._scored(context, read)
        without = await asyncio.to_thread(inapplicable, context)
        scores = {name: one for name, one in scored.scores.items() if name not in without}
        decided = decide({name: one.score for name, one in scores.items()}, context, self._rubric)
        return RubricEvaluation(
            scores=scores,
            weighted=decided.weighted,
            decision=decided.decision,
            overrides_applied=decided.overrides_applied,
            weaknesses=decided.weaknesses,
            suggestion=scored.suggestion or _suggestion(scores, self._rubric),
            method=scored.method,
            model=scored.model,
            notes=scored.notes,
            cost_dollars=scored.cost,
            metadata={"rubric_version": str(self._rubric.version), **scored.prompt},
            heuristic_scores={name: one.score for name, one in read.items() if name not in without},
            inapplicable=without,
        )

    async def _scored(self, context: RubricContext, read: dict[Criterion, CriterionScore]) -> _Scored:
        if self._judge is None:
            return _by_rules(read, self._no_judge)
        if not context.answer.strip():
            return _by_rules(read, "an empty answer needs no model")
        if context.declined:
            return _by_rules(read, "an answer that declines needs no model")
        try:
            return _by_model(await self._judge.judge(context))
        except JudgeFailed as error:
            return _by_rules(read, f"the model did not decide: {error}", cost=None if error.billed else 0.0)


def _by_model(judged: Judgement) -> _Scored:
    prompt = {"prompt_version": str(judged.prompt.version), "prompt_sha256": judged.prompt.fingerprint}
    return _Scored(dict(judged.scores), "llm", judged.suggestion, judged.model, judged.cost, judged.notes, prompt)


def _by_rules(read: dict[Criterion, CriterionScore], reason: str, cost: float | None = 0.0) -> _Scored:
    return _Scored(read, "heuristic", "", cost=cost, notes=(f"scored by rules: {reason}",))


def _why_no_judge(llm: LLMClient | None, wanted: str) -> str:
    """Why no model is asked; empty where one is."""
    if wanted == "none":
        return "evaluation.provider is none"
    if llm is None or llm.provider == "none":
        return "no language model is configured"
    if wanted not in ("auto", llm.provider):
        return f"evaluation.provider is {wanted} and the model at hand is of {llm.provider}"
    return ""


def _suggestion(scores: dict[Criterion, CriterionScore], rubric: RubricSettings) -> str:
    """What the next anchor asks of the criterion that loses most by its weight; empty where nothing is missing."""
    lost = {name: rubric.weights[name] * (ANCHORS[-1] - one.score) for name, one in scores.items()}
    name = max(lost, key=lambda one: lost[one])
    if lost[name] <= 0:
        return ""
    score = scores[name].score
    wanted = next(anchor for anchor in ANCHORS if anchor > score)
    return f"Raise {name.replace('_', ' ')} from {score:g} to {wanted}: {rubric.anchor(name, wanted)}."
