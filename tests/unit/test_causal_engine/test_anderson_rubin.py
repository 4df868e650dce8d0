"""Weak and bad instruments: a set that holds, no number where there is none, and what speaks against them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.diagnostics.instruments import instrument_doubts
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.instrument import anderson_rubin, partial_out
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.identification import identify, make_graph
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import Conclusion, Verdict
from src.causal_engine.spec import CausalSpec, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import StudyInvalid, WeakInstrument


def simulate(n: int = 600, seed: int = 0, strength: float = 0.15, *, direct: float = 0.0) -> pd.DataFrame:
    """Hidden u confounds, effect .5; z2 is half as strong and acts past the treatment by ``direct``."""
    rng = np.random.default_rng(seed)
    z1, z2, x, u = rng.normal(size=(4, n))
    t = strength * z1 + 0.5 * strength * z2 + 0.3 * x + u + rng.normal(size=n)
    y = 0.5 * t + x + u + direct * z2 + rng.normal(size=n) * (1 + 0.5 * np.abs(z1))
    return pd.DataFrame({"t": t, "y": y, "x": x, "z1": z1, "z2": z2, "region": rng.integers(0, 40, n)})


def study_of(frame: pd.DataFrame, instruments: tuple[str, ...] = ("z1",), **changes: object) -> Study:
    return prepare_study(frame, CausalSpec("t", "y", ("x",), instruments=instruments, **changes))  # type: ignore[arg-type]


def concluded(frame: pd.DataFrame, spec: CausalSpec) -> Conclusion:
    identification = identify(spec, list(frame.columns), None)
    outcome, held = estimate_effect(frame, spec, identification)
    report = None if held.fitted is None else refute(held.study, held.fitted, random_state=1)
    return conclude(Evidence(spec, identification, outcome, report))


@pytest.mark.parametrize("instruments", [("z1",), ("z1", "z2")])
@pytest.mark.parametrize("cluster", [None, "region"])
def test_the_interval_is_the_set_and_holds_the_least_contradicted_effect(
    instruments: tuple[str, ...], cluster: str | None
) -> None:
    study = study_of(simulate(2000, 1), instruments, cluster_key=cluster)
    estimate = fit_estimator("anderson_rubin", study).estimate
    ((low, high),) = anderson_rubin(partial_out(study))
    assert (estimate.ci.lower, estimate.ci.upper) == (low, high)
    assert low < estimate.value < high
    assert estimate.estimand is Estimand.LATE
    assert ("clustered" in estimate.se_method) == (cluster is not None)


def test_its_p_value_is_that_of_the_test_it_inverts() -> None:
    """At the end of the set nearest to zero, shifting the outcome by that effect leaves p = .05."""
    frame = simulate(2000, 1)
    end = fit_estimator("anderson_rubin", study_of(frame)).estimate.ci.lower
    shifted = frame.assign(y=frame.y - end * frame.t)
    assert fit_estimator("anderson_rubin", study_of(shifted)).estimate.p_value == pytest.approx(0.05, abs=1e-6)


def test_with_one_instrument_the_value_is_that_of_two_stage_least_squares() -> None:
    study = study_of(simulate(2000, 1, strength=0.4))
    weak, strong = (fit_estimator(name, study).estimate for name in ("anderson_rubin", "iv_2sls"))
    assert weak.value == pytest.approx(strong.value, rel=1e-9)


@pytest.mark.parametrize(
    ("frame", "instruments", "said"),
    [
        (simulate(400, 3, strength=0.0), ("z1",), "no number to report"),
        (simulate(3000, 3, strength=0.8, direct=2.0), ("z1", "z2"), "empty: the instruments contradict"),
    ],
    ids=["unbounded", "empty"],
)
def test_a_set_that_is_no_interval_gives_no_number(
    frame: pd.DataFrame, instruments: tuple[str, ...], said: str
) -> None:
    with pytest.raises(WeakInstrument, match=said):
        fit_estimator("anderson_rubin", study_of(frame, instruments))


def test_a_weak_instrument_answers_by_the_set_and_never_by_least_squares() -> None:
    frame = simulate(600, 4)
    spec = CausalSpec("t", "y", ("x",), instruments=("z1",))
    outcome, _ = estimate_effect(frame, spec, identify(spec, list(frame.columns), None))
    assert outcome.choice is not None
    assert outcome.choice.estimators[0] == "anderson_rubin"
    assert "weak instrument: first-stage F" in {one.name: one.reason for one in outcome.choice.rejected}["iv_2sls"]
    assert outcome.primary is not None
    assert outcome.primary.estimator == "anderson_rubin"
    assert "iv_2sls" not in {one.estimator for one in outcome.curve}


def test_two_stage_least_squares_asked_for_by_name_refuses_and_nothing_answers_instead() -> None:
    spec = CausalSpec("t", "y", ("x",), instruments=("z1",), estimator="iv_2sls")
    frame = simulate(600, 4)
    outcome, _ = estimate_effect(frame, spec, identify(spec, list(frame.columns), None))
    assert outcome.primary is None
    assert outcome.refusal is not None
    assert (outcome.refusal.estimator, outcome.refusal.error) == ("iv_2sls", "WeakInstrument")


def test_an_instrument_that_moves_nothing_leaves_the_question_open_in_words() -> None:
    conclusion = concluded(simulate(400, 3, strength=0.0), CausalSpec("t", "y", ("x",), instruments=("z1",)))
    assert conclusion.verdict is Verdict.NOT_IDENTIFIED
    assert "Anderson–Rubin set" in conclusion.headline


def test_instruments_that_contradict_one_another_leave_association_only() -> None:
    spec = CausalSpec("t", "y", ("x",), instruments=("z1", "z2"))
    honest, cheating = (simulate(2500, 5, strength=0.6, direct=direct) for direct in (0.0, 0.4))
    assert concluded(honest, spec).verdict is Verdict.SUPPORTED
    doubtful = concluded(cheating, spec)
    assert doubtful.verdict is Verdict.ASSOCIATION_ONLY
    assert "contradict one another" in " ".join(doubtful.reasons)


def test_an_instrument_that_goes_with_measured_confounders_is_doubted_unless_the_graph_expects_it() -> None:
    frame = simulate(1500, 6, strength=0.6)
    tied = frame.assign(z1=frame.z1 + 0.5 * frame.x)
    assert instrument_doubts(study_of(frame), conditional=False) == ()
    assert "goes with the measured confounders" in instrument_doubts(study_of(tied), conditional=False)[0]
    assert instrument_doubts(study_of(tied), conditional=True) == ()
    graph = make_graph([("x", "z1"), ("x", "y"), ("z1", "t"), ("u", "t"), ("u", "y"), ("t", "y")], latent=["u"])
    spec = CausalSpec("t", "y", ("x",), instruments=("z1",))
    outcome, _ = estimate_effect(tied, spec, identify(spec, list(tied.columns), graph))
    assert outcome.doubts == ()


@pytest.mark.parametrize("leak", [0.0, 0.6])
def test_an_instrument_that_works_where_nobody_can_be_treated_is_doubted(leak: float) -> None:
    rng = np.random.default_rng(7)
    n = 1600
    z, barred, u = rng.integers(0, 2, n), rng.integers(0, 2, n), rng.normal(size=n)
    t = ((0.9 * z + u + rng.normal(size=n) > 0.5) & (barred == 0)).astype(float)
    y = t + u + leak * z + rng.normal(size=n)
    frame = pd.DataFrame({"t": t, "y": y, "barred": barred, "z": z})
    study = prepare_study(frame, CausalSpec("t", "y", ("barred",), instruments=("z",)))
    doubts = instrument_doubts(study, conditional=False)
    assert bool(doubts) == (leak > 0)
    assert all("where 'barred' is 1" in doubt for doubt in doubts)


def test_without_an_instrument_there_is_no_set() -> None:
    with pytest.raises(StudyInvalid, match="needs an instrument"):
        fit_estimator("anderson_rubin", study_of(simulate(), ()))


@pytest.mark.parametrize(
    ("instrument", "said"),
    [
        (lambda frame: frame.t * 2 + 1, "the instrument repeats 't'"),
        (lambda frame: frame.t + frame.x, "the instrument repeats 't'"),
        (lambda frame: pd.Series(0.1, index=frame.index), "no variation of it is left"),
        (lambda frame: frame.z1.where(frame.z1 < 1), "instrument 'z1' is missing in"),
    ],
    ids=["treatment", "treatment and control", "constant", "gaps"],
)
@pytest.mark.parametrize("name", ["iv_2sls", "anderson_rubin"])
def test_what_can_be_no_instrument_is_refused(
    instrument: Callable[[pd.DataFrame], pd.Series], said: str, name: str
) -> None:
    frame = simulate()
    with pytest.raises(StudyInvalid, match=said):
        fit_estimator(name, study_of(frame.assign(z1=instrument(frame))))


@pytest.mark.parametrize(("estimator", "supported"), [("iv_2sls", True), ("ols", False), ("linear_dml", False)])
def test_an_instrument_supports_no_estimate_that_does_not_use_it(estimator: str, supported: bool) -> None:
    found = concluded(simulate(strength=0.8), CausalSpec("t", "y", ("x",), instruments=("z1",), estimator=estimator))
    assert (found.verdict is Verdict.SUPPORTED) == supported
    assert any(f"{estimator} does not use the instrument" in one for one in found.reasons) != supported
