"""Do the judge and the rules still differ as they used to? When not, one of them no longer means the same.

Both read the same answers, so what the answers are like cancels out: a shift of their mean difference is a shift of
the judge (a new model behind the same name, an edited prompt) or of what the rules can see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from src.agents.feedback_learner.evaluation.rubric_configuration import DriftSettings, SelfImprovementConfig
from src.domain.alerts import Alert, AlertSender, AlertSeverity
from src.domain.rubric import CRITERIA, Criterion
from src.storage.evaluation_results import EvaluationRepository, JudgedTwice

if TYPE_CHECKING:
    import numpy as np

RANDOM_STATE = 20260


@dataclass(frozen=True, slots=True)
class CriterionDrift:
    """Judge minus rules in points: mean in the reference and recently, the shift, its percentile bootstrap interval.

    ``drifted``: the whole interval lies beyond the margin, on either side.
    """

    criterion: Criterion
    reference_mean: float
    recent_mean: float
    shift: float
    low: float
    high: float
    drifted: bool


@dataclass(frozen=True, slots=True)
class DriftReport:
    """What was compared. ``criteria`` is empty, and ``reason`` says why, while there are too few evaluations."""

    criteria: tuple[CriterionDrift, ...]
    n_reference: int
    n_recent: int
    reason: str = ""

    @property
    def drifted(self) -> tuple[CriterionDrift, ...]:
        """The criteria of the alarm."""
        return tuple(one for one in self.criteria if one.drifted)


def judge_drift(
    reference: Sequence[JudgedTwice], recent: Sequence[JudgedTwice], settings: DriftSettings, rng: np.random.Generator
) -> DriftReport:
    """Compare two periods, resampling the answers of each; the level is shared among the five criteria (Bonferroni).

    A criterion that applied to less than half of the answers of a period is not compared.
    """
    if len(reference) < settings.reference or len(recent) < settings.recent:
        reason = (
            f"{settings.reference} evaluations and {settings.recent} after them are needed that a model judged; "
            f"there are {len(reference)} and {len(recent)}"
        )
        return DriftReport((), len(reference), len(recent), reason)
    periods = {name: (_both(name, reference), _both(name, recent)) for name in CRITERIA}
    found = tuple(
        _compared(name, before, after, settings, rng)
        for name, (before, after) in periods.items()
        if len(before) >= settings.reference / 2 and len(after) >= settings.recent / 2
    )
    return DriftReport(found, len(reference), len(recent))


def _both(name: Criterion, those: Sequence[JudgedTwice]) -> list[JudgedTwice]:
    """Evaluations to which a criterion applied."""
    return [one for one in those if name in one.judge and name in one.rules]


async def watch_drift(
    repository: EvaluationRepository,
    config: SelfImprovementConfig,
    alerts: AlertSender,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> DriftReport:
    """Compare the newest evaluations with the first ones by the same version of the rubric, and tell of a drift."""
    import numpy as np

    settings, rubric_version = config.evaluation.drift, config.rubric.version
    reference = await repository.judged(rubric_version, settings.reference, oldest=True)
    newest = await repository.judged(rubric_version, settings.recent)
    end = reference[-1].at if reference else None
    recent = [one for one in newest if end is None or one.at > end]
    report = judge_drift(reference, recent, settings, np.random.default_rng(RANDOM_STATE))
    for one in report.drifted:
        await alerts.send(_alert(one, report, rubric_version, clock()))
    return report


def _compared(
    name: Criterion,
    reference: Sequence[JudgedTwice],
    recent: Sequence[JudgedTwice],
    settings: DriftSettings,
    rng: np.random.Generator,
) -> CriterionDrift:
    import numpy as np

    before, after = (np.array([one.judge[name] - one.rules[name] for one in those]) for those in (reference, recent))
    shifts = _resampled_means(after, settings.draws, rng) - _resampled_means(before, settings.draws, rng)
    tail = (1 - settings.level) / len(CRITERIA) / 2
    low, high = (float(bound) for bound in np.quantile(shifts, (tail, 1 - tail)))
    drifted = low > settings.margin or high < -settings.margin
    means = float(before.mean()), float(after.mean())
    return CriterionDrift(name, *means, means[1] - means[0], low, high, drifted)


def _resampled_means(values: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    means: np.ndarray = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return means


def _alert(found: CriterionDrift, report: DriftReport, rubric_version: int, at: datetime) -> Alert:
    direction = "milder" if found.shift > 0 else "stricter"
    return Alert(
        severity=AlertSeverity.WARNING,
        subject=f"The judge of {found.criterion} has drifted",
        message=(
            f"over the last {report.n_recent} evaluations the judge is {abs(found.shift):.2f} points {direction} than "
            f"before, measured against the rules (interval {found.low:.2f} to {found.high:.2f}): judge some answers by "
            "hand, and raise rubric.version in config/self_improvement.yaml where the change is meant"
        ),
        key=f"rubric_drift:{rubric_version}:{found.criterion}",
        at=at,
        details={
            "criterion": found.criterion,
            "rubric_version": rubric_version,
            "reference_mean": round(found.reference_mean, 4),
            "recent_mean": round(found.recent_mean, 4),
            "low": round(found.low, 4),
            "high": round(found.high, 4),
            "n_reference": report.n_reference,
            "n_recent": report.n_recent,
        },
    )
