"""How is the confounding taken out that both nuisance models leave in?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.dictionary import Dictionary, dictionary_of
from src.causal_engine.estimators.nuisance import canonical_order
from src.causal_engine.estimators.positivity import BoolArray, arm_weights, bounded
from src.causal_engine.spec import Estimand
from src.causal_engine.study import FloatArray, IntArray, Study
from src.errors import EstimationError

MAX_TERMS = 60
ROWS_PER_TERM = 10
BUNDLES = 50
MOST_COMPARED = 100_000
_CHUNK = 20_000
_PENALTY = 1.0
_LARGEST_LEVERAGE = 0.9


def corrected(study: Study, nuisances: Nuisances, estimand: Estimand) -> Nuisances:
    """The nuisances with either arm's outcome model refitted, left-one-out, on smooth functions of the covariates.

    A doubly robust estimate is off by E[(pull of the model) · (error of the model)]: both factors have
    the shape of what the two nuisance models were too coarse for. The part of that product which the
    functions span is estimated without bias by the second-order U-statistic over pairs of different
    rows (Robins et al. 2008; Liu, Mukherjee & Robins 2020, eq. 1.3). It equals adding to the outcome
    model, at each row, the regression of the arm's residuals on the functions without that row (or
    without its bundle of clusters). The functions on which the weighted arms differ most take part, at
    most 60 and one for ten rows of the arm: chosen without looking at outcomes. Raises EstimationError
    without an outcome model per arm.
    """
    control, treated = nuisances.outcome_control, nuisances.outcome_treated
    if control is None or treated is None:
        raise EstimationError("the second-order correction needs an outcome model per arm; the treatment must be 0/1")
    if study.x.shape[1] == 0:
        return nuisances
    dictionary = dictionary_of(study.x)
    bundles = None if study.clusters is None else _bundles(study, study.clusters)
    pulls = dict(zip((1.0, 0.0), _pulls(study, nuisances, estimand), strict=True))
    # Which functions take part is no estimate; a hundred thousand rows show it well enough.
    compared = canonical_order(study)[:: -(-study.n // MOST_COMPARED)] if study.n > MOST_COMPARED else slice(None)
    chosen = _most_unlike(dictionary, study.x[compared], {arm: pull[compared] for arm, pull in pulls.items()})
    updated = {}
    for arm, model in ((0.0, control), (1.0, treated)):
        rows = study.t == arm
        terms = chosen[arm].first(int(rows.sum()) // ROWS_PER_TERM)
        # A model that pulls at nothing does not enter the estimate.
        updated[arm] = (
            model if not pulls[arm].any() else model + _left_out(study, study.y - model, rows, terms, bundles)
        )
    return replace(nuisances, outcome_control=updated[0.0], outcome_treated=updated[1.0])


@dataclass(frozen=True)
class _Terms:
    """Columns ``kept`` of a dictionary, most unlike first, with their means and spreads over all rows."""

    dictionary: Dictionary
    kept: IntArray
    centre: FloatArray
    spread: FloatArray

    def first(self, count: int) -> _Terms:
        return _Terms(self.dictionary, self.kept[:count], self.centre[:count], self.spread[:count])

    def design(self, x: FloatArray) -> FloatArray:
        """Intercept and standardised columns, (n, 1 + k)."""
        return np.column_stack([np.ones(len(x)), (self.dictionary.terms(x, self.kept) - self.centre) / self.spread])


def _pulls(study: Study, nuisances: Nuisances, estimand: Estimand) -> tuple[FloatArray, FloatArray]:
    """How much the numerator score changes with the treated and with the untreated outcome model, each (n,)."""
    t, e = study.t, bounded(nuisances.propensity, estimand)
    if estimand is Estimand.ATO:
        return -(t - e) * e, -(t - e) * (1 - e)
    counted = t if estimand.on_treated else np.ones(study.n)
    treated_weight, control_weight = arm_weights(t, e, estimand)
    return counted - treated_weight, counted - control_weight


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, n)) for start in range(0, n, _CHUNK))


def _most_unlike(dictionary: Dictionary, x: FloatArray, pulls: dict[float, FloatArray]) -> dict[float, _Terms]:
    """Per arm the columns that the pull does not average out, relative to their spread."""
    moments, squares = np.zeros((1 + len(pulls), dictionary.size)), np.zeros(dictionary.size)
    for rows in _chunks(len(x)):
        weights = np.vstack([np.ones(len(x[rows])), *(pull[rows] for pull in pulls.values())])
        found = dictionary.moments(x[rows], weights)
        moments += found[0]
        squares += found[1]
    centre = moments[0] / len(x)
    spread = np.sqrt(np.maximum(squares / len(x) - centre**2, 0.0))
    varying = np.flatnonzero(spread > 1e-6 * np.sqrt(squares / len(x)).clip(1e-300))
    chosen = {}
    for (arm, pull), moment in zip(pulls.items(), moments[1:], strict=True):
        unlike = np.abs(moment - pull.sum() * centre)[varying] / spread[varying]
        kept = varying[np.argsort(-unlike, kind="stable")[:MAX_TERMS]]
        chosen[arm] = _Terms(dictionary, kept, centre[kept], spread[kept])
    return chosen


def _left_out(
    study: Study, residual: FloatArray, arm: BoolArray, terms: _Terms, bundles: IntArray | None
) -> FloatArray:
    """Ridge regression of the arm's residuals on ``terms``, at each row (n,) without the row or its bundle."""
    size = len(terms.kept) + 1
    gram, moment = np.zeros((BUNDLES, size, size)), np.zeros((BUNDLES, size))
    for rows in _chunks(study.n):
        for bundle, within in _parts(rows, arm, bundles):
            design = terms.design(study.x[within])
            gram[bundle] += design.T @ design
            moment[bundle] += design.T @ residual[within]
    whole, total = gram.sum(axis=0) + np.diag(np.append(1e-9, np.full(size - 1, _PENALTY))), moment.sum(axis=0)
    found = np.empty(study.n)
    if bundles is None:
        for rows in _chunks(study.n):
            found[rows] = _without_itself(terms.design(study.x[rows]), residual[rows], arm[rows], whole, total)
        return found
    for bundle in np.unique(bundles):
        here = np.flatnonzero(bundles == bundle)
        slopes = cho_solve(cho_factor(whole - gram[bundle]), total - moment[bundle])
        found[here] = terms.design(study.x[here]) @ slopes
    return found


def _without_itself(
    design: FloatArray, residual: FloatArray, arm: BoolArray, gram: FloatArray, moment: FloatArray
) -> FloatArray:
    """Predictions (n,) of the regression with ``gram`` and ``moment``, the row left out where it belongs to the arm."""
    factor = cho_factor(gram)
    fitted = np.asarray(design @ cho_solve(factor, moment), dtype=np.float64)
    within = design[arm]
    leverage = np.minimum(np.einsum("ij,ji->i", within, cho_solve(factor, within.T)), _LARGEST_LEVERAGE)
    fitted[arm] -= leverage * (residual[arm] - fitted[arm]) / (1 - leverage)
    return fitted


def _parts(rows: slice, arm: BoolArray, bundles: IntArray | None) -> Iterator[tuple[int, IntArray]]:
    """Positions of the arm's rows within ``rows``, by bundle (all in one where rows are independent)."""
    within = rows.start + np.flatnonzero(arm[rows])
    if bundles is None:
        yield 0, within
        return
    for bundle in np.unique(bundles[within]):
        yield int(bundle), within[bundles[within] == bundle]


def _bundles(study: Study, clusters: IntArray) -> IntArray:
    """Bundle of each row (n,): clusters in the order of their smallest row, dealt out in turn."""
    order = canonical_order(study)
    _, first, codes = np.unique(clusters[order], return_index=True, return_inverse=True)
    dealt = np.empty(study.n, dtype=np.int64)
    dealt[order] = np.argsort(np.argsort(first))[codes] % BUNDLES
    return dealt
