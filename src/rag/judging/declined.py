"""How is an answer scored that says it cannot be given?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from src.rag.samples import EvaluationSample
from src.rag.scores import Metric, MetricScore, unmeasured

DECLINED = "declined"
"""Metadata of a sample whose pipeline declined: why."""
EXPECTS = "expects"
"""Metadata of a sample: ``decline`` when its question must not be answered."""
DECLINE = "decline"
DECLINED_RIGHTLY = "declined_rightly"
"""Metadata of a result: it declined what must not be answered, so its scores say nothing against it."""


def is_declined(sample: EvaluationSample) -> bool:
    """Whether the pipeline declined to answer."""
    return bool(sample.metadata.get(DECLINED))


def must_decline(sample: EvaluationSample) -> bool:
    """Whether declining is the right answer."""
    return sample.metadata.get(EXPECTS) == DECLINE


def without_answer(sample: EvaluationSample) -> EvaluationSample:
    """The sample as its contexts alone are scored: the words of declining are no answer."""
    return replace(sample, answer=None)


def declined_scores(contexts: Mapping[Metric, MetricScore]) -> dict[Metric, MetricScore]:
    """Scores of a declined answer, given those of its contexts.

    Relevancy is 0, as RAGAS scores an answer that commits to nothing; faithfulness and correctness are unmeasured,
    for nothing was claimed.
    """
    nothing = unmeasured("the answer was declined: it claims nothing")
    return {
        **contexts,
        "faithfulness": nothing,
        "answer_relevancy": MetricScore(0.0, "the answer was declined"),
        "answer_correctness": nothing,
    }
