"""How good is the model, on every split and for every part of the test rows?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.agents.ml_foundation.model_trainer.result import Calibration, Curves, SegmentMetrics
from src.agents.ml_foundation.model_trainer.state import Evaluation
from src.domain.modelling import ProblemType
from src.mlops.modelling.curves import curves
from src.mlops.modelling.intervals import bootstrap_intervals
from src.mlops.modelling.metrics import DIRECTIONS, confusion, evaluate
from src.mlops.modelling.segments import Segment, by_segment, fairness_gap
from src.mlops.modelling.types import FittedModel, Labelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 1_000
# What a map fitted on some rows makes right on those rows, whatever it does elsewhere.
FITTED = frozenset({"calibration_slope", "calibration_intercept", "ece"})


def evaluated(
    model: FittedModel,
    splits: Mapping[str, Labelled],
    threshold: float | None,
    criteria: Mapping[str, float],
    *,
    units: Any = None,
    random_state: int = 42,
) -> Evaluation:
    """Metrics of every split; intervals (1,000 resamples), calibration, segments and curves of the test split.

    Validation rows do not say how well a model is calibrated whose probabilities were recalibrated on them.
    With ``units`` (one per test row) whole units are drawn for the intervals.
    """
    problem, test = model.problem_type, splits["test"]
    scores = {name: model.scores(split.X) for name, split in splits.items()}
    metrics = {name: evaluate(problem, split.y, scores[name], threshold) for name, split in splits.items()}
    if model.recalibration is not None:
        metrics["validation"] = {name: x for name, x in metrics["validation"].items() if name not in FITTED}
    judged = (problem, test.y, scores["test"])
    segments = () if test.segments is None else by_segment(*judged, test.segments, threshold)
    shown = curves(*judged)
    return Evaluation(
        metrics=metrics,
        intervals=bootstrap_intervals(*judged, threshold, n=RESAMPLES, random_state=random_state, units=units),
        calibration=_calibration(metrics["test"]) if problem is ProblemType.BINARY else None,
        segments=tuple(SegmentMetrics(part.column, part.value, part.n, part.metrics) for part in segments),
        fairness_gap=_gap(problem, segments),
        confusion=confusion(*judged, threshold),
        curves=Curves(shown.roc, shown.pr, shown.calibration),
        criteria_met=meets(metrics["test"], criteria),
    )


def meets(metrics: Mapping[str, float], criteria: Mapping[str, float]) -> bool | None:
    """Whether every criterion is met; a metric that the rows do not define meets none. None without criteria."""
    if not criteria:
        return None
    return all(name in metrics and _reaches(name, metrics[name], bound) for name, bound in criteria.items())


def _reaches(name: str, value: float, bound: float) -> bool:
    return value >= bound if DIRECTIONS[name] == "maximize" else value <= bound


def _gap(problem: ProblemType, segments: tuple[Segment, ...]) -> dict[str, float]:
    return {} if problem is ProblemType.REGRESSION else fairness_gap(segments)


def _calibration(metrics: Mapping[str, float]) -> Calibration:
    slope, intercept = metrics.get("calibration_slope"), metrics.get("calibration_intercept")
    return Calibration(metrics["brier_score"], slope, intercept, metrics["ece"])
