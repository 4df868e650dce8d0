"""How do the arms differ, nothing adjusted for?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.clusters import few_cluster_uncertainty
from src.causal_engine.estimators.doubly_robust import pseudo_outcome
from src.causal_engine.estimators.inference import Uncertainty, fit_linear, make_estimate
from src.causal_engine.estimators.positivity import require_arms
from src.causal_engine.estimators.segments import segment_effects, segment_labels
from src.causal_engine.results import SegmentEffect
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError, StudyInvalid


def fit_difference_in_means(study: Study) -> FittedEffect:
    """Mean outcome of the treated minus that of the untreated; Welch's error, or CR1 on clusters (CR2 where few).

    An effect only if treatment was assigned at random (Neyman 1923). Raises EstimationError for a
    treatment that is not binary.
    """
    if not study.is_binary:
        raise EstimationError("difference_in_means compares two arms; use ols for a treatment that is not 0/1")
    require_arms(study)
    value, uncertainty, influence = difference(study)
    estimate = make_estimate(
        study,
        estimator="difference_in_means",
        estimand=_estimand(study),
        value=value,
        uncertainty=uncertainty,
        adjusted_for=(),
        segments=_segments(study),
    )
    return FittedEffect(estimate, influence)


def _estimand(study: Study) -> Estimand:
    """Of a randomised treatment. For the sample the same error is conservative (Neyman 1923), over the treated not."""
    if study.spec.estimand.on_treated:
        return Estimand.ATT
    return Estimand.SATE if study.spec.estimand is Estimand.SATE else Estimand.ATE


def difference(study: Study) -> tuple[float, Uncertainty, FloatArray]:
    """Difference in mean outcome, its uncertainty, and its influence function (n,)."""
    t, y = study.t, study.y
    if study.clusters is not None:
        fit = fit_linear(y, np.column_stack([np.ones(study.n), t]), study.clusters)
        return float(fit.coefficients[1]), few_cluster_uncertainty(fit, 1), fit.influence[:, 1]
    treated, control = y[t == 1], y[t == 0]
    parts = np.array([treated.var(ddof=1) / len(treated), control.var(ddof=1) / len(control)])
    if parts.sum() == 0:
        raise StudyInvalid(
            f"outcome '{study.spec.outcome}' has a single value in each arm: it is a copy of the treatment, no outcome"
        )
    freedom = parts.sum() ** 2 / (parts**2 / (np.array([len(treated), len(control)]) - 1)).sum()
    influence = np.empty(study.n)
    for arm, sign in ((1.0, 1.0), (0.0, -1.0)):
        rows = t == arm
        size = int(rows.sum())
        # The factor turns the sum of squares into the unbiased variance of Welch's error.
        influence[rows] = sign * (y[rows] - y[rows].mean()) * study.n / np.sqrt(size * (size - 1.0))
    uncertainty = Uncertainty(float(np.sqrt(parts.sum())), "Welch", float(freedom))
    return float(treated.mean() - control.mean()), uncertainty, influence


def _segments(study: Study) -> tuple[SegmentEffect, ...]:
    found: list[SegmentEffect] = []
    everyone = np.ones(study.n)
    for column in study.spec.effect_modifiers:
        labels = segment_labels(study.frame[column])
        if labels is not None:
            single = study.with_spec(effect_modifiers=(column,))
            found.extend(segment_effects(single, _scores_within(study, labels), everyone))
    return tuple(found)


def _scores_within(study: Study, labels: pd.Series) -> FloatArray:
    """Scores whose mean within a segment is that segment's difference in means."""
    t, y = study.frame[study.spec.treatment], study.frame[study.spec.outcome]
    share = t.groupby(labels).transform("mean").to_numpy(dtype=np.float64)
    control, treated = (
        y.where(t == arm).groupby(labels).transform("mean").to_numpy(dtype=np.float64) for arm in (0.0, 1.0)
    )
    smallest = 1.0 / (2.0 * study.n)
    return pseudo_outcome(study.t, study.y, np.clip(share, smallest, 1 - smallest), control, treated)
