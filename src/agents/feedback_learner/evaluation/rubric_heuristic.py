"""How good is an answer by the rubric where no model judges? The text itself is read, by rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from src.agents.feedback_learner.evaluation.rubric_heuristic_action import actionability
from src.agents.feedback_learner.evaluation.rubric_heuristic_causal import causal_validity
from src.agents.feedback_learner.evaluation.rubric_heuristic_evidence import evidence_chain
from src.agents.feedback_learner.evaluation.rubric_heuristic_regulatory import regulatory_awareness
from src.agents.feedback_learner.evaluation.rubric_heuristic_text import CITATION, Reading, read
from src.agents.feedback_learner.evaluation.rubric_heuristic_uncertainty import uncertainty_communication
from src.domain.rubric import CRITERIA, Criterion, CriterionScore, RubricContext

_READERS: Mapping[Criterion, Callable[[Reading], CriterionScore]] = {
    "causal_validity": causal_validity,
    "actionability": actionability,
    "evidence_chain": evidence_chain,
    "regulatory_awareness": regulatory_awareness,
    "uncertainty_communication": uncertainty_communication,
}
# What a list of the right words, or a copy of the contexts, can reach.
MOSTLY_LISTED, MOST_WITHOUT_THOUGHT = 0.5, 3.5


def heuristic_scores(context: RubricContext) -> dict[Criterion, CriterionScore]:
    """Scores 1 to 5 by the anchors, in hundredths between them; an empty answer scores 1 everywhere.

    Without a model, a network or randomness. Words of the answer that address a judge change nothing.
    """
    reading = read(context)
    if reading.empty:
        return {name: CriterionScore(1.0, "the answer is empty") for name in CRITERIA}
    return {name: _limited(_READERS[name](reading), reading) for name in CRITERIA}


def _limited(found: CriterionScore, reading: Reading) -> CriterionScore:
    reason = (
        "the answer copies its contexts"
        if reading.copied and not _quotes_as_asked(reading)
        else "most words are listed, not joined to statements"
        if reading.listed_share > MOSTLY_LISTED
        else ""
    )
    if not reason or found.score <= MOST_WITHOUT_THOUGHT:
        return CriterionScore(round(found.score, 2), found.reasoning, found.evidence_quote)
    return CriterionScore(MOST_WITHOUT_THOUGHT, f"{found.reasoning}; {reason}", found.evidence_quote)


def _quotes_as_asked(reading: Reading) -> bool:
    """A question that asks for a fact is answered by quoting it, sentence by sentence with its source."""
    return reading.context.causal is False and all(CITATION.search(one.plain) for one in reading.sentences)
