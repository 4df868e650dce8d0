"""Cross-fitted nuisances: out of fold, well chosen, reproducible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from src.causal_engine.estimators import nuisance
from src.causal_engine.estimators.learners import candidate_learners, fit_predict, logistic_probabilities
from src.causal_engine.estimators.nuisance import assign_folds, cross_fit
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, TooFewRows


def study_of(n: int, seed: int = 0, *, shape: str = "linear", **changes: object) -> Study:
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 3))
    signal = x[:, 0] if shape == "linear" else 2 * np.sin(3 * x[:, 0])
    t = (rng.random(n) < 1 / (1 + np.exp(-signal))).astype(int)
    y = signal + t + rng.normal(0, 0.5, n)
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(t=t, y=y, territory=np.arange(n) // 10)
    return prepare_study(
        frame, CausalSpec(**{"treatment": "t", "outcome": "y", "confounders": ("a", "b", "c"), **changes})
    )  # type: ignore[arg-type]


@pytest.mark.parametrize(("shape", "family"), [("linear", "linear"), ("wavy", "lightgbm")])
def test_the_learner_that_fits_the_data_is_chosen(shape: str, family: str) -> None:
    chosen = dict(cross_fit(study_of(2000, shape=shape)).learners)
    assert all(name.startswith(family) for name in chosen.values()), chosen


def test_few_rows_leave_only_linear_learners_and_no_columns_only_a_constant() -> None:
    assert candidate_learners(399, 3, "auto") == ("linear",)
    assert candidate_learners(100, 30, "auto") == ("linear", "ridge")
    assert candidate_learners(5000, 0, "auto") == ("constant",)
    assert any(name.startswith("lightgbm") for name in candidate_learners(400, 3, "auto"))


def test_an_unknown_learner_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(EstimationError, match="lightgbm_40"):
        cross_fit(study_of(200), "lightgbm_4")


def test_fixing_the_learners_reproduces_the_automatic_fit() -> None:
    study = study_of(800, shape="wavy")
    free = cross_fit(study)
    fixed = cross_fit(study, learners=dict(free.learners))
    assert fixed.learners == free.learners
    assert np.array_equal(fixed.propensity, free.propensity) or np.allclose(
        fixed.propensity, free.propensity, atol=1e-12
    )


def test_predictions_never_see_their_own_row() -> None:
    """Pure noise cannot be predicted out of fold; in sample, trees would."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(800, 3)), columns=["a", "b", "c"])
    frame["t"], frame["y"] = rng.normal(size=800), rng.normal(size=800)
    study = prepare_study(frame, CausalSpec("t", "y", ("a", "b", "c")))
    fitted = cross_fit(study, "lightgbm_150")
    assert fitted.outcome is not None
    assert np.corrcoef(fitted.outcome, study.y)[0, 1] < 0.1
    inside = fit_predict(["lightgbm_150"], study.x, study.y, study.x, probability=False, seed=1)["lightgbm_150"]
    assert np.corrcoef(inside, study.y)[0, 1] > 0.5


def test_the_order_of_rows_does_not_change_a_prediction() -> None:
    study = study_of(700, shape="wavy")
    order = np.random.default_rng(3).permutation(study.n)
    shuffled = study.with_frame(study.frame.iloc[order].reset_index(drop=True))
    straight, other = cross_fit(study), cross_fit(shuffled)
    assert np.array_equal(straight.propensity[order], other.propensity)
    assert np.array_equal(straight.outcome_treated[order], other.outcome_treated)  # type: ignore[index]


def test_another_random_state_gives_other_folds() -> None:
    study = study_of(300)
    other = study.with_spec(random_state=study.spec.random_state + 1)
    assert not np.array_equal(cross_fit(study).propensity, cross_fit(other).propensity)


def test_clusters_are_never_split_across_folds() -> None:
    clusters = np.repeat(np.arange(40), 5)
    t = np.tile([0.0, 1.0], 100)
    folds = assign_folds(t, clusters, np.random.default_rng(0), stratify=True)
    assert all(len(np.unique(folds[clusters == c])) == 1 for c in range(40))
    assert len(np.unique(folds)) == 5


def test_arms_are_spread_evenly_over_folds() -> None:
    t = (np.arange(500) < 50).astype(float)
    folds = assign_folds(t, None, np.random.default_rng(0), stratify=True)
    assert [int(t[folds == fold].sum()) for fold in range(5)] == [10] * 5


def test_a_treatment_given_to_one_cluster_cannot_be_cross_fitted() -> None:
    study = study_of(400, cluster_key="territory")
    frame = study.frame.assign(t=(study.frame.territory < 4).astype(float))
    frame["territory"] = np.where(frame.t == 1, 0, frame.territory)
    with pytest.raises(TooFewRows, match="too few clusters"):
        cross_fit(study.with_frame(frame))


def test_logistic_regression_equals_statsmodels() -> None:
    study = study_of(600)
    oracle = sm.Logit(study.t, sm.add_constant(study.x)).fit(disp=0, tol=1e-12)
    assert logistic_probabilities(study.x, study.t, penalty=0.0) == pytest.approx(oracle.predict(), rel=1e-7)


def test_separated_arms_get_extreme_but_finite_probabilities() -> None:
    x = np.linspace(-1, 1, 200)[:, None]
    probabilities = logistic_probabilities(x, (x[:, 0] > 0).astype(float))
    assert np.isfinite(probabilities).all()
    assert probabilities[0] < 0.01
    assert probabilities[-1] > 0.99


def test_trees_follow_an_outcome_with_a_large_mean() -> None:
    study = study_of(1000, shape="wavy")
    small, large = (
        fit_predict(["lightgbm_40"], study.x, study.y + shift, study.x, probability=False, seed=1)["lightgbm_40"]
        - shift
        for shift in (0.0, 1e8)
    )
    assert small == pytest.approx(large, abs=1e-4)


def test_a_model_learns_from_a_bounded_number_of_rows_and_predicts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    fit = nuisance.fit_predict

    def counted(names, x, *arguments, **options):
        seen.append(len(x))
        return fit(names, x, *arguments, **options)

    monkeypatch.setattr(nuisance, "fit_predict", counted)
    monkeypatch.setattr(nuisance, "MAX_TRAINING", 100)
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_normal(600)})
    frame = frame.assign(t=(rng.random(600) < 0.5).astype(float), y=frame["x"] + rng.standard_normal(600))
    found = cross_fit(prepare_study(frame, CausalSpec("t", "y", ("x",))), "linear")
    assert set(seen) == {100}
    assert np.isfinite(found.outcome_control).all()


def test_a_learner_that_is_clearly_worse_drops_out_and_one_that_is_not_stays_in() -> None:
    rng = np.random.default_rng(0)
    least = rng.random(500)
    losses = {"simple": least + 0.001 * rng.standard_normal(500), "bad": least + rng.random(500), "best": least - 1e-4}
    assert nuisance._competing(losses) == ("simple", "best")
