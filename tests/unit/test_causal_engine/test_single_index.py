"""Does one smooth curve of a weighted sum follow outcomes that a straight line misses?"""

from __future__ import annotations

import numpy as np
import pytest

from src.causal_engine.estimators.learners import SINGLE_INDEX, candidate_learners, fit_predict
from src.causal_engine.estimators.single_index import predict_single_index
from src.causal_engine.study import FloatArray

SLOPES = np.array([0.8, -0.5, 0.3, 0.0])


def drawn(n: int, state: int) -> FloatArray:
    return np.random.default_rng(state).normal(size=(n, 4))


def predictions(name: str, x: FloatArray, y: FloatArray, x_new: FloatArray) -> FloatArray:
    return fit_predict((name,), x, y, x_new, probability=False, seed=1)[name]


@pytest.mark.parametrize("curve", [np.exp, np.tanh, np.square], ids=["multiplicative", "saturating", "u-shaped"])
def test_a_bent_outcome_is_followed_where_a_line_is_not(curve: np.ufunc) -> None:
    x, x_new = drawn(400, 1), drawn(2_000, 2)
    offset = 0.7 if curve is np.square else 0.0
    y = curve(1.5 * (x @ SLOPES + offset)) + 0.1 * np.random.default_rng(3).normal(size=400)
    mean = curve(1.5 * (x_new @ SLOPES + offset))
    inner = np.abs(x_new @ SLOPES) < 1.5
    errors = {
        name: float(np.mean((predictions(name, x, y, x_new) - mean)[inner] ** 2)) for name in ("linear", SINGLE_INDEX)
    }
    assert errors[SINGLE_INDEX] < 0.25 * errors["linear"]


def test_a_straight_outcome_stays_straight() -> None:
    x, x_new = drawn(300, 4), drawn(200, 5)
    found = predictions(SINGLE_INDEX, x, x @ SLOPES, x_new)
    inner = np.abs(x_new @ SLOPES) < 2
    assert found[inner] == pytest.approx((x_new @ SLOPES)[inner], abs=0.05)


def test_units_of_outcome_and_covariates_do_not_matter() -> None:
    x, x_new = drawn(300, 6), drawn(100, 7)
    y = np.exp(x @ SLOPES)
    plain = predictions(SINGLE_INDEX, x, y, x_new)
    scaled = predictions(SINGLE_INDEX, x * [1e-3, 1, 1e3, 1], 1e6 + 1e3 * y, x_new * [1e-3, 1, 1e3, 1])
    assert (scaled - 1e6) / 1e3 == pytest.approx(plain, rel=1e-4, abs=1e-4)


def test_weights_count_rows() -> None:
    x, rng = drawn(200, 8), np.random.default_rng(9)
    y, counts = np.exp(x @ SLOPES) + rng.normal(size=200), rng.integers(0, 3, size=200)
    repeated = np.repeat(np.arange(200), counts)
    weighted = predict_single_index(x[counts > 0], y[counts > 0], x, counts[counts > 0].astype(np.float64))
    written_out = predict_single_index(x[repeated], y[repeated], x, np.ones(len(repeated)))
    # Knots are quantiles of the rows themselves, so the two curves bend at slightly different places.
    assert np.corrcoef(weighted, written_out)[0, 1] > 0.99


@pytest.mark.parametrize(("low", "mean"), [(-1.0, 24.5), (1.0, 49.5)], ids=["two values", "one value"])
def test_a_covariate_that_hardly_varies_gives_the_means_of_its_values(low: float, mean: float) -> None:
    x = np.repeat([[low], [1.0]], 50, axis=0)
    assert predict_single_index(x, np.arange(100.0), x[:1], np.ones(100)) == pytest.approx([mean], abs=0.01)


def test_it_competes_only_where_it_was_asked_for() -> None:
    assert SINGLE_INDEX not in candidate_learners(1_000, 5, "auto")
    assert SINGLE_INDEX in candidate_learners(1_000, 5, "broad")
    assert candidate_learners(1_000, 5, SINGLE_INDEX) == (SINGLE_INDEX,)
