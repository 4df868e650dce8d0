"""How well does each effect function explain the difference between the arms?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from src.causal_engine.energy_score.distances import distance_covariances, energy_distances, standardised
from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.energy_score.losses import main_loss, r_loss
from src.causal_engine.energy_score.resampling import DRAWS, recentred_interval, resampled_counts
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.results import Interval
from src.causal_engine.study import FloatArray, IntArray
from src.errors import EstimationError

MAX_POINTS = 5_000
LOWEST, HIGHEST = 0.02, 0.98


@dataclass(frozen=True, slots=True)
class EnergyScore:
    """How one effect function does; lower is better in every field.

    ``score`` = ``distance`` + (``loss`` − 1), with its 95 % interval. ``distance`` compares the arms
    after the effect was taken out (for a continuous treatment: dependence of what is left on the
    treatment). ``loss`` is the mean squared error against the doubly robust pseudo-outcome over that
    of its mean; ``r_loss`` likewise over residuals. ``variants`` are scores of the literature, by name,
    for comparison only.
    """

    score: float
    ci: Interval
    distance: float
    loss: float
    r_loss: float
    variants: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class ScoreTable:
    """Scores by candidate, and the bootstrap draws of each score (same resamples for all), shape (draws,)."""

    scores: Mapping[str, EnergyScore]
    draws: Mapping[str, FloatArray]


def score_effects(
    data: EffectData,
    effects: Mapping[str, FloatArray],
    *,
    draws: int = DRAWS,
    clusters: IntArray | None = None,
    variants: bool = True,
    most_points: int | None = None,
) -> ScoreTable:
    """Score effect functions, each given by its out-of-fold values (n,), on the same shared nuisances.

    Binary treatment: energy distance between treated and control in the untreated and the treated
    world, weighted by inverse propensity within [.02, .98]. Continuous: squared distance covariance of
    the residual with covariates and treatment residual. Distances use at most ``most_points`` (5,000) points, drawn
    within arms; losses use all rows. The bootstrap redraws units as weights: no distance is computed
    twice. Nothing depends on the order of rows. Raises EstimationError for an effect that is not
    finite or of the wrong length, and without any draw.
    """
    if draws < 2:
        raise EstimationError("a bootstrap interval needs at least two draws")
    for name, effect in effects.items():
        if effect.shape != data.y.shape or not np.isfinite(effect).all():
            raise EstimationError(f"effect function '{name}' has no finite value for each of the {len(data.y)} rows")
    order = data.canonical_order
    data = _reordered(data, order)
    rng = np.random.default_rng(data.seed)
    codes = None if clusters is None else np.unique(clusters[order], return_inverse=True)[1]
    counts = resampled_counts(codes, len(data.y), draws, rng)
    points = _points(data, rng, MAX_POINTS if most_points is None else most_points)
    worlds = _Worlds(data, points, np.column_stack([np.ones(len(points)), counts[points]]))
    scores: dict[str, EnergyScore] = {}
    drawn: dict[str, FloatArray] = {}
    for name, effect in effects.items():
        sorted_effect = effect[order]
        distance, loss = worlds.distance(sorted_effect), main_loss(data, sorted_effect)
        value = float(distance[0] + loss.relative()[0] - 1.0)
        drawn[name] = distance[1:] + loss.relative(counts) - 1.0
        scores[name] = EnergyScore(
            score=value,
            ci=recentred_interval(value, drawn[name]),
            distance=float(distance[0]),
            loss=float(loss.relative()[0]),
            r_loss=float(r_loss(data, sorted_effect).relative()[0]),
            variants=worlds.variants(sorted_effect) if variants and data.binary_treatment else (),
        )
    return ScoreTable(scores, drawn)


def _points(data: EffectData, rng: np.random.Generator, most: int) -> IntArray:
    """Rows whose distances are taken: all, or ``most`` drawn in the arms' shares."""
    n = len(data.y)
    if n <= most:
        return np.arange(n)
    if not data.binary_treatment:
        return np.sort(rng.permutation(n)[:most])
    share = most / n
    arms = [np.flatnonzero(data.t == arm) for arm in (0.0, 1.0)]
    return np.sort(np.concatenate([rng.permutation(rows)[: max(1, round(share * len(rows)))] for rows in arms]))


class _Worlds:
    """The points whose distances are compared, and their weights in the sample and in every resample."""

    def __init__(self, data: EffectData, points: IntArray, counts: FloatArray) -> None:
        self._data = data
        self._points = points
        self._counts = counts
        self._space = standardised(data.x[points])
        if data.binary_treatment:
            control, treated = data.arms
            factual = data.y - np.where(data.t == 1, treated, control)
            clipped = np.clip(data.nuisances.propensity[points], LOWEST, HIGHEST)
            self._signed = _signed(data.t[points], clipped, counts)
        else:
            factual = data.y - data.outcome
        self._scale = float(factual.std())
        if self._scale == 0.0:
            raise EstimationError("the covariates predict the outcome without error; effect functions cannot be ranked")

    def distance(self, effect: FloatArray) -> FloatArray:
        """D in the sample and in each resample, shape (1 + draws,)."""
        data, points = self._data, self._points
        if not data.binary_treatment:
            return self._dependence(effect)
        control, treated = data.arms
        untreated_world = (data.y - control - data.t * effect)[points] / self._scale
        treated_world = (data.y - treated + (1 - data.t) * effect)[points] / self._scale
        found = [energy_distances(self._space, world, self._signed) for world in (untreated_world, treated_world)]
        return np.asarray((found[0] + found[1]) / 2, dtype=np.float64)

    def variants(self, effect: FloatArray) -> tuple[tuple[str, float], ...]:
        """Published forms, unscaled: plain and inverse-propensity weighted energy of (x, y − tτ)."""
        data, points = self._data, self._points
        stripped = (data.y - data.t * effect)[points]
        e = np.clip(data.nuisances.propensity[points], np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
        ones = np.ones((len(points), 1))
        weightings = [_signed(data.t[points], p, ones) for p in (np.full(len(points), 0.5), e)]
        plain, weighted = energy_distances(data.x[points], stripped, np.hstack(weightings))
        residual = (data.y - data.arms[0] - data.t * effect)[points]
        beside = energy_distances(data.x[points], residual, weightings[1])
        return (
            ("energy", float(plain)),
            ("weighted_energy", float(weighted)),
            ("residualised_weighted_energy", float(beside[0])),
        )

    def _dependence(self, effect: FloatArray) -> FloatArray:
        data, points = self._data, self._points
        residual_t = (data.t - data.propensity)[points]
        residual = (data.y - data.outcome)[points] - effect[points] * residual_t
        beside = np.column_stack([self._space, residual_t / residual_t.std()])
        weights = self._counts / self._counts.sum(axis=0)
        return distance_covariances(beside, residual / self._scale, weights)


def _signed(t: FloatArray, propensity: FloatArray, counts: FloatArray) -> FloatArray:
    """Weights 1/P(own arm) times ``counts`` (n, B), summing to 1 over the treated and −1 over the controls."""
    treated = counts * (t / propensity)[:, None]
    control = counts * ((1 - t) / (1 - propensity))[:, None]
    sums = treated.sum(axis=0), control.sum(axis=0)
    if min(float(sums[0].min()), float(sums[1].min())) <= 0.0:
        raise EstimationError("a resample has no row of one arm; there are too few units to score effect functions")
    return np.asarray(treated / sums[0] - control / sums[1], dtype=np.float64)


def _reordered(data: EffectData, order: IntArray) -> EffectData:
    found = data.nuisances

    def of(values: FloatArray | None) -> FloatArray | None:
        return None if values is None else values[order]

    taught = None if data.taught is None else data.taught[order]

    nuisances = Nuisances(
        found.propensity[order],
        of(found.outcome),
        of(found.outcome_control),
        of(found.outcome_treated),
        found.learners,
    )
    sorted_rows = {name: getattr(data, name)[order] for name in ("x", "t", "y", "folds")}
    return replace(data, nuisances=nuisances, taught=taught, **sorted_rows)
