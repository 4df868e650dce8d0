"""Are treated and untreated units comparable at all, and which rows are?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from src.causal_engine.estimators.learners import logistic_probabilities
from src.causal_engine.spec import Estimand
from src.causal_engine.study import MIN_PER_ARM, FloatArray, Study
from src.errors import OverlapViolated, TooFewRows

LOWEST, HIGHEST = 0.02, 0.98
MAX_SHARE_OUTSIDE = 0.10
WEIGHT_FLOOR = 0.01
_AVERAGES = (Estimand.ATE, Estimand.ATT, Estimand.SATE, Estimand.SATT, Estimand.ATO)

BoolArray = NDArray[np.bool_]


def share_outside(propensity: FloatArray, t: FloatArray, estimand: Estimand) -> float:
    """Share of units outside [.02, .98]; for ATT and SATT the share of treated units above .98."""
    if estimand.on_treated:
        return float((propensity[t == 1] > HIGHEST).mean())
    return float(((propensity < LOWEST) | (propensity > HIGHEST)).mean())


def require_overlap(
    study: Study, propensity: FloatArray, estimand: Estimand | None = None
) -> tuple[BoolArray, Estimand]:
    """Rows that may be compared, and the estimand they stand for (``estimand``, or the one the study asks for).

    All rows and the estimand asked for when at most 10 % lie outside [.02, .98]. With ``spec.trim``
    rows outside are left out (Crump et al. 2009) and the estimand is ATE_trimmed, also where the
    effect on the sample was asked for. ATO needs no check: units without a counterpart weigh next to
    nothing. Raises OverlapViolated otherwise. Trimming does not apply to ATT and SATT, whose
    population is the treated.
    """
    everyone = np.ones(study.n, dtype=np.bool_)
    estimand = estimand or average_asked(study)
    if estimand is Estimand.ATO:
        return everyone, estimand
    outside = share_outside(propensity, study.t, estimand)
    if study.spec.trim and not estimand.on_treated:
        return _trimmed(study, propensity, estimand)
    if outside <= MAX_SHARE_OUTSIDE:
        return everyone, estimand
    if estimand.on_treated:
        raise OverlapViolated(
            f"{outside:.0%} of the treated units have no comparable untreated unit (propensity above {HIGHEST}); "
            "collect comparable controls or ask about another treatment"
        )
    raise OverlapViolated(
        f"{outside:.0%} of the units have a treatment probability outside [{LOWEST}, {HIGHEST}] (at most "
        f"{MAX_SHARE_OUTSIDE:.0%} allowed); trim to comparable units or ask for the overlap-weighted effect "
        "(the answer is then for those only), ask for the effect on the treated, or collect comparable controls"
    )


def comparable_rows(study: Study) -> tuple[BoolArray, Estimand]:
    """``require_overlap`` by an ordinary logistic propensity; every row when there is nothing to compare on.

    For estimators that average over a population only: the estimand is ATE, ATT or ATE_trimmed.
    Randomised assignment, continuous treatments and studies without controls need no check.
    """
    estimand = Estimand.ATT if study.spec.estimand.on_treated else Estimand.ATE
    if study.spec.randomized or not study.is_binary or study.x.shape[1] == 0 or study.spec.is_panel:
        return np.ones(study.n, dtype=np.bool_), estimand
    return require_overlap(study, logistic_probabilities(study.x, study.t), estimand)


def average_asked(study: Study) -> Estimand:
    """The average over units that was asked for; ATE where the question names an effect of another kind."""
    return study.spec.estimand if study.spec.estimand in _AVERAGES else Estimand.ATE


def restrict(study: Study, rows: BoolArray) -> Study:
    """The study on some of its rows; raises TooFewRows when an arm becomes too small."""
    if rows.all():
        return study
    kept = study.with_frame(study.frame.loc[rows].reset_index(drop=True))
    require_arms(kept)
    return kept


def require_arms(study: Study) -> None:
    """Raise TooFewRows unless both arms of a binary treatment have 30 rows."""
    treated = int(study.t.sum())
    smaller = min(treated, study.n - treated)
    if smaller < MIN_PER_ARM:
        raise TooFewRows(
            f"the smaller arm has {smaller} comparable rows; this design needs at least {MIN_PER_ARM} treated and "
            f"{MIN_PER_ARM} untreated"
        )


def spread_influence(influence: FloatArray, rows: BoolArray) -> FloatArray:
    """Influence of an estimate made on ``rows`` as one over all rows: 0 elsewhere, same Σψ²/n²."""
    full = np.zeros(len(rows))
    full[rows] = influence * (len(rows) / len(influence))
    return full


def bounded(propensity: FloatArray, estimand: Estimand) -> FloatArray:
    """Propensity kept within [.01, .99], so that no single unit weighs more than a hundred.

    For ATT and SATT only the upper bound matters: unlike controls rightly weigh next to nothing. ATO
    divides by no propensity and needs no bound.
    """
    if estimand is Estimand.ATO:
        return propensity
    return np.clip(propensity, 0.0 if estimand.on_treated else WEIGHT_FLOOR, 1.0 - WEIGHT_FLOOR)


def arm_weights(t: FloatArray, propensity: FloatArray, estimand: Estimand) -> tuple[FloatArray, FloatArray]:
    """Weights (n,) of the treated and of the untreated: 1/e and 1/(1−e) for the average over all units,
    1 and e/(1−e) over the treated, 1−e and e for ATO (Li, Morgan & Zaslavsky 2018, table 1).
    """
    if estimand.on_treated:
        return t, (1 - t) * propensity / (1 - propensity)
    if estimand is Estimand.ATO:
        return t * (1 - propensity), (1 - t) * propensity
    return t / propensity, (1 - t) / (1 - propensity)


def _trimmed(study: Study, propensity: FloatArray, estimand: Estimand) -> tuple[BoolArray, Estimand]:
    rows = (propensity >= LOWEST) & (propensity <= HIGHEST)
    if not rows.any():
        raise OverlapViolated("no unit has a treatment probability within [.02, .98]; there is nothing to compare")
    return rows, estimand if rows.all() else Estimand.ATE_TRIMMED
