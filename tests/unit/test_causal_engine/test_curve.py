"""The specification curve: every estimator under every control definition, failures named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.estimators.curve import default_control_sets, naive_contrast, specification_curve
from src.causal_engine.estimators.registry import default_estimators, fit_estimator
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import Study, prepare_study


def confounded(n: int = 600, slope: float = 1.0, **changes: object) -> Study:
    rng = np.random.default_rng(0)
    strong, weak, none = rng.normal(size=(3, n))
    t = (rng.random(n) < 1 / (1 + np.exp(-slope * (strong + 0.3 * weak)))).astype(int)
    y = 1.0 * t + 2 * strong + 0.3 * weak + rng.normal(size=n)
    frame = pd.DataFrame({"t": t, "y": y, "strong": strong, "weak": weak, "none": none})
    roles = {"treatment": "t", "outcome": "y", "confounders": ("none", "weak", "strong"), **changes}
    return prepare_study(frame, CausalSpec(**roles))  # type: ignore[arg-type]


def test_leaving_out_the_strong_confounder_moves_the_answer_and_an_idle_column_does_not() -> None:
    estimates, failures = specification_curve(confounded(), Design.OBSERVATIONAL)
    by_label = {estimate.label: estimate for estimate in estimates if estimate.estimator == "aipw"}
    assert failures == ()
    assert by_label["all confounders"].ci.covers(1.0)
    assert by_label["without none"].value == pytest.approx(by_label["all confounders"].value, abs=0.05)
    assert by_label["without strong"].ci.lower > 1.5
    assert by_label["no confounders"].ci.lower > 1.5
    assert by_label["without strong"].adjusted_for == ("none", "weak")


def test_every_default_estimator_meets_every_control_set_and_progress_is_told() -> None:
    study = confounded()
    steps: list[tuple[int, int]] = []
    estimates, _ = specification_curve(study, Design.OBSERVATIONAL, on_progress=lambda *step: steps.append(step))
    names = default_estimators(study, Design.OBSERVATIONAL)
    labels = [label for label, _ in default_control_sets(study)]
    adjusted = {(name, label) for name in names for label in labels if label != "no confounders"}
    assert {(e.estimator, e.label) for e in estimates} == adjusted | {(names[0], "no confounders")}
    assert steps == [(done, len(labels)) for done in range(1, len(labels) + 1)]


def test_the_curve_holds_the_primary_answer_itself() -> None:
    study = confounded()
    estimates, _ = specification_curve(study, Design.OBSERVATIONAL, control_sets=[("mine", study.spec.confounders)])
    primary = fit_estimator("aipw", study).estimate
    (found,) = [estimate for estimate in estimates if estimate.estimator == "aipw"]
    assert (found.value, found.std_error) == (primary.value, primary.std_error)
    assert found.label == "mine"


def test_refusals_are_reported_under_their_own_name_and_nothing_answers_instead() -> None:
    estimates, failures = specification_curve(confounded(slope=9.0), Design.OBSERVATIONAL)
    refused = {(failure.estimator, failure.label) for failure in failures}
    answered = {(estimate.estimator, estimate.label) for estimate in estimates}
    assert ("aipw", "all confounders") in refused
    assert not refused & answered
    assert {failure.error for failure in failures} == {"OverlapViolated"}
    assert ("aipw", "no confounders") in answered


def test_the_strongest_confounders_are_left_out_first_and_at_most_ten() -> None:
    study = confounded()
    frame = study.frame.assign(**{f"x{i}": np.random.default_rng(i).normal(size=study.n) for i in range(12)})
    names = ("strong", "weak", *(f"x{i}" for i in range(12)))
    sets = default_control_sets(prepare_study(frame, CausalSpec("t", "y", names)))
    assert [label for label, _ in sets][:2] == ["all confounders", "without strong"]
    assert len(sets) == 12
    assert sets[-1] == ("no confounders", ())


def test_without_confounders_there_is_one_control_definition() -> None:
    assert default_control_sets(confounded(confounders=())) == [("all confounders", ())]


def test_the_naive_contrast_is_the_raw_gap_or_slope() -> None:
    study = confounded()
    gap = study.frame.groupby("t").y.mean().diff().iloc[1]
    naive = naive_contrast(study)
    assert (naive.estimator, naive.adjusted_for) == ("naive", ())
    assert naive.value == pytest.approx(gap)
    dose = prepare_study(study.frame.assign(t=study.frame.strong), CausalSpec("t", "y"))
    assert naive_contrast(dose).value == pytest.approx(np.polyfit(dose.t, dose.y, 1)[0])
