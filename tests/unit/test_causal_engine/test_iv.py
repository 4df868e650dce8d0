"""Instrumental variables against linearmodels; weak instruments are refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from linearmodels.iv import IV2SLS, IVGMM

from src.causal_engine.estimators.instrument import anderson_rubin, describe_set, effective_f, partial_out
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import StudyInvalid, WeakInstrument


def simulate(n: int = 1500, seed: int = 0, strength: float = 0.6, direct: float = 0.0) -> pd.DataFrame:
    """Hidden u confounds; two instruments; effect .5. ``direct``: z2 acts on y past the treatment."""
    rng = np.random.default_rng(seed)
    z1, z2, x, u = rng.normal(size=(4, n))
    t = strength * z1 + 0.5 * strength * z2 + 0.3 * x + u + rng.normal(size=n)
    y = 0.5 * t + x + u + direct * z2 + rng.normal(size=n) * (1 + 0.5 * np.abs(z1))
    return pd.DataFrame({"t": t, "y": y, "x": x, "z1": z1, "z2": z2, "region": rng.integers(0, 40, n)})


def study_of(frame: pd.DataFrame, instruments: tuple[str, ...] = ("z1", "z2"), **changes: object) -> Study:
    return prepare_study(frame, CausalSpec("t", "y", ("x",), instruments=instruments, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("instruments", [("z1",), ("z1", "z2")])
def test_2sls_equals_linearmodels_robust(instruments: tuple[str, ...]) -> None:
    frame = simulate()
    exog = frame[["x"]].assign(const=1.0)
    oracle = IV2SLS(frame.y, exog, frame.t, frame[list(instruments)]).fit(cov_type="robust", debiased=True)
    estimate = fit_estimator("iv_2sls", study_of(frame, instruments)).estimate
    assert estimate.value == pytest.approx(oracle.params["t"], rel=1e-8)
    assert estimate.std_error == pytest.approx(oracle.std_errors["t"], rel=1e-8)
    assert estimate.estimand is Estimand.LATE
    assert estimate.ci.covers(0.5)
    assert fit_estimator("ols", study_of(frame, instruments)).estimate.ci.lower > 0.5


def test_2sls_equals_linearmodels_clustered() -> None:
    frame = simulate()
    exog = frame[["x"]].assign(const=1.0)
    oracle = IV2SLS(frame.y, exog, frame.t, frame[["z1"]]).fit(
        cov_type="clustered", clusters=frame.region, debiased=True
    )
    estimate = fit_estimator("iv_2sls", study_of(frame, ("z1",), cluster_key="region")).estimate
    assert estimate.std_error == pytest.approx(oracle.std_errors["t"], rel=1e-8)


def test_the_first_stage_f_with_one_instrument_is_its_robust_f() -> None:
    frame = simulate(strength=0.1)
    exog = frame[["x"]].assign(const=1.0)
    first = IV2SLS(frame.t, frame[["z1"]].join(exog), None, None).fit(cov_type="robust", debiased=True)
    assert effective_f(partial_out(study_of(frame, ("z1",)))) == pytest.approx(first.tstats["z1"] ** 2, rel=1e-8)


def test_an_anderson_rubin_interval_accompanies_a_middling_instrument_only() -> None:
    middling = fit_estimator("iv_2sls", study_of(simulate(seed=1, strength=0.2), ("z1",))).estimate
    strong = fit_estimator("iv_2sls", study_of(simulate(seed=1, strength=2.0), ("z1",))).estimate
    assert 10 < (middling.diagnostic("first_stage_f") or 0) < 104
    assert middling.diagnostic("ar_lower") is not None
    assert middling.diagnostic("ar_lower") < middling.value < middling.diagnostic("ar_upper")
    assert strong.diagnostic("ar_lower") is None


def test_the_anderson_rubin_set_inverts_the_test_it_is_named_for() -> None:
    """At each end, a robust regression of y − b·t on the instrument and controls has p = .05."""
    frame = simulate(strength=0.3, seed=2)
    ((low, high),) = anderson_rubin(partial_out(study_of(frame, ("z1",))))
    for end in (low, high):
        exog = frame[["z1", "x"]].assign(const=1.0)
        fit = IV2SLS(frame.y - end * frame.t, exog, None, None).fit(cov_type="robust", debiased=True)
        assert abs(fit.tstats["z1"]) == pytest.approx(1.959964, rel=1e-5)


def test_the_anderson_rubin_set_covers_the_truth_however_weak_the_instrument() -> None:
    covered = 0
    for seed in range(100):
        data = partial_out(study_of(simulate(300, seed, strength=0.1), ("z1",)))
        covered += any(low <= 0.5 <= high for low, high in anderson_rubin(data))
    assert covered >= 89


def test_a_weak_instrument_is_refused_with_the_set_that_is_valid_all_the_same() -> None:
    with pytest.raises(WeakInstrument, match=r"first-stage F \d.*Anderson–Rubin set.*(\[|whole line)"):
        fit_estimator("iv_2sls", study_of(simulate(400, 3, strength=0.02), ("z1",)))


def test_instruments_that_disagree_are_noticed_and_agreeing_ones_pass() -> None:
    honest, cheating = (simulate(direct=direct) for direct in (0.0, 0.4))
    exog = cheating[["x"]].assign(const=1.0)
    oracle = IVGMM(cheating.y, exog, cheating.t, cheating[["z1", "z2"]]).fit(iter_limit=2)
    found = fit_estimator("iv_2sls", study_of(cheating)).estimate.diagnostic("overid_p_value")
    assert found == pytest.approx(oracle.j_stat.pval, rel=1e-6)
    assert found < 1e-3
    assert (fit_estimator("iv_2sls", study_of(honest)).estimate.diagnostic("overid_p_value") or 0) > 0.05


def test_no_instrument_and_a_redundant_one_are_refused() -> None:
    frame = simulate()
    with pytest.raises(StudyInvalid, match="needs an instrument"):
        fit_estimator("iv_2sls", study_of(frame, ()))
    with pytest.raises(StudyInvalid, match="determine the instrument"):
        fit_estimator("iv_2sls", study_of(frame.assign(z1=2 * frame.x + 1), ("z1",)))


def test_confidence_sets_are_put_into_words() -> None:
    assert describe_set(()) == "empty: the instruments contradict one another"
    assert "whole line" in describe_set(((-np.inf, np.inf),))
    assert describe_set(((-np.inf, -1.0), (2.0, np.inf))) == "[-inf, -1] or [2, inf]"
