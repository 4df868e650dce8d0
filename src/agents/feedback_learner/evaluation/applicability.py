"""Which criteria of the rubric apply to an answer? Those that a good answer to its question could meet.

A definition or a reported figure recommends nothing and claims no cause, and an answer that declines claims nothing at
all: judged by what they were not asked for, right answers would be the worst ones.
"""

from __future__ import annotations

import re

from src.agents.feedback_learner.evaluation.rubric_heuristic_causal import CAUSES
from src.agents.feedback_learner.evaluation.rubric_heuristic_text import read
from src.agents.feedback_learner.evaluation.rubric_heuristic_uncertainty import has_estimate
from src.domain.intent import classify
from src.domain.rubric import CRITERIA, Criterion, RubricContext
from src.domain.vocabulary import Intent
from src.errors import QuestionNotUnderstood

DESCRIPTIVE = frozenset({Intent.GENERAL, Intent.EXPLANATION, Intent.SYSTEM_HEALTH, Intent.DRIFT_CHECK, Intent.FEEDBACK})
# "TRx increased by 8 %" claims no cause; "calls increased TRx" does.
_INTRANSITIVE = re.compile(
    r"\b(?:(?:lift|rais|increas|reduc|lower)(?:s|es|ed)|adds?|added)\b"
    r"(?= ?(?:by|to|from|in|at|over|since|during|with|and|on|again|slightly|sharply|strongly|steadily)\b"
    r"| ?[\d.,;:)]| ?$)"
)
_OF_DECLINING: tuple[Criterion, ...] = ("evidence_chain", "regulatory_awareness")
_NOTHING_CLAIMED = "the answer was declined: it claims and recommends nothing"
_NO_EFFECT = "the question asks for no cause or step, and the answer claims no cause"
_NO_ESTIMATE = f"{_NO_EFFECT}, and nothing is estimated"


def speaks_of_effects(question: str, answer: str) -> bool:
    """Whether a question asks for causes, plans or predictions, or an answer claims a cause."""
    try:
        if classify(question).intent not in DESCRIPTIVE:
            return True
    except QuestionNotUnderstood:
        return True  # what cannot be read is judged by everything
    sentences = read(RubricContext(question, answer)).sentences
    return any(CAUSES.search(_INTRANSITIVE.sub(" ", one.bare)) for one in sentences)


def inapplicable(context: RubricContext) -> dict[Criterion, str]:
    """The criteria that do not apply, with the reason; none of them where ``causal`` is true or not known."""
    if context.declined:
        return {name: _NOTHING_CLAIMED for name in CRITERIA if name not in _OF_DECLINING}
    if context.causal is not False:
        return {}
    found: dict[Criterion, str] = {"causal_validity": _NO_EFFECT, "actionability": _NO_EFFECT}
    if not any(has_estimate(one) for one in read(context).sentences):
        found["uncertainty_communication"] = _NO_ESTIMATE
    return found
