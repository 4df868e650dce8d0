"""Did units that took up the treatment change more than units that never did?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.clusters import few_cluster_uncertainty
from src.causal_engine.estimators.fixed_effects import refuse_staggered
from src.causal_engine.estimators.inference import fit_linear, independent_columns, make_estimate
from src.causal_engine.estimators.panel_data import Adoption, Panel, adoption_of, panel_of
from src.causal_engine.spec import Estimand
from src.causal_engine.study import MIN_PER_ARM, FloatArray, IntArray, Study
from src.domain.small_cells import counted
from src.errors import EstimationError, TooFewRows


@dataclass(frozen=True)
class BeforeAfter:
    """One row per unit seen before and after the common adoption date, shape (m,) or (m, p).

    ``x`` holds the controls as they were in the last row before adoption; ``row`` is that row's
    position in the study; ``clusters`` is None unless a coarser cluster key was named.
    """

    treated: FloatArray
    before: FloatArray
    after: FloatArray
    x: FloatArray
    row: IntArray
    clusters: IntArray | None
    n_rows: int


def fit_did(study: Study) -> FittedEffect:
    """Difference-in-differences for one common adoption date: change of unit means on adoption, HC3; ATT.

    Each unit is collapsed to its mean before and after (Bertrand, Duflo & Mullainathan 2004);
    controls enter as of before adoption, so that they explain different trends. Raises
    EstimationError when adoption is staggered, reversed or universal; TooFewRows below 30 units an arm.
    With a coarser cluster key errors are CR1, below 40 clusters CR2 (``few_cluster_uncertainty``).
    """
    units = before_after(study, "did")
    return _regress(study, units, units.after - units.before, units.x, "did", Estimand.ATT)


def fit_lagged_outcome(study: Study) -> FittedEffect:
    """Outcome after adoption on adoption, outcome before and controls, HC3 (ANCOVA).

    Assumes that units alike before, in outcome and controls, would have gone on alike; brackets
    the truth together with ``did`` (Angrist & Pischke 2009, sec. 5.4). Same refusals as ``did``.
    """
    units = before_after(study, "lagged_outcome")
    controls = np.column_stack([units.before, units.x])
    return _regress(study, units, units.after, controls, "lagged_outcome", Estimand.ATT)


def before_after(study: Study, estimator: str) -> BeforeAfter:
    """Collapse the panel around its one adoption date; units seen only before or only after are left out."""
    panel = panel_of(study)
    date = _common_date(study, panel, estimator)
    post = panel.period >= date
    counts = np.stack([np.bincount(panel.unit[side], minlength=panel.n_units) for side in (~post, post)])
    sums = np.stack(
        [np.bincount(panel.unit[side], weights=study.y[side], minlength=panel.n_units) for side in (~post, post)]
    )
    seen = (counts > 0).all(axis=0)
    last = np.full(panel.n_units, -1)
    earlier = np.flatnonzero(~post)
    earlier = earlier[np.argsort(panel.period[earlier], kind="stable")]
    last[panel.unit[earlier]] = earlier
    ever = np.bincount(panel.unit, weights=study.t, minlength=panel.n_units) > 0
    treated = int((ever & seen).sum())
    if min(treated, int(seen.sum()) - treated) < MIN_PER_ARM:
        raise TooFewRows(
            f"{counted(treated)} adopting and {counted(int(seen.sum()) - treated)} other units are seen before and "
            f"after; {estimator} needs at least {MIN_PER_ARM} of each: for few adopters ask for synthetic_did"
        )
    row = last[seen]
    means = sums[:, seen] / counts[:, seen]
    clusters = None
    if study.spec.cluster_key not in (None, study.spec.unit_key) and study.clusters is not None:
        clusters = np.asarray(np.unique(study.clusters[row], return_inverse=True)[1], dtype=np.int64)
    n_rows = int(counts[:, seen].sum())
    return BeforeAfter(ever[seen].astype(np.float64), means[0], means[1], study.x[row], row, clusters, n_rows)


def _common_date(study: Study, panel: Panel, estimator: str) -> int:
    name = study.spec.treatment
    adoption = adoption_of(study, panel)
    if adoption is None:
        raise EstimationError(f"{estimator} compares adopters with others; '{name}' is not 0/1: use twfe")
    if not adoption.absorbing:
        raise EstimationError(
            f"'{name}' is switched off again in some units; {estimator} needs lasting adoption: use twfe"
        )
    refuse_staggered(study, panel, estimator)
    if not adoption.common:
        raise EstimationError(_why_not_common(adoption, name, estimator))
    return int(adoption.dates[0])


def _why_not_common(adoption: Adoption, name: str, estimator: str) -> str:
    if adoption.always_treated:
        return (
            f"{counted(adoption.always_treated)} units have '{name}' from their first period on; {estimator} needs a "
            "time before: leave those units out"
        )
    return f"every unit adopts '{name}'; {estimator} needs units that never do"


def _regress(
    study: Study, units: BeforeAfter, outcome: FloatArray, controls: FloatArray, estimator: str, estimand: Estimand
) -> FittedEffect:
    kept = controls[:, independent_columns(controls)]
    design = np.column_stack([np.ones(len(outcome)), units.treated, kept])
    fit = fit_linear(outcome, design, units.clusters)
    # One unit's influence sits on its last row before adoption, rescaled so that Σψ²/n² stays the variance.
    influence = np.zeros(study.n)
    influence[units.row] = fit.influence[:, 1] * (study.n / len(outcome))
    keys = tuple(key for key in (study.spec.unit_key, study.spec.time_key) if key)
    estimate = make_estimate(
        study,
        estimator=estimator,
        estimand=estimand,
        value=float(fit.coefficients[1]),
        uncertainty=few_cluster_uncertainty(fit, 1),
        n=units.n_rows,
        n_treated=int(units.treated.sum()),
        n_dropped=study.n - units.n_rows,
        adjusted_for=(*keys, *dict.fromkeys(study.design[2])),
        diagnostics=(("n_units", float(len(outcome))),),
    )
    return FittedEffect(estimate, influence)
