"""Do 95 % intervals contain the simulated truth as often as they should, on every identifiable process?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.results import EffectEstimate
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import Study, prepare_study
from src.errors import OverlapViolated
from src.synthetic.generation import SyntheticDataset, generate
from tests.effect_processes import draw_curved

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

DRAWS = 200
ROWS = 2_000
# Fixed states: fourteen tests in a 99 % band leave about one range of states in eight outside somewhere by chance.
FIRST_STATE = 5_000
# The 99 % binomial band of a true coverage of .95 over 200 draws.
LOWEST, HIGHEST = 0.905, 0.985
MAX_FALSE_CLAIMS = 0.07


@dataclass(frozen=True)
class Draws:
    """Estimates and truths of one process over all draws."""

    estimates: tuple[EffectEstimate, ...]
    truths: tuple[float, ...]

    @property
    def coverage(self) -> float:
        return float(np.mean([e.ci.covers(t) for e, t in zip(self.estimates, self.truths, strict=True)]))

    @property
    def errors(self) -> np.ndarray:
        return np.array([e.value for e in self.estimates]) - np.array(self.truths)


def study_of(data: SyntheticDataset, random_state: int, **changes: object) -> Study:
    spec = data.spec
    roles: dict[str, object] = {
        "treatment": spec.treatment,
        "outcome": spec.outcome,
        "confounders": spec.confounders,
        "effect_modifiers": spec.effect_modifiers,
        "instruments": spec.instruments,
        "unit_key": spec.unit_key,
        "time_key": spec.time_key,
        "cluster_key": spec.cluster_key,
        "lag": spec.lag,
        "randomized": spec.randomized,
        "random_state": random_state,
        **changes,
    }
    assert data.frame is not None
    return prepare_study(data.frame, CausalSpec(**roles))  # type: ignore[arg-type]


def draw(process: str, estimator: str, **changes: object) -> Draws:
    estimates, truths = [], []
    for state in range(FIRST_STATE, FIRST_STATE + DRAWS):
        data = generate(process, ROWS, state)
        estimates.append(fit_estimator(estimator, study_of(data, state, **changes)).estimate)
        truth = data.truth.att if Estimand(changes.get("estimand", Estimand.ATE)).on_treated else data.truth.ate
        assert truth is not None
        truths.append(truth)
    return Draws(tuple(estimates), tuple(truths))


@pytest.mark.parametrize(
    ("process", "estimator", "design"),
    [
        ("simple_linear", "difference_in_means", Design.RANDOMIZED),
        ("confounded", "aipw", Design.OBSERVATIONAL),
        ("heterogeneous", "aipw", Design.OBSERVATIONAL),
        ("selection_bias", "aipw", Design.OBSERVATIONAL),
        ("time_series", "distributed_lag", Design.PANEL),
        ("instrument_available", "iv_2sls", Design.INSTRUMENT),
    ],
)
def test_the_default_estimator_covers_the_truth(process: str, estimator: str, design: Design) -> None:
    study = study_of(generate(process, ROWS, 1), 1)
    assert default_estimators(study, design)[0] == estimator
    draws = draw(process, estimator)
    assert LOWEST <= draws.coverage <= HIGHEST
    claimed = np.mean([estimate.std_error for estimate in draws.estimates])
    assert claimed == pytest.approx(draws.errors.std(), rel=0.2)


@pytest.mark.parametrize("estimator", ["ols", "lin", "ipw", "linear_dml"])
def test_the_alternatives_cover_the_truth_of_linear_confounding(estimator: str) -> None:
    assert LOWEST <= draw("confounded", estimator).coverage <= HIGHEST


@pytest.mark.parametrize("estimator", ["aipw", "ipw", "lin"])
def test_the_effect_on_the_treated_is_covered(estimator: str) -> None:
    assert LOWEST <= draw("selection_bias", estimator, estimand=Estimand.ATT).coverage <= HIGHEST


@pytest.mark.parametrize(("process", "estimand"), [("confounded", Estimand.SATE), ("selection_bias", Estimand.SATT)])
def test_the_effect_on_the_units_in_the_data_is_covered(process: str, estimand: Estimand) -> None:
    assert LOWEST <= draw(process, "tmle", estimand=estimand).coverage <= HIGHEST


@pytest.mark.parametrize("estimand", [Estimand.ATE, Estimand.SATE, Estimand.SATT])
def test_the_default_covers_under_curved_confounding(estimand: Estimand) -> None:
    covered = []
    for state in range(FIRST_STATE, FIRST_STATE + DRAWS):
        sample = draw_curved(ROWS, state, estimand)
        estimator = default_estimators(sample.study, Design.OBSERVATIONAL)[0]
        counted = {Estimand.ATE: np.ones(1), Estimand.SATE: sample.truth}.get(
            estimand, sample.truth[sample.study.t == 1]
        )
        covered.append(fit_estimator(estimator, sample.study).estimate.ci.covers(float(counted.mean())))
    # What estimating the models adds is estimated on the safe side: over-coverage is no failure here.
    assert np.mean(covered) >= LOWEST


def test_the_overlap_weighted_effect_is_covered_where_positivity_fails() -> None:
    # The effect is .30 for every unit, so also under any weights.
    estimates = draw("positivity_violation", "aipw", estimand=Estimand.ATO).estimates
    assert LOWEST <= np.mean([estimate.ci.covers(0.30) for estimate in estimates]) <= HIGHEST


def test_no_effect_is_rarely_claimed_where_there_is_none() -> None:
    draws = draw("null_effect", "aipw")
    claims = np.mean([not estimate.ci.covers(0.0) for estimate in draws.estimates])
    assert claims <= MAX_FALSE_CLAIMS


def test_with_few_rows_a_column_no_effect_is_rarely_claimed_where_there_is_none() -> None:
    claims = []
    for state in range(FIRST_STATE, FIRST_STATE + DRAWS):
        rng = np.random.default_rng(state)
        x = rng.standard_normal((300, 50))
        need = x[:, :5].sum(axis=1)
        t = (rng.random(300) < 1 / (1 + np.exp(-0.4 * need))).astype(float)
        names = [f"x{j}" for j in range(50)]
        frame = pd.DataFrame(x, columns=names).assign(t=t, y=0.5 * need + rng.standard_normal(300))
        study = prepare_study(frame, CausalSpec("t", "y", tuple(names)))
        estimator = default_estimators(study, Design.OBSERVATIONAL)[0]
        claims.append(not fit_estimator(estimator, study).estimate.ci.covers(0.0))
    assert np.mean(claims) <= MAX_FALSE_CLAIMS


def test_a_model_without_the_lag_misses_the_effect() -> None:
    assert draw("time_series", "twfe", lag=0).coverage < 0.5


def test_regression_without_the_instrument_misses_the_effect() -> None:
    assert draw("instrument_available", "ols", instruments=()).coverage < 0.5


def test_a_violation_of_positivity_is_refused_in_every_draw_and_covered_after_trimming() -> None:
    estimates = []
    for state in range(FIRST_STATE, FIRST_STATE + DRAWS // 2):
        study = study_of(generate("positivity_violation", ROWS, state), state)
        with pytest.raises(OverlapViolated):
            fit_estimator("aipw", study)
        estimates.append(fit_estimator("aipw", study.with_spec(trim=True)).estimate)
    # The effect is .30 for every unit, so also for those kept.
    assert np.mean([estimate.ci.covers(0.30) for estimate in estimates]) >= 0.88
    assert {estimate.estimand for estimate in estimates} == {Estimand.ATE_TRIMMED}
