"""The dose–response curve and its average slope against simulated truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.dose_response import refit_dose_response
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.results import DOSE_AXIS
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, OverlapViolated, TooFewRows


def dosed(n: int = 400, seed: int = 0, *, bend: bool = False) -> pd.DataFrame:
    """Calls follow need; scripts rise by .5 a call, or, with ``bend``, by 2·√calls."""
    rng = np.random.default_rng(seed)
    need, size = rng.normal(size=(2, n))
    calls = 4 + 0.6 * need + 0.3 * size + rng.normal(size=n)
    raised = 2 * np.sqrt(np.maximum(calls, 0)) if bend else 0.5 * calls
    scripts = raised + need + 0.5 * size + 0.7 * rng.normal(size=n)
    return pd.DataFrame({"calls": calls, "scripts": scripts, "need": need, "size": size})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    roles = {"treatment": "calls", "outcome": "scripts", "confounders": ("need", "size"), **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


def test_the_average_slope_is_recovered_where_the_raw_slope_is_not() -> None:
    estimates = [refit_dose_response(study_of(dosed(300, seed))).estimate for seed in range(12)]
    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(0.5, abs=0.1)
    assert np.mean([estimate.ci.covers(0.5) for estimate in estimates]) >= 0.7
    frame = dosed(300)
    assert np.polyfit(frame.calls, frame.scripts, 1)[0] > 0.8


def test_the_curve_follows_a_bend_with_pointwise_intervals() -> None:
    estimate = fit_estimator("dose_response", study_of(dosed(700, bend=True))).estimate
    profile = estimate.profile
    assert profile is not None
    assert profile.axis == DOSE_AXIS
    truth = [2 * np.sqrt(point.at) for point in profile.points]
    assert np.mean([point.ci.covers(true) for point, true in zip(profile.points, truth, strict=True)]) >= 0.6
    assert np.mean([abs(p.value - true) for p, true in zip(profile.points, truth, strict=True)]) < 0.25
    assert "3 splits" in estimate.se_method
    assert estimate.ci.covers(0.5)


@pytest.mark.parametrize(
    ("frame", "error", "message"),
    [
        (dosed(150), TooFewRows, "needs 200"),
        (dosed(400).assign(calls=lambda rows: rows.calls.round().clip(2, 6)), EstimationError, "5 different values"),
        (dosed(400).assign(calls=lambda rows: rows.calls > 4), EstimationError, "use aipw"),
        (
            dosed(400).assign(calls=lambda rows: 4 + rows.need + 0.01 * rows.calls),
            OverlapViolated,
            "all but determine",
        ),
    ],
    ids=["few rows", "few doses", "binary", "determined"],
)
def test_dose_response_refuses(frame: pd.DataFrame, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fit_estimator("dose_response", study_of(frame))
