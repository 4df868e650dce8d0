"""Is somebody told when the judge no longer differs from the rules as it used to, and only then?"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from src.agents.feedback_learner.evaluation.drift import DriftReport, judge_drift, watch_drift
from src.agents.feedback_learner.evaluation.rubric_configuration import (
    DriftSettings,
    SelfImprovementConfig,
    load_self_improvement,
)
from src.domain.alerts import Alert
from src.domain.rubric import CRITERIA, CriterionScore, RubricDecision, RubricEvaluation
from src.rag.combined import CombinedEvaluationResult, EvaluatedAnswer
from src.storage.evaluation_results import EvaluationRepository, JudgedTwice
from tests.unit.test_agents.test_feedback_learner.parts import config
from tests.unit.test_agents.test_feedback_learner.test_combined_evaluation import ragas

SETTINGS = load_self_improvement().evaluation.drift
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def small(version: int = 1) -> SelfImprovementConfig:
    """The shipped configuration with short periods."""
    changed = config(drift=SETTINGS.model_copy(update={"reference": 8, "recent": 6}))
    return changed.model_copy(update={"rubric": changed.rubric.model_copy(update={"version": version})})


def period(n: int, shift: float = 0.0, seed: int = 0, *, only: str | None = None) -> list[JudgedTwice]:
    """Answers that the rules score 2 to 3 and the judge half a point higher, with noise, and ``shift`` on top."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(n):
        rules = {name: float(rng.uniform(2, 3)) for name in CRITERIA}
        judge = {
            name: float(np.clip(rules[name] + 0.5 + rng.normal(0, 0.4) + shift * (only in (None, name)), 1, 5))
            for name in CRITERIA
        }
        found.append(JudgedTwice(judge, rules, "judge-a", BEGAN + timedelta(hours=number)))
    return found


def compared(
    reference: list[JudgedTwice], recent: list[JudgedTwice], settings: DriftSettings = SETTINGS
) -> DriftReport:
    return judge_drift(reference, recent, settings, np.random.default_rng(1))


@pytest.mark.parametrize("seed", range(10))
def test_a_steady_judge_raises_no_alarm(seed: int) -> None:
    assert compared(period(50, seed=seed), period(30, seed=100 + seed)).drifted == ()


@pytest.mark.parametrize("shift", [1.3, -1.3])
def test_a_judge_that_became_milder_or_stricter_is_noticed(shift: float) -> None:
    report = compared(period(50), period(30, shift, seed=1))
    assert {one.criterion for one in report.drifted} == set(CRITERIA)
    assert all(one.shift == pytest.approx(shift, abs=0.35) for one in report.drifted)
    assert all(one.low <= one.shift <= one.high for one in report.criteria)


def test_only_the_criterion_that_moved_is_named() -> None:
    report = compared(period(50), period(30, 1.2, seed=1, only="actionability"))
    assert [one.criterion for one in report.drifted] == ["actionability"]


def test_a_criterion_that_applied_to_few_answers_is_not_compared() -> None:
    recent = period(30, 1.3, seed=1)
    without = [
        JudgedTwice({name: one.judge[name] for name in CRITERIA[1:]}, one.rules, one.model, one.at)
        for one in recent[10:]
    ]
    report = compared(period(50), [*recent[:10], *without])
    assert [one.criterion for one in report.drifted] == list(CRITERIA[1:])


def test_better_answers_are_no_drift_of_the_judge() -> None:
    better = [
        JudgedTwice(
            {name: one.judge[name] + 0.9 for name in CRITERIA}, {name: one.rules[name] + 0.9 for name in CRITERIA},
            one.model, one.at,
        )
        for one in period(30, seed=2)
    ]  # fmt: skip
    assert compared(period(50), better).drifted == ()


def test_a_shift_within_the_margin_is_no_alarm() -> None:
    assert compared(period(50), period(30, 0.3, seed=1)).drifted == ()


def test_the_margin_and_the_level_come_from_the_settings() -> None:
    strict = SETTINGS.model_copy(update={"margin": 0.05})
    assert compared(period(50), period(30, 0.6, seed=1), strict).drifted


@pytest.mark.parametrize(("before", "after"), [(49, 30), (50, 29), (0, 0)])
def test_too_few_evaluations_are_said_and_no_alarm(before: int, after: int) -> None:
    report = compared(period(before), period(after, 3.0))
    assert (report.criteria, report.drifted) == ((), ())
    assert f"there are {before} and {after}" in report.reason


def test_the_same_evaluations_give_the_same_report() -> None:
    assert compared(period(50), period(30, 0.5, 1)) == compared(period(50), period(30, 0.5, 1))


@dataclass
class Inbox:
    """Keeps what it is sent."""

    alerts: list[Alert] = field(default_factory=list)

    async def send(self, alert: Alert) -> bool:
        self.alerts.append(alert)
        return True


async def stored(repository: EvaluationRepository, evaluations: list[JudgedTwice], *, version: int = 1) -> None:
    """As the evaluator's results are stored."""
    for number, one in enumerate(evaluations):
        rubric = RubricEvaluation(
            scores={name: CriterionScore(one.judge[name], "said") for name in CRITERIA},
            weighted=3.0, decision=RubricDecision.SUGGESTION, overrides_applied=(), weaknesses=(), suggestion="",
            method="llm", model="judge-a", metadata={"rubric_version": str(version)},
            heuristic_scores={name: one.rules[name] for name in CRITERIA},
        )  # fmt: skip
        found = CombinedEvaluationResult.of(
            ragas(), rubric, run_id=f"{version}-{one.at}-{number}", timestamp=one.at, evaluation_time_seconds=0.1
        )
        await repository.store(found.to_rows(EvaluatedAnswer("q", "a")))


def later(evaluations: list[JudgedTwice]) -> list[JudgedTwice]:
    return [JudgedTwice(one.judge, one.rules, one.model, one.at + timedelta(days=60)) for one in evaluations]


async def test_a_drift_of_stored_evaluations_is_told(repository: EvaluationRepository) -> None:
    await stored(repository, period(8))
    await stored(repository, later(period(6, 1.8, seed=3, only="evidence_chain")))
    inbox = Inbox()
    report = await watch_drift(repository, small(), inbox, clock=lambda: BEGAN)
    (alert,) = inbox.alerts
    assert [one.criterion for one in report.drifted] == ["evidence_chain"]
    assert alert.key == "rubric_drift:1:evidence_chain"
    assert "points milder than before" in alert.message
    assert alert.details["n_recent"] == 6
    assert alert.at == BEGAN


async def test_a_steady_judge_of_stored_evaluations_is_silent(repository: EvaluationRepository) -> None:
    await stored(repository, period(8))
    await stored(repository, later(period(6, seed=3)))
    inbox = Inbox()
    assert (await watch_drift(repository, small(), inbox)).criteria
    assert inbox.alerts == []


async def test_evaluations_of_the_reference_are_not_recent_too(repository: EvaluationRepository) -> None:
    await stored(repository, period(10))
    report = await watch_drift(repository, small(), Inbox())
    assert (report.n_reference, report.n_recent) == (8, 2)
    assert report.criteria == ()


async def test_versions_of_the_rubric_are_not_compared(repository: EvaluationRepository) -> None:
    await stored(repository, period(8), version=1)
    await stored(repository, later(period(6, 2.0)), version=2)
    assert (await watch_drift(repository, small(version=2), Inbox())).n_recent == 0
