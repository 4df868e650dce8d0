"""Do nuisance learners give the same answer in every unit?"""

from __future__ import annotations

import numpy as np
import pytest

from src.causal_engine.estimators.learners import LEARNERS, fit_predict


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("unit", [1e-3, 1e3])
def test_the_unit_of_a_covariate_does_not_matter(learner: str, unit: float) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 3))
    y = np.sin(2 * x[:, 2]) * x[:, 0] + rng.normal(size=900)
    scaled = x * [1.0, 1.0, unit]
    plain, other = (
        fit_predict((learner,), rows[:600], y[:600], rows[600:], probability=False, seed=1)[learner]
        for rows in (x, scaled)
    )
    assert other == pytest.approx(plain, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("learner", [name for name in LEARNERS if name != "constant"])
def test_rows_that_count_more_pull_the_prediction(learner: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(600, 2))
    lifted = np.arange(600) % 2 == 0
    y = x[:, 0] + 3.0 * lifted + 0.1 * rng.normal(size=600)
    weight = np.where(lifted, 9.0, 1.0)
    even = fit_predict((learner,), x, y, x, probability=False, seed=1)[learner].mean()
    pulled = fit_predict((learner,), x, y, x, probability=False, seed=1, weight=weight)[learner].mean()
    assert pulled - even == pytest.approx(1.2, abs=0.25)
