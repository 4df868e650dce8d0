"""How small an effect could these data show, and is that small enough to matter?"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtri

from src.causal_engine.estimators.inference import cluster_sums, independent_columns
from src.causal_engine.estimators.panel_data import demean, panel_of
from src.causal_engine.results import PowerReport
from src.causal_engine.study import FloatArray, Study
from src.errors import StudyInvalid

DETECTION = float(ndtri(0.975) + ndtri(0.80))
SMALL_EFFECT_SD = 0.2


def power_report(study: Study, std_error: float | None) -> PowerReport:
    """Minimum detectable effect (z.₉₇₅ + z.₈₀)·SE against the smallest effect of interest.

    SE is that of the estimate when given, else ``anticipated_std_error``. The smallest effect of
    interest is ``spec.minimum_effect``, or .2 standard deviations of the outcome (per standard
    deviation of a treatment that is not binary). ``n_needed`` scales rows (and clusters alike) by
    (MDE / effect of interest)².
    """
    error = anticipated_std_error(study) if std_error is None else std_error
    detectable = DETECTION * error
    smallest, source = smallest_effect_of_interest(study)
    return PowerReport(
        n=study.n,
        n_clusters=None if study.clusters is None else len(np.unique(study.clusters)),
        minimum_detectable_effect=detectable,
        smallest_effect_of_interest=smallest,
        smallest_effect_source=source,
        adequate=detectable <= smallest,
        n_needed=math.ceil(study.n * (detectable / smallest) ** 2),
    )


def smallest_effect_of_interest(study: Study) -> tuple[float, str]:
    """The effect below which the answer would not matter, in outcome per unit of treatment, and its source."""
    if study.spec.minimum_effect is not None:
        if study.spec.minimum_effect == 0:
            raise StudyInvalid("the minimum effect of interest must not be 0; name the smallest effect that matters")
        return abs(study.spec.minimum_effect), "named in the question"
    spread = float(study.y.std(ddof=1))
    if study.is_binary:
        return SMALL_EFFECT_SD * spread, "0.2 standard deviations of the outcome"
    per_unit = SMALL_EFFECT_SD * spread / float(study.t.std(ddof=1))
    return per_unit, "0.2 standard deviations of the outcome per standard deviation of the treatment"


def anticipated_std_error(study: Study) -> float:
    """Standard error to expect before any effect is estimated, from residuals that leave treatment out.

    √(Σ_g(Σ t̃ỹ)²)/Σt̃², t̃ and ỹ being treatment and outcome given the controls (unit and period
    effects on panels), summed within clusters.
    """
    t, y = _residuals(study)
    information = float(t @ t)
    if information <= 1e-12 * study.n * float(study.t.var()):
        raise StudyInvalid(f"the controls leave no variation of '{study.spec.treatment}'; there is nothing to compare")
    scores = t * y
    sums = scores if study.clusters is None else cluster_sums(scores, study.clusters)
    return float(np.sqrt(sums @ sums)) / information


def _residuals(study: Study) -> tuple[FloatArray, FloatArray]:
    columns = np.column_stack([study.t, study.y, study.x])
    columns = demean(columns, panel_of(study)) if study.spec.is_panel else columns - columns.mean(axis=0)
    controls = columns[:, 2:][:, independent_columns(columns[:, 2:])]
    left = columns[:, :2] - controls @ np.linalg.lstsq(controls, columns[:, :2], rcond=None)[0]
    return left[:, 0], left[:, 1]
