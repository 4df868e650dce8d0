"""Are the questions of the set read as they should be, without a model and without a database?"""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from src.agents.orchestrator.routing import dispatches_for
from src.domain.vocabulary import load_vocabulary
from tests.unit.test_agents.test_orchestrator.question_set import Case, held_back, misses, read, tuned

SEVERAL = "Do samples raise NRx of Kisqali, and is the system up?"
GROUPS = ("adversarial", "ambiguous", "follow_ups", "multi_faceted", "single_intent", "unanswerable")
DEMANDED = 0.95


def test_the_set_is_large_enough_and_covers_brands_and_groups() -> None:
    cases = list(tuned())
    counts = Counter(case.group for case in cases)
    assert set(counts) == set(GROUPS)
    assert min(counts.values()) >= 20
    assert sum(counts.values()) >= 120
    text = " ".join(case.question for case in cases).lower()
    assert all(brand in text for brand in ("kisqali", "fabhalta", "remibrutinib"))
    asked = {case.question for case in cases}
    assert not asked & {case.question for case in held_back() if not case.before}


def test_nearly_all_questions_are_read_exactly() -> None:
    cases = list(tuned())
    missed = {case: found for case in cases if (found := misses(case, read(case)))}
    for case, found in missed.items():
        sys.stdout.write(f"{case.group}: {' / '.join([*case.before, case.question])}: {'; '.join(found)}\n")
    assert 1 - len(missed) / len(cases) >= DEMANDED


@pytest.mark.parametrize(
    ("question", "agents"),
    [
        ("Do rep calls raise NRx of Kisqali?", [("causal_impact", 1)]),
        (
            "Do samples raise NRx of Kisqali, and is the system up?",
            [("causal_impact", 1), ("observability_connector", 1)],
        ),
    ],
)
def test_parts_are_routed_with_priorities_and_budgets(question: str, agents: list[tuple[str, int]]) -> None:
    found = read(Case("", {"ask": question}))
    planned = dispatches_for(found, load_vocabulary(), ("causal_impact",), {"causal_impact": 12.0})
    assert [(one.agent, one.priority) for one in planned] == agents
    assert planned[0].timeout_ms == 12_000.0
    assert all(one.timeout_ms > 0 and one.status == "planned" for one in planned)
