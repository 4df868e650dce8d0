"""Is a question one for commercial analytics, or does it ask for clinical advice?"""

from __future__ import annotations

from src.domain.guards import REASONS, Rule, load_guards

CLINICAL = REASONS[Rule.CLINICAL_ADVICE]


def asks_for_clinical_advice(question: str) -> bool:
    """Whether a question asks how somebody should be treated."""
    return load_guards().breaks(Rule.CLINICAL_ADVICE, question)
