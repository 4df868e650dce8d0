"""How often would chance alone, in the assignment as it was drawn, have shown a difference like this?"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import numpy as np
from scipy import stats

from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.inference import cluster_sums
from src.causal_engine.results import EffectEstimate, Interval
from src.causal_engine.spec import Estimand, OutcomeKind
from src.causal_engine.study import MIN_PER_ARM_EXACT, FloatArray, IntArray, Study
from src.domain.small_cells import counted
from src.errors import EstimationError, TooFewRows

ENUMERATED = 20_000
DRAWN = 19_999
DRAWN_IN_REFITS = 999
MOST_UNITS = 2_000
ALPHA = 0.05
_EQUAL = 1e-9


def fit_exact(study: Study) -> FittedEffect:
    """Fisher's randomisation inference for a randomised 0/1 treatment, down to five units an arm; SATE.

    The value is the difference in means, within blocks where treatment varies within clusters (a block
    counts by its rows), between whole clusters where it does not (Hájek means over their rows). p is
    the share of assignments that could have been drawn with a difference at least as large, if no unit
    had an effect (Fisher 1935); all of them when at most 20,000, else 19,999 drawn and the one at hand
    (Phipson & Smyth 2010). The 95 % interval is of a constant effect, by inverting that test (Rosenbaum
    2002, sec. 2.7); since the difference is linear in the effect the inversion is closed. The standard
    error is the spread of the difference over assignments once that effect is taken out.

    For a 0/1 outcome of single units no constant effect exists: the interval is for the mean effect,
    from exact hypergeometric limits for either arm's total (Wendell & Schmee 1996) at 2.5 % each, so that
    it holds whatever the effects; it is the wider of the two and may include 0 where p is below .05.

    Demands ``spec.randomized``; covariates are not used. Raises EstimationError otherwise, TooFewRows
    below five units (or clusters) an arm, or fewer than 20 possible assignments, and above 2,000 units, where
    large-sample intervals are as good.
    """
    return _fit(study, DRAWN)


def refit_exact(study: Study) -> FittedEffect:
    """The same value with an error from fewer assignments, for refits of which only values are needed."""
    return _fit(study, DRAWN_IN_REFITS)


def _fit(study: Study, draws: int) -> FittedEffect:
    _require_trial(study)
    drawing = _drawing(study)
    reference = _reference(drawing, study.spec.random_state, draws)
    y, t = drawing.y, drawing.t
    of_outcome, of_treatment = (drawing.contrasts(reference, values) for values in (y, t * drawing.size))
    value = drawing.contrast(y)
    lower, upper = _inverted(of_outcome, of_treatment, value)
    extreme = np.abs(of_outcome) >= abs(value) * (1 - _EQUAL) - 1e-300
    spread = float(np.std(of_outcome - value * of_treatment))
    method = f"randomisation inference, {_what(drawing, reference)}"
    if study.outcome_kind is OutcomeKind.BINARY and drawing.kind == "units":
        lower, upper = _hypergeometric_limits(study)
        method += "; interval by hypergeometric limits"
    if spread <= 0:
        raise EstimationError(f"outcome '{study.spec.outcome}' is a copy of the treatment, no outcome")
    estimate = EffectEstimate(
        estimator="exact",
        estimand=Estimand.SATE,
        value=value,
        std_error=spread,
        se_method=method,
        ci=Interval(lower, upper),
        p_value=float(extreme.mean()),
        n=study.n,
        n_treated=int(study.t.sum()),
        n_dropped=0,
        adjusted_for=(),
        diagnostics=(("n_assignments", float(len(reference))),),
    )
    return FittedEffect(estimate, _influence(study, spread))


@dataclass(frozen=True)
class _Drawing:
    """What was drawn: ``kind`` units, clusters or blocks; one entry per unit that was assigned.

    ``y`` and ``size``: sum of outcomes and number of rows (m,); ``t`` (m,); ``block`` codes (m,).
    """

    kind: str
    y: FloatArray
    size: FloatArray
    t: FloatArray
    block: IntArray

    def contrast(self, values: FloatArray) -> float:
        """Difference in means per row of sums ``values`` (m,) under the assignment that was drawn."""
        return float(self.contrasts(self.t[None, :], values)[0])

    def contrasts(self, assignments: FloatArray, values: FloatArray) -> FloatArray:
        """The difference under each of ``assignments`` (B, m), blocks weighted by their rows; (B,)."""
        found = np.zeros(len(assignments))
        for block in np.unique(self.block):
            rows = self.block == block
            drawn, size, total = assignments[:, rows], self.size[rows], values[rows]
            treated_size = drawn @ size
            treated = (drawn @ total) / treated_size
            control = (total.sum() - drawn @ total) / (size.sum() - treated_size)
            found += (treated - control) * size.sum() / self.size.sum()
        return found


def _require_trial(study: Study) -> None:
    if not study.spec.randomized:
        raise EstimationError(
            "exact rests on the treatment having been assigned at random; say so (--randomized) only if it was"
        )
    if not study.is_binary:
        raise EstimationError("exact compares two arms; use ols for a treatment that is not 0/1")
    if study.n > MOST_UNITS:
        raise EstimationError(
            f"exact redraws the assignment of every row and is for at most {MOST_UNITS:,}; with {study.n:,} rows the "
            "interval of difference_in_means is as good"
        )
    if study.spec.is_panel:
        raise EstimationError("exact compares units once each; summarise the panel to one row per unit")


def _drawing(study: Study) -> _Drawing:
    t, y, clusters = study.t, study.y, study.clusters
    if clusters is None:
        drawing = _Drawing("units", y, np.ones(study.n), t, np.zeros(study.n, dtype=np.int64))
    else:
        size = cluster_sums(np.ones(study.n), clusters)
        share = cluster_sums(t, clusters) / size
        if np.isin(share, (0.0, 1.0)).all():
            drawing = _Drawing("clusters", cluster_sums(y, clusters), size, share, np.zeros(len(size), dtype=np.int64))
        else:
            drawing = _blocks(study, share, clusters)
    smaller = int(min(drawing.t.sum(), len(drawing.t) - drawing.t.sum()))
    if smaller < MIN_PER_ARM_EXACT:
        what = "clusters" if drawing.kind == "clusters" else "rows"
        raise TooFewRows(
            f"the smaller arm has {counted(smaller)} {what}; these data cannot answer: even exact inference needs "
            f"{MIN_PER_ARM_EXACT} treated and {MIN_PER_ARM_EXACT} untreated {what}"
        )
    if _possible(drawing) < 1 / ALPHA:
        raise TooFewRows(
            f"only {_possible(drawing)} assignments were possible, so no result could be told from chance at 5 %; "
            "these data cannot answer: draw more units per block"
        )
    return drawing


def _blocks(study: Study, share: FloatArray, clusters: IntArray) -> _Drawing:
    one_armed = int(np.isin(share, (0.0, 1.0)).sum())
    if one_armed:
        raise EstimationError(
            f"{one_armed} of the blocks of '{study.spec.cluster_key}' have one arm only, others both; leave "
            "them out, or name the column by which the treatment was assigned"
        )
    return _Drawing("blocks", study.y, np.ones(study.n), study.t, clusters)


def _possible(drawing: _Drawing) -> int:
    blocks = (drawing.t[drawing.block == block] for block in np.unique(drawing.block))
    return prod(comb(len(t), int(t.sum())) for t in blocks)


def _reference(drawing: _Drawing, random_state: int, draws: int) -> FloatArray:
    """Assignments (B, m) with the numbers treated per block of the one drawn; all, or ``draws`` at random with it."""
    units = len(drawing.t)
    if len(np.unique(drawing.block)) == 1 and _possible(drawing) <= min(ENUMERATED, draws + 1):
        chosen = np.array(list(combinations(range(units), int(drawing.t.sum()))), dtype=np.int64)
        assignments = np.zeros((len(chosen), units))
        np.put_along_axis(assignments, chosen, 1.0, axis=1)
        return assignments
    rng = np.random.default_rng(random_state)
    assignments = np.empty((draws + 1, units))
    assignments[-1] = drawing.t
    for block in np.unique(drawing.block):
        rows = np.flatnonzero(drawing.block == block)
        order = rng.random((draws, len(rows))).argsort(axis=1)
        assignments[:-1, rows] = drawing.t[rows][order]
    return assignments


def _inverted(of_outcome: FloatArray, of_treatment: FloatArray, value: float) -> tuple[float, float]:
    """Limits of the constant effects that are not rejected at 5 %.

    Taking out an effect θ turns the difference of an assignment into a − θ·b and the one at hand into
    v − θ. |a − θb| ≥ |v − θ| holds for θ between (v−a)/(1−b) and (v+a)/(1+b), which includes v: so the
    p-value falls on either side of v and its limits are order statistics of these roots.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([(value - of_outcome) / (1 - of_treatment), (value + of_outcome) / (1 + of_treatment)])
    same = (1 - np.abs(of_treatment)) < _EQUAL
    below = np.where(same, -np.inf, np.minimum(roots[0], roots[1]))
    above = np.where(same, np.inf, np.maximum(roots[0], roots[1]))
    place = int(np.floor(ALPHA * len(below)))
    lower, upper = float(np.sort(below)[place]), float(np.sort(above)[::-1][place])
    if not np.isfinite([lower, upper]).all():
        raise TooFewRows("too few assignments were possible for a 95 % interval; these data cannot answer")
    return min(lower, value), max(upper, value)


def _hypergeometric_limits(study: Study) -> tuple[float, float]:
    """Limits of the mean effect on a 0/1 outcome: those of both arms' totals had all units been in that arm."""
    treated, control = study.y[study.t == 1], study.y[study.t == 0]
    least_treated, most_treated = _total_limits(int(treated.sum()), len(treated), study.n)
    least_control, most_control = _total_limits(int(control.sum()), len(control), study.n)
    return (least_treated - most_control) / study.n, (most_treated - least_control) / study.n


def _total_limits(found: int, drawn: int, population: int) -> tuple[int, int]:
    """Totals of a finite population that a simple random sample does not reject at 2.5 % (1.25 % either side)."""
    totals = np.arange(found, population - drawn + found + 1)
    more = stats.hypergeom.sf(found - 1, population, totals, drawn)
    fewer = stats.hypergeom.cdf(found, population, totals, drawn)
    kept = totals[(more > ALPHA / 4) & (fewer > ALPHA / 4)]
    return int(kept.min()), int(kept.max())


def _what(drawing: _Drawing, reference: FloatArray) -> str:
    told = {
        "units": "units exchanged",
        "clusters": "whole clusters exchanged",
        "blocks": "units exchanged within blocks",
    }[drawing.kind]
    every = len(np.unique(drawing.block)) == 1 and _possible(drawing) == len(reference)
    return f"{told}, {'all' if every else 'a random'} {len(reference):,} assignments"


def _influence(study: Study, spread: float) -> FloatArray:
    """Deviations from the arm means, scaled so that their variance is that of the estimate; (n,)."""
    t, y = study.t, study.y
    means = np.where(t == 1, y[t == 1].mean(), y[t == 0].mean())
    raw = (y - means) * np.where(t == 1, study.n / t.sum(), -study.n / (study.n - t.sum()))
    sums = raw if study.clusters is None else cluster_sums(raw, study.clusters)
    size = float(np.sqrt(sums @ sums)) / study.n
    return np.asarray(raw * (spread / size), dtype=np.float64) if size > 0 else raw
