"""How is an answer scored that says it cannot be given?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from src.rag.samples import EvaluationSample
from src.rag.scores import Metric, MetricScore, unmeasured

DECLINED = "declined"
"""Metadata of a sample whose pipeline declined: why."""
EXPECTS = "expects"
"""Metadata of a sample: ``decline`` when its question must not be answered."""
DECLINE = "decline"
DECLINED_RIGHTLY = "declined_rightly"
"""Metadata of a result: it declined what must not be answered, so its scores say nothing against it."""

BEARING = 0.5
"""Context precision from which contexts bear on a question."""


class Described(Protocol):
    """A sample, or the result of one."""

    @property
    def metadata(self) -> Mapping[str, Any]: ...


def is_declined(one: Described) -> bool:
    """Whether the pipeline declined to answer."""
    return bool(one.metadata.get(DECLINED))


def must_decline(one: Described) -> bool:
    """Whether declining is the right answer."""
    return one.metadata.get(EXPECTS) == DECLINE


def without_answer(sample: EvaluationSample) -> EvaluationSample:
    """The sample as its contexts alone are scored: the words of declining are no answer."""
    return replace(sample, answer=None)


def declined_scores(contexts: Mapping[Metric, MetricScore], *, judged: bool = True) -> dict[Metric, MetricScore]:
    """Scores of a declined answer, given those of its contexts.

    Relevancy is 0, as RAGAS scores an answer that commits to nothing; faithfulness and correctness are unmeasured,
    for nothing was claimed. With ``judged`` false nobody has said whether the question can be answered: where its
    contexts do not bear on it, declining may be right and neither relevancy nor precision is held against it.
    """
    nothing = unmeasured("the answer was declined: it claims nothing")
    found = {
        **contexts,
        "faithfulness": nothing,
        "answer_relevancy": MetricScore(0.0, "the answer was declined"),
        "answer_correctness": nothing,
    }
    precision = contexts.get("context_precision")
    if judged or (precision is not None and precision.value is not None and precision.value >= BEARING):
        return found
    unknown = unmeasured("declined without contexts that bear on the question: whether rightly is not known")
    return found | {"answer_relevancy": unknown, "context_precision": unknown}


def is_judged(sample: EvaluationSample) -> bool:
    """Whether it is known if the question can be answered: by a true answer, or by what is expected."""
    return sample.ground_truth is not None or EXPECTS in sample.metadata
