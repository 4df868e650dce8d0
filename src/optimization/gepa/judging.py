"""What does the optimising judge say of an answer? The rubric and RAGAS, judged by models, in words that teach."""

from __future__ import annotations

from src.domain.improvement import LearningItem
from src.domain.rubric import Rubric, RubricContext, RubricEvaluation
from src.mlops.scoring import RAGAS_SHARE, RUBRIC_SHARE, rubric_share
from src.optimization.gepa.component import Judgement, NotJudged, Ran
from src.optimization.gepa.integration.ragas_feedback import RAGASFeedbackProvider

GOOD = 4.0


class RubricRagasJudge:
    """The rubric, and RAGAS where a provider is given, joined with the shares of the combined score.

    ``name`` is the model that judges. Raises NotJudged where rules scored instead of a model.
    """

    def __init__(self, name: str, rubric: Rubric, ragas: RAGASFeedbackProvider | None = None) -> None:
        self._name = name
        self._rubric = rubric
        self._ragas = ragas

    @property
    def name(self) -> str:
        """The model that judges."""
        return self._name

    async def judge(self, item: LearningItem, ran: Ran) -> Judgement:
        """Judge an answer to an item."""
        contexts = ran.contexts or item.contexts
        context = RubricContext(item.query, ran.answer, contexts, component=item.component)
        evaluation = await self._rubric.evaluate(context)
        if evaluation.method != "llm":
            raise NotJudged("no model judged by the rubric: " + ("; ".join(evaluation.notes) or "rules scored"))
        share = rubric_share(evaluation.weighted)
        assert share is not None
        metrics: dict[str, float | None] = {name: rubric_share(one.score) for name, one in evaluation.scores.items()}
        words = [rubric_in_words(evaluation)]
        if self._ragas is None:
            return Judgement(share, words[0], metrics)
        judged = await self._ragas.evaluate(item.query, ran.answer, contexts)
        words.append(judged["feedback"])
        score = RAGAS_SHARE * judged["score"] + RUBRIC_SHARE * share
        return Judgement(score, "\n".join(words), {**metrics, **judged["metrics"]})


def rubric_in_words(evaluation: RubricEvaluation) -> str:
    """Criteria that are not good: score, why, and what the judge quoted; then what it suggests."""
    told = []
    for name, one in sorted(evaluation.scores.items(), key=lambda pair: pair[1].score):
        if one.score < GOOD:
            quoted = f' It quoted: "{one.evidence_quote}".' if one.evidence_quote else ""
            told.append(f"{name.replace('_', ' ')} {one.score:g} of 5: {one.reasoning}{quoted}")
    if not told:
        return f"Good by every criterion ({evaluation.weighted:.1f} of 5)."
    if evaluation.suggestion:
        told.append(f"Suggestion: {evaluation.suggestion}")
    return "\n".join(told)
