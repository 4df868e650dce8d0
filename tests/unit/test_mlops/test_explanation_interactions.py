"""The pair that acts together in the data is the pair that is found, and plots show what was explained."""

from __future__ import annotations

import hashlib
import sys

import numpy as np
import pytest

from src.domain.modelling import ProblemType
from src.mlops.explanation import interactions
from src.mlops.explanation.explainers import explain
from src.mlops.explanation.interactions import find_interactions
from src.mlops.explanation.library import shap_library
from src.mlops.explanation.plots import bar_plot, beeswarm_plot
from tests.unit.test_mlops.explanation_models import FEATURES, TREES, fitted, rows


@pytest.mark.parametrize("algorithm", [*TREES, "neighbours"])
@pytest.mark.parametrize("problem", [ProblemType.BINARY, ProblemType.REGRESSION])
def test_the_planted_pair_is_stronger_than_any_with_noise(algorithm: str, problem: ProblemType) -> None:
    found = find_interactions(fitted(algorithm, problem), rows(), FEATURES, important=FEATURES)
    strength = {frozenset((pair.a, pair.b)): pair.strength for pair in found}
    others = [value for pair, value in strength.items() if "noise" in pair]
    assert strength[frozenset(("mild", "partner"))] > max(others)
    assert {pair.method for pair in found} == {"shap_interaction" if algorithm in TREES else "h_statistic"}
    assert list(strength.values()) == sorted(strength.values(), reverse=True)


@pytest.mark.parametrize("algorithm", TREES)
def test_several_classes_are_judged_by_the_predicted_one(algorithm: str) -> None:
    found = find_interactions(fitted(algorithm, ProblemType.MULTICLASS), rows(), FEATURES, important=FEATURES)
    assert len(found) > 1
    assert all(pair.strength > 0 for pair in found)


@pytest.mark.parametrize("algorithm", TREES)
def test_a_model_too_large_for_interaction_values_is_judged_by_its_predictions(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interactions, "MOST_WORK", 10)
    found = find_interactions(fitted(algorithm), rows(), FEATURES, important=FEATURES)
    assert {pair.method for pair in found} == {"h_statistic"}


@pytest.mark.parametrize("algorithm", ["logistic_regression", "ridge", "lasso"])
def test_a_linear_model_has_no_interactions(algorithm: str) -> None:
    assert find_interactions(fitted(algorithm), rows(), FEATURES, important=FEATURES) == ()


def test_the_strength_of_a_pair_is_the_mean_of_both_orders() -> None:
    model = fitted("xgboost")
    explainer = shap_library().TreeExplainer(model.estimator, feature_perturbation="tree_path_dependent")
    values = explainer.shap_interaction_values(rows().iloc[: interactions.TREE_ROWS].to_numpy())
    found = {(pair.a, pair.b): pair.strength for pair in find_interactions(model, rows(), FEATURES, important=())}
    assert found["mild", "partner"] == pytest.approx(np.abs(values[:, 1, 2] + values[:, 2, 1]).mean(), rel=1e-5)


def test_columns_of_one_feature_do_not_interact_with_one_another() -> None:
    found = find_interactions(fitted("xgboost"), rows(), ("strong", "mild"), important=())
    assert {pair.a for pair in found} | {pair.b for pair in found} == set(FEATURES)
    assert all(pair.a != pair.b for pair in found)


@pytest.mark.parametrize("plot", [bar_plot, beeswarm_plot])
def test_a_plot_is_a_png_that_depends_on_the_values_and_on_nothing_else(plot) -> None:  # type: ignore[no-untyped-def]
    first = explain(fitted("xgboost"), rows().iloc[:60], rows().iloc[200:240])
    other = explain(fitted("lightgbm"), rows().iloc[:60], rows().iloc[200:240])
    again, pictures = plot(first), [plot(first), plot(other)]
    assert pictures[0].startswith(b"\x89PNG\r\n")
    assert again == pictures[0]
    assert hashlib.sha256(pictures[0]).digest() != hashlib.sha256(pictures[1]).digest()


def test_plotting_touches_no_window_and_no_global_figure() -> None:
    beeswarm_plot(explain(fitted("ridge"), rows().iloc[:60], rows().iloc[200:205]).grouped(("strong",)))
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
