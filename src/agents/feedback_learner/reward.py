"""How well did a cycle learn? A reward of parts that are computed from what happened, or left out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from src.agents.feedback_learner.state import ComponentVerdict, EarlierAction, Step, TrainingSignal
from src.domain.improvement import DetectedPattern, LearningItem
from src.domain.rubric import RubricDecision
from src.mlops.scoring import rubric_share, weighted_mean_of_present

WEIGHTS: Mapping[str, float] = {
    "accuracy": 0.20,
    "actionability": 0.20,
    "effectiveness": 0.20,
    "rubric": 0.20,
    "efficiency": 0.10,
    "coverage": 0.10,
}


def training_signal(
    items: Sequence[LearningItem],
    patterns: Sequence[DetectedPattern],
    verdicts: Sequence[ComponentVerdict],
    steps: Sequence[Step],
    earlier: Sequence[EarlierAction],
    *,
    seconds: float,
    budget_s: float,
) -> TrainingSignal:
    """The parts (0–1) and their mean.

    accuracy: share of the answers named as evidence of a pattern whose own judgement was not ACCEPTABLE.
    actionability: share of the components in need for which something was done or proposed.
    effectiveness: share of the measured changes that helped. rubric: mean rubric score of the answers, on 0–1.
    efficiency: share of the time budget that was left. coverage: share of the answers that led to a decision.
    """
    parts = {
        "accuracy": _accuracy(items, patterns),
        "actionability": _actionability(verdicts, steps),
        "effectiveness": _share([one.improved for one in earlier if one.improved is not None]),
        "rubric": _rubric(items),
        "efficiency": max(0.0, 1.0 - seconds / budget_s) if items else None,
        "coverage": _coverage(items, verdicts),
    }
    return TrainingSignal(weighted_mean_of_present(parts, WEIGHTS), **parts)


def _accuracy(items: Sequence[LearningItem], patterns: Sequence[DetectedPattern]) -> float | None:
    decisions = {item.interaction_id: item.decision for item in items if item.decision is not None}
    named = {one for pattern in patterns for one in pattern.evidence_ids if one in decisions}
    return _share([decisions[one] is not RubricDecision.ACCEPTABLE for one in sorted(named)])


def _actionability(verdicts: Sequence[ComponentVerdict], steps: Sequence[Step]) -> float | None:
    """An escalation is an action too: a person was told."""
    done = {one.component for one in steps if one.action_id is not None}
    in_need = [one for one in verdicts if one.decision not in (None, RubricDecision.ACCEPTABLE)]
    return _share([one.decision is RubricDecision.ESCALATE or one.component in done for one in in_need])


def _rubric(items: Sequence[LearningItem]) -> float | None:
    scores = [item.rubric_weighted for item in items if item.rubric_weighted is not None]
    return rubric_share(statistics.fmean(scores)) if scores else None


def _coverage(items: Sequence[LearningItem], verdicts: Sequence[ComponentVerdict]) -> float | None:
    decided = {one for verdict in verdicts if verdict.decision is not None for one in verdict.interaction_ids}
    return _share([item.interaction_id in decided for item in items])


def _share(those: Sequence[bool]) -> float | None:
    return sum(those) / len(those) if those else None
