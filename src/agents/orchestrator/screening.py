"""May a question be answered at all? What a rule declines is not read further."""

from __future__ import annotations

from collections.abc import Sequence

from src.agents.orchestrator.clarifying import declined
from src.agents.orchestrator.classification import Known, classify
from src.agents.orchestrator.state import Classification, Pattern, Turn
from src.domain.guards import Guards


def classified(query: str, turns: Sequence[Turn], known: Known, guards: Guards) -> Classification:
    """The reading of a question by patterns, or the rule that declines it: as it was asked or as it stands in full."""
    if (refusal := guards.screen(query)) is not None:
        return declined(query, refusal.rule, refusal.reason)
    found = classify(query, turns, known)
    if found.pattern is Pattern.DECLINED or found.resolved == query:
        return found
    refusal = guards.screen(found.resolved)
    return found if refusal is None else declined(query, refusal.rule, refusal.reason)
