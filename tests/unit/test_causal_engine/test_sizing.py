"""Are power and sample size those of statsmodels where it has them, and those of simulated experiments where not?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import dunnett, ttest_ind
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from src.causal_engine.experiment.sizing import (
    Baseline,
    Clusters,
    Correction,
    Periods,
    Switchback,
    Trial,
    dunnett_alpha,
)
from src.causal_engine.spec import OutcomeKind
from src.errors import StudyInvalid

MEAN = Baseline(OutcomeKind.CONTINUOUS, 10.0, 2.0)
SHARE = Baseline(OutcomeKind.BINARY, 0.2)
COUNT = Baseline(OutcomeKind.COUNT, 3.0, dispersion=0.5)


@pytest.mark.parametrize("share", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("units", [20, 150, 4_000])
def test_power_of_a_mean_is_that_of_the_t_test(share: float, units: int) -> None:
    trial, treated = Trial(MEAN, share_treated=share), units * share
    expected = TTestIndPower().power(0.3, treated, 0.05, ratio=(units - treated) / treated)
    assert trial.power_at(units, 0.6) == pytest.approx(expected, abs=1e-4)


def test_power_of_a_proportion_is_that_of_the_normal_test() -> None:
    expected = power_proportions_2indep(0.08, 0.2, 300, ratio=1).power
    assert Trial(SHARE).power_at(600, 0.08) == pytest.approx(float(expected), abs=0.015)


@pytest.mark.parametrize("baseline", [MEAN, SHARE, COUNT])
def test_the_three_questions_agree(baseline: Baseline) -> None:
    trial = Trial(baseline)
    difference = trial.detectable(500)
    assert difference is not None
    assert trial.power_at(500, difference) == pytest.approx(0.8, abs=1e-6)
    needed = trial.units_needed(difference)
    assert needed is not None
    assert abs(needed - 500) <= 1


@pytest.mark.parametrize(
    ("changed", "factor"),
    [
        ({"clusters": Clusters(0.05, 21)}, 2.0),
        ({"clusters": Clusters(0.05, 21, 0.5)}, 1 + (1.25 * 21 - 1) * 0.05),
        ({"correlation": 0.6}, 0.64),
        ({"periods": Periods(4)}, 0.25),
        ({"periods": Periods(4, persistent=0.99999)}, 1.0),
        ({"periods": Periods(1, 1, persistent=0.5)}, 0.75),
        ({"periods": Periods(2, autocorrelation=0.5)}, 0.75),
        ({"switchback": Switchback(8, 1)}, 4 / 8),
        ({"switchback": Switchback(8, 2, 1, persistent=0.5)}, 0.5 * 4 / 8),
    ],
)
def test_the_variance_is_multiplied_by_the_design(changed: dict[str, object], factor: float) -> None:
    assert replace(Trial(MEAN), **changed).variance_factor == pytest.approx(factor, rel=1e-4)  # type: ignore[arg-type]


def test_several_arms_share_a_control_as_dunnett_has_it() -> None:
    published = {1: 1.960, 2: 2.212, 4: 2.442, 9: 2.686}
    for arms, critical in published.items():
        found = dunnett_alpha(0.05, arms, 0.5)
        assert math.erfc(critical / math.sqrt(2)) == pytest.approx(found, abs=2e-4)
    each = [replace(Trial(MEAN), arms=3, correction=one).alpha_each for one in Correction]
    assert each[0] == 0.05 > each[2] > each[1] == pytest.approx(0.05 / 3)


Draw = Callable[[np.random.Generator], float]


def single_units(rng: np.random.Generator) -> float:
    treated = np.arange(60) < 20
    return float(ttest_ind(rng.normal(size=60)[treated] + 0.8, rng.normal(size=60)[~treated]).pvalue)


def whole_clusters(rng: np.random.Generator) -> float:
    shared = rng.normal(scale=math.sqrt(0.2), size=(24, 1)) + rng.normal(scale=math.sqrt(0.8), size=(24, 10))
    means = shared.mean(axis=1)
    return float(ttest_ind(means[:12] + 0.65, means[12:]).pvalue)


def repeated(rng: np.random.Generator) -> float:
    over = 0.3 + 0.7 * 0.5 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))
    y = rng.multivariate_normal(np.zeros(6), over, size=80)
    before, after, t = y[:, :3].mean(axis=1), y[:, 3:].mean(axis=1), np.arange(80) < 40
    x = np.column_stack([np.ones(80), t, before])
    beta, left, *_ = np.linalg.lstsq(x, after + 0.45 * t, rcond=None)
    error = math.sqrt(left[0] / 77 * np.linalg.inv(x.T @ x)[1, 1])
    return math.erfc(abs(beta[1]) / error / math.sqrt(2))


def switched(rng: np.random.Generator) -> float:
    over = 0.5 + 0.5 * 0.4 ** np.abs(np.subtract.outer(np.arange(12), np.arange(12)))
    y = rng.multivariate_normal(np.zeros(12), over, size=20)
    blocks = y.reshape(20, 6, 2).mean(axis=2)
    treated = rng.permuted(np.tile([1.0, 1, 1, -1, -1, -1], (20, 1)), axis=1)
    each = ((blocks + 0.16 * (treated > 0)) * treated).sum(axis=1) / 3
    return math.erfc(abs(each.mean()) / (each.std(ddof=1) / math.sqrt(20)) / math.sqrt(2))


def counts(rng: np.random.Generator) -> float:
    def drawn(mean: float) -> np.ndarray:
        return rng.poisson(rng.gamma(2.0, mean / 2.0, size=200)).astype(float)

    return float(ttest_ind(drawn(3.75), drawn(3.0), equal_var=False).pvalue)


def several_arms(rng: np.random.Generator) -> float:
    arms = [rng.normal(size=50) for _ in range(3)]
    return float(dunnett(arms[0] + 0.6, *arms[1:2], control=arms[2], rng=rng).pvalue[0])


SIMULATED = [
    (single_units, Trial(Baseline(OutcomeKind.CONTINUOUS, 0, 1.0), share_treated=1 / 3), 60, 0.8),
    (whole_clusters, Trial(Baseline(OutcomeKind.CONTINUOUS, 0, 1.0), clusters=Clusters(0.2, 10)), 240, 0.65),
    (
        repeated,
        Trial(Baseline(OutcomeKind.CONTINUOUS, 0, 1.0), periods=Periods(3, 3, autocorrelation=0.5, persistent=0.3)),
        80,
        0.45,
    ),
    (
        switched,
        Trial(
            Baseline(OutcomeKind.CONTINUOUS, 0, 1.0),
            switchback=Switchback(6, 2, autocorrelation=0.4, persistent=0.5),
        ),
        20,
        0.16,
    ),
    (counts, Trial(COUNT), 400, 0.75),
    (several_arms, Trial(Baseline(OutcomeKind.CONTINUOUS, 0, 1.0), arms=2, share_treated=2 / 3), 150, 0.6),
]


@pytest.mark.parametrize(("draw", "trial", "units", "difference"), SIMULATED)
@pytest.mark.parametrize("draws", [pytest.param(60), pytest.param(2_000, marks=pytest.mark.slow)])
def test_simulated_experiments_find_the_difference_as_often_as_said(
    draw: Draw, trial: Trial, units: int, difference: float, draws: int
) -> None:
    rng = np.random.default_rng(20)
    found = np.mean([draw(rng) < 0.05 for _ in range(draws)])
    said = trial.power_at(units, difference)
    assert 0.2 < said < 0.97
    assert found == pytest.approx(said, abs=3.3 * math.sqrt(said * (1 - said) / draws) + 0.02)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Baseline(OutcomeKind.CONTINUOUS, 1.0), "standard deviation"),
        (lambda: Baseline(OutcomeKind.BINARY, 1.4), "between 0 and 1"),
        (lambda: Baseline(OutcomeKind.COUNT, 0.0), "above 0"),
        (lambda: Clusters(1.2, 10), "intraclass"),
        (lambda: Periods(0), "at least one period"),
        (lambda: Switchback(3, 2), "even number of blocks"),
        (lambda: Trial(MEAN, share_treated=1.0), "treated share"),
        (lambda: Trial(MEAN, power=0.01), "power above it"),
        (lambda: Trial(MEAN, arms=2, switchback=Switchback(2, 1)), "compares each unit with itself"),
        (lambda: Trial(SHARE).units_needed(0.9), "leaves the outcome possible"),
    ],
)
def test_impossible_figures_are_refused(make: Callable[[], object], said: str) -> None:
    with pytest.raises(StudyInvalid, match=said):
        make()


def test_too_few_units_for_any_test_find_nothing() -> None:
    clustered = Trial(MEAN, clusters=Clusters(0.1, 50))
    assert clustered.power_at(100, 100.0) == 0.0
    assert Trial(SHARE).detectable(4) is None
    assert Trial(MEAN).units_needed(1e-5) is None


@pytest.mark.parametrize("units", [4, 6, 20, 20_000, 200_000])
def test_power_grows_with_the_difference_up_to_one(units: int) -> None:
    power = np.array([Trial(MEAN).power_at(units, difference) for difference in np.linspace(0, 120, 300)])
    assert np.isfinite(power).all()
    assert (np.diff(power) > -1e-9).all()
    assert power[-1] == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("baseline", [MEAN, SHARE, COUNT])
def test_more_units_find_less(baseline: Baseline) -> None:
    found = [Trial(baseline).detectable(units) for units in range(30, 1_000, 37)]
    assert (np.diff([one for one in found if one is not None]) < 0).all()


@pytest.mark.parametrize(
    ("baseline", "difference"),
    [(SHARE, -0.3), (SHARE, 0.9), (COUNT, -3.0), (MEAN, math.nan), (MEAN, math.inf), (MEAN, 0.0)],
)
def test_a_difference_that_leaves_no_possible_outcome_is_refused(baseline: Baseline, difference: float) -> None:
    with pytest.raises(StudyInvalid, match="leaves the outcome possible"):
        Trial(baseline).units_needed(difference)


def test_a_decrease_needs_its_own_number_of_units() -> None:
    less, more = Trial(SHARE).units_needed(-0.1), Trial(SHARE).units_needed(0.1)
    assert less is not None
    assert more is not None
    assert less < more
