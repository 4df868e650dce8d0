"""Does the energy score say what it should, whatever the order, the unit or the number of rows?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from src.causal_engine.energy_score import scoring
from src.causal_engine.energy_score.distances import distance_covariances, energy_distances, standardised
from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.resampling import resampled_counts
from src.causal_engine.energy_score.scoring import score_effects
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.study import FloatArray
from src.errors import EstimationError
from tests.effect_processes import WRONG_EFFECTS, draw_sample


def known_data(n: int, state: int, *, continuous: bool = False) -> EffectData:
    """A sample whose nuisances are the truth plus noise, so that no model is fitted."""
    rng = np.random.default_rng(state)
    x = rng.normal(size=(n, 3))
    e = 1 / (1 + np.exp(-x[:, 0]))
    t = e + rng.normal(size=n) if continuous else (rng.random(n) < e).astype(np.float64)
    control, effect = x[:, 1] + 0.1 * rng.normal(size=n), 1 + x[:, 2]
    y = x[:, 1] + t * effect + rng.normal(size=n)
    arms = (None, None) if continuous else (control, control + effect)
    nuisances = Nuisances(e, control + e * effect, *arms, ())
    return EffectData(x, t, y, nuisances, np.arange(n) % 5, 7, not continuous)


def some_effects(data: EffectData) -> dict[str, FloatArray]:
    truth = 1 + data.x[:, 2]
    return {"truth": truth, "zero": np.zeros_like(truth), "constant": np.ones_like(truth), "mirrored": 2 - truth}


def reordered(data: EffectData, order: np.ndarray) -> EffectData:
    parts = data.nuisances
    arrays = (parts.propensity, parts.outcome, parts.outcome_control, parts.outcome_treated)
    moved = Nuisances(*(None if a is None else a[order] for a in arrays), ())  # type: ignore[arg-type]
    return replace(data, x=data.x[order], t=data.t[order], y=data.y[order], nuisances=moved, folds=data.folds[order])


@pytest.mark.parametrize("binary", [False, True], ids=["continuous", "binary"])
def test_the_truth_beats_every_wrong_effect(binary: bool) -> None:
    sample = draw_sample(1_500, 2, binary=binary)
    rng = np.random.default_rng(2)
    effects = {name: wrong(sample, rng) for name, wrong in WRONG_EFFECTS.items()} | {"truth": sample.truth}
    scores = score_effects(effect_data(sample.study), effects, draws=2, variants=False).scores
    assert min(scores, key=lambda name: scores[name].score) == "truth"
    assert len({score.score for score in scores.values()}) == len(scores)


def test_a_continuous_treatment_is_scored_by_what_is_left_that_depends_on_it() -> None:
    data = known_data(800, 1, continuous=True)
    scores = score_effects(data, some_effects(data), draws=5).scores
    assert min(scores, key=lambda name: scores[name].score) == "truth"
    assert min(scores, key=lambda name: scores[name].distance) == "truth"
    assert all(score.loss == score.r_loss and score.variants == () for score in scores.values())


@pytest.mark.parametrize("continuous", [False, True])
@settings(max_examples=8)
@given(state=st.integers(0, 10_000))
def test_the_order_of_rows_does_not_matter(continuous: bool, state: int) -> None:
    data = known_data(120, state, continuous=continuous)
    order = np.random.default_rng(state).permutation(120)
    effects = some_effects(data)
    before = score_effects(data, effects, draws=5).scores
    after = score_effects(reordered(data, order), {k: v[order] for k, v in effects.items()}, draws=5).scores
    for name, score in before.items():
        assert after[name].score == pytest.approx(score.score, rel=1e-9, abs=1e-12)
        assert after[name].ci.lower == pytest.approx(score.ci.lower, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("continuous", [False, True])
@settings(max_examples=8)
@given(scale=st.sampled_from([-40.0, -1.0, 1e-3, 7.0, 1e3]), shift=st.floats(-1e3, 1e3), state=st.integers(0, 10_000))
def test_an_affine_change_of_the_outcome_changes_no_score(
    continuous: bool, scale: float, shift: float, state: int
) -> None:
    data = known_data(120, state, continuous=continuous)
    parts = data.nuisances
    outcomes = (parts.outcome, parts.outcome_control, parts.outcome_treated)
    changed = Nuisances(parts.propensity, *(None if a is None else scale * a + shift for a in outcomes), ())
    moved = replace(data, y=scale * data.y + shift, nuisances=changed)
    effects = some_effects(data)
    before = score_effects(data, effects, draws=5, variants=False).scores
    after = score_effects(moved, {k: scale * v for k, v in effects.items()}, draws=5, variants=False).scores
    for name, score in before.items():
        assert after[name].score == pytest.approx(score.score, rel=1e-6, abs=1e-9)
        assert (after[name].loss, after[name].r_loss) == pytest.approx((score.loss, score.r_loss), rel=1e-6)


@settings(max_examples=10)
@given(state=st.integers(0, 10_000))
def test_different_candidates_do_not_all_tie(state: int) -> None:
    data = known_data(100, state)
    rng = np.random.default_rng(state)
    scores = score_effects(data, {str(i): rng.normal(size=100) for i in range(4)}, draws=2).scores
    assert len({score.score for score in scores.values()}) > 1


def test_the_energy_distance_is_that_of_the_definition_for_every_weighting() -> None:
    rng = np.random.default_rng(0)
    space, residual = rng.normal(size=(1_100, 3)) + 50, rng.normal(size=1_100)
    first = np.arange(1_100) < 400
    signed = rng.random((1_100, 3))
    signed[first] /= signed[first].sum(axis=0)
    signed[~first] /= -signed[~first].sum(axis=0)
    points = np.column_stack([space, residual])
    expected = []
    for a, b in zip(signed[first].T, -signed[~first].T, strict=True):
        between = cdist(points[first], points[~first])
        within = cdist(points[first], points[first]), cdist(points[~first], points[~first])
        expected.append(2 * a @ between @ b - a @ within[0] @ a - b @ within[1] @ b)
    assert energy_distances(space, residual, signed) == pytest.approx(expected, rel=1e-7)


def test_the_distance_covariance_is_that_of_doubly_centred_distances() -> None:
    rng = np.random.default_rng(1)
    space, residual = rng.normal(size=(700, 2)), rng.normal(size=700)
    a, b = cdist(residual[:, None], residual[:, None]), cdist(space, space)
    centred = [d - d.mean(axis=0) - d.mean(axis=1)[:, None] + d.mean() for d in (a, b)]
    expected = (centred[0] * centred[1]).mean()
    found = distance_covariances(space, residual, np.full((700, 1), 1 / 700))
    assert found[0] == pytest.approx(expected, rel=1e-8)


def test_a_bootstrap_weighting_is_the_score_of_the_redrawn_rows() -> None:
    data = known_data(150, 3)
    data = reordered(data, data.canonical_order)
    effect = {"truth": 1 + data.x[:, 2]}
    counts = resampled_counts(None, 150, 3, np.random.default_rng(data.seed))
    table = score_effects(data, effect, draws=3)
    rows = np.repeat(np.arange(150), counts[:, 0].astype(int))
    redrawn = score_effects(reordered(data, rows), {"truth": effect["truth"][rows]}, draws=2).scores["truth"]
    assert table.draws["truth"][0] == pytest.approx(redrawn.score, abs=0.05)
    assert table.draws["truth"][0] != pytest.approx(table.scores["truth"].score, abs=1e-6)
    assert table.scores["truth"].ci.covers(table.scores["truth"].score)


def test_whole_clusters_are_redrawn() -> None:
    units = np.repeat(np.arange(20), 5)
    counts = resampled_counts(units, 100, 50, np.random.default_rng(0))
    assert (counts.reshape(20, 5, 50).std(axis=1) == 0).all()
    assert (counts.sum(axis=0) == 100).all()
    assert len(np.unique(counts, axis=1).T) == 50


def test_at_most_the_capped_number_of_points_is_compared_in_the_arms_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    whole = scoring.energy_distances

    def counting(space: FloatArray, residual: FloatArray, signed: FloatArray) -> FloatArray:
        seen.append(((signed[:, 0] > 0).sum(), (signed[:, 0] < 0).sum()))
        return whole(space, residual, signed)

    monkeypatch.setattr(scoring, "energy_distances", counting)
    monkeypatch.setattr(scoring, "MAX_POINTS", 200)
    data = known_data(900, 5)
    scores = score_effects(data, some_effects(data), draws=4, variants=False).scores
    share = 200 * data.t.mean()
    assert {(round(share), round(200 - share))} == set(seen)
    assert min(scores, key=lambda name: scores[name].score) == "truth"


@pytest.mark.parametrize(
    ("effect", "draws", "message"),
    [
        (np.full(60, np.nan), 5, "no finite value for each of the 60 rows"),
        (np.zeros(59), 5, "no finite value for each of the 60 rows"),
        (np.zeros(60), 1, "at least two draws"),
    ],
)
def test_what_cannot_be_scored_is_refused(effect: FloatArray, draws: int, message: str) -> None:
    with pytest.raises(EstimationError, match=message):
        score_effects(known_data(60, 1), {"bad": effect}, draws=draws)


def test_constant_covariates_are_no_coordinates_and_units_do_not_count() -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 4.0
    assert standardised(x).shape == (50, 2)
    assert standardised(x * [1e-3, 1, 1e6]) == pytest.approx(standardised(x))
