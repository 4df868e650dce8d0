"""The decision tree: every branch, what it rejects and why, and who answers after a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from src.causal_engine.choice.choose import choose, estimators_for
from src.causal_engine.choice.facts import Adoption, Facts, facts_of
from src.causal_engine.choice.tree import options_for
from src.causal_engine.choice.validate import answer_by, cautions, selection_doubts
from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.registry import ESTIMATORS
from src.causal_engine.identification import identify, make_graph
from src.causal_engine.results import Conclusion, DesignChoice, EffectEstimate, Interval
from src.causal_engine.spec import CausalSpec, Design, Estimand, OutcomeKind
from src.causal_engine.study import Study, prepare_study
from src.errors import EstimationError, OverlapViolated, WeakInstrument

FACTS = Facts(Design.OBSERVATIONAL, Estimand.ATE, True, OutcomeKind.CONTINUOUS, False, 1000, 5, 400, None)


def simulate(n: int = 400, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, n))
    t = (0.5 * x + z + rng.normal(size=n) > 0).astype(float)
    return pd.DataFrame({"t": t, "y": t + x + rng.normal(size=n), "x": x, "z": z})


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    spec = {"treatment": "t", "outcome": "y", "confounders": ("x",), **changes}
    return prepare_study(frame, CausalSpec(**spec))  # type: ignore[arg-type]


def first(facts: Facts) -> str:
    options = options_for(facts)
    fit = [one for one in options if one.unfit(facts) is None]
    return next(one.name for one in fit if one.behind(facts) is None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "aipw"),
        ({"columns": 200}, "ols"),
        ({"estimand": Estimand.ATT, "columns": 200}, "aipw"),
        ({"estimand": Estimand.SATE}, "tmle"),
        ({"estimand": Estimand.ATO}, "aipw"),
        ({"binary": False, "smaller_arm": None}, "linear_dml"),
        ({"design": Design.RANDOMIZED}, "difference_in_means"),
        ({"design": Design.RANDOMIZED, "smaller_arm": 12}, "exact"),
        ({"design": Design.RANDOMIZED, "binary": False, "smaller_arm": None}, "ols"),
        ({"design": Design.INSTRUMENT, "first_stage_f": 10.1}, "iv_2sls"),
        ({"design": Design.INSTRUMENT, "first_stage_f": 9.9}, "anderson_rubin"),
        ({"design": Design.DISCONTINUITY, "sharp": True}, "rdd"),
        ({"design": Design.DISCONTINUITY, "sharp": False}, "fuzzy_rdd"),
        ({"design": Design.FRONT_DOOR}, "front_door"),
        ({"design": Design.PANEL, "lag": 2, "adoption": Adoption.REPEATED, "periods": 24}, "distributed_lag"),
        ({"design": Design.PANEL, "adoption": Adoption.REPEATED, "periods": 24}, "twfe"),
        ({"design": Design.PANEL, "adoption": Adoption.COMMON, "adopters": 100, "periods": 12}, "did"),
        ({"design": Design.PANEL, "adoption": Adoption.STAGGERED, "adopters": 100, "periods": 12}, "imputation"),
        ({"design": Design.PANEL, "adoption": Adoption.STAGGERED, "adopters": 12, "periods": 12}, "synthetic_did"),
    ],
)
def test_the_facts_lead_to_the_estimator(changes: dict[str, object], expected: str) -> None:
    facts = replace(FACTS, **changes)  # type: ignore[arg-type]
    assert first(facts) == expected
    assert {one.name for one in options_for(facts)} <= set(ESTIMATORS)


def test_staggered_adoption_never_shows_plain_two_way_fixed_effects() -> None:
    facts = replace(FACTS, design=Design.PANEL, adoption=Adoption.STAGGERED, adopters=100, periods=12)
    objections = {one.name: one.unfit(facts) for one in options_for(facts)}
    assert objections["twfe"] is not None
    assert objections["did"] is not None


def test_a_choice_gives_its_reasons_and_a_reason_for_every_option_not_taken() -> None:
    frame = simulate()
    spec = CausalSpec("t", "y", ("x",), instruments=("z",))
    identification = identify(spec, list(frame.columns), None)
    choice = choose(study_of(frame, instruments=("z",)), identification)
    assert (choice.design, choice.estimators) == (Design.INSTRUMENT, ("iv_2sls", "ols"))
    rejected = {one.name: one.reason for one in choice.rejected}
    assert set(rejected) == {
        *("randomized", "discontinuity", "panel", "front door", "observational"),
        *("anderson_rubin", "ols"),
    }
    assert all(rejected.values())
    assert (
        dict(choice.facts)["first-stage F (effective)"]
        == f"{facts_of(study_of(frame, instruments=('z',)), Design.INSTRUMENT).first_stage_f:.1f}"
    )


def test_an_estimator_asked_for_by_name_comes_first_and_is_said_to_be_asked_for() -> None:
    frame = simulate()
    spec = CausalSpec("t", "y", ("x",), estimator="ipw")
    choice = choose(study_of(frame, estimator="ipw"), identify(spec, list(frame.columns), None))
    assert choice.estimators[0] == "ipw"
    assert any("asked for by name" in reason for reason in choice.reasons)


@pytest.mark.parametrize("design", [Design.OBSERVATIONAL, Design.INSTRUMENT])
def test_units_change_no_choice(design: Design) -> None:
    frame = simulate()
    scaled = frame.assign(y=1000 * frame.y, x=0.001 * frame.x, z=50 * frame.z)
    studies = [study_of(one, instruments=("z",) if design is Design.INSTRUMENT else ()) for one in (frame, scaled)]
    assert estimators_for(studies[0], design) == estimators_for(studies[1], design)
    assert facts_of(studies[0], design).in_words() == facts_of(studies[1], design).in_words()


def _fitted(name: str) -> FittedEffect:
    return FittedEffect(
        EffectEstimate(name, Estimand.LATE, 1.0, 0.1, "known", Interval(0.8, 1.2), 0.0, 400, 200, 0, ("x",))
    )


def _refusing(*refusals: EstimationError) -> tuple[Callable[[str, Study], FittedEffect], list[str]]:
    """A fit that raises each refusal in turn and then answers; and the names it was asked for."""
    asked: list[str] = []

    def fit(name: str, _: Study) -> FittedEffect:
        asked.append(name)
        if len(asked) <= len(refusals):
            raise refusals[len(asked) - 1]
        return _fitted(name)

    return fit, asked


INSTRUMENTED = DesignChoice(Design.INSTRUMENT, ("iv_2sls", "ols"), (), (), ())


def test_after_a_weak_instrument_the_next_option_answers_and_the_refusal_is_listed() -> None:
    fit, asked = _refusing(WeakInstrument("F 3"))
    attempt = answer_by(INSTRUMENTED, study_of(simulate(), instruments=("z",)), fit)
    assert asked == ["iv_2sls", "anderson_rubin"]
    assert attempt.fitted is not None
    assert [(one.estimator, one.error) for one in attempt.tried] == [("iv_2sls", "WeakInstrument")]
    assert attempt.refusal is None


def test_each_option_is_tried_once_and_then_the_search_ends() -> None:
    fit, asked = _refusing(*[WeakInstrument("F 3")] * 9)
    attempt = answer_by(INSTRUMENTED, study_of(simulate(), instruments=("z",)), fit)
    assert asked == ["iv_2sls", "anderson_rubin"]
    assert attempt.fitted is None
    assert attempt.refusal is not None
    assert attempt.refusal.estimator == "anderson_rubin"


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"instruments": ("z",), "estimator": "iv_2sls"}, WeakInstrument("F 3")),
        ({"instruments": ("z",)}, EstimationError("singular")),
    ],
    ids=["asked for by name", "another kind of refusal"],
)
def test_nothing_answers_in_the_place_of_what_was_asked_or_after_another_refusal(
    changes: dict[str, object], refusal: EstimationError
) -> None:
    fit, asked = _refusing(refusal)
    attempt = answer_by(INSTRUMENTED, study_of(simulate(), **changes), fit)
    assert asked == ["iv_2sls"]
    assert attempt.fitted is None
    assert attempt.refusal is not None


def test_no_overlap_is_never_moved_on_from() -> None:
    fit, asked = _refusing(OverlapViolated("40 %"))
    choice = DesignChoice(Design.OBSERVATIONAL, ("aipw", "ols"), (), (), ())
    assert answer_by(choice, study_of(simulate()), fit).fitted is None
    assert asked == ["aipw"]


def test_few_clusters_are_cautioned_against_and_many_are_not() -> None:
    rng = np.random.default_rng(0)
    frame = simulate().assign(few=rng.integers(0, 8, 400), many=rng.integers(0, 40, 400))
    said = {key: cautions(study_of(frame, cluster_key=key), Design.OBSERVATIONAL) for key in ("few", "many")}
    assert said["few"] == (
        "Only 8 clusters: the interval, though widened for so few, is approximate; "
        "collect more clusters before acting on a close call.",
    )
    assert said["many"] == ()


def test_durations_that_were_watched_only_so_long_are_recognised() -> None:
    days = np.random.default_rng(0).exponential(100, 400)
    censored, complete = (simulate().assign(y=y) for y in (np.minimum(days, 120), days))
    assert facts_of(study_of(censored), Design.OBSERVATIONAL).survival_like
    assert any("up to that limit" in line for line in cautions(study_of(censored), Design.OBSERVATIONAL))
    assert not facts_of(study_of(complete), Design.OBSERVATIONAL).survival_like


@pytest.mark.parametrize(("column", "doubted"), [("y", True), ("visit", True), ("x", False)])
def test_rows_chosen_by_what_comes_after_the_treatment_are_doubted(column: str, doubted: bool) -> None:
    graph = make_graph([("x", "t"), ("x", "y"), ("t", "y"), ("t", "visit"), ("y", "visit")])
    frame = simulate().assign(visit=1.0)
    identification = identify(CausalSpec("t", "y", ("x",)), list(frame.columns), graph)
    assert bool(selection_doubts((column,), "y", identification)) == doubted


def _said(frame: pd.DataFrame, spec: CausalSpec) -> Conclusion:
    identification = identify(spec, list(frame.columns), None)
    outcome, _ = estimate_effect(frame, spec, identification, specifications=False)
    return conclude(Evidence(spec, identification, outcome))


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (CausalSpec("t", "y", ("x",), running_variable="w", cutoff=0.0, estimator="ols"), "ols does not use the disc"),
        (CausalSpec("t", "y", ("x",), unit_key="unit", time_key="time", estimator="ols"), "ols does not use the fixed"),
        (CausalSpec("t", "y", ("x",), estimator="difference_in_means"), "difference_in_means adjusts for nothing"),
    ],
    ids=["cutoff", "panel", "confounders"],
)
def test_an_estimator_asked_for_that_does_not_use_the_design_is_no_causal_claim(spec: CausalSpec, reason: str) -> None:
    frame = simulate().assign(w=lambda d: d.z + d.x, unit=np.arange(400) // 4, time=np.arange(400) % 4)
    asked = _said(frame, spec)
    own = _said(frame, replace(spec, estimator=None))
    assert any(one.startswith(reason) for one in asked.reasons)
    assert not any("does not use" in one or "adjusts for nothing" in one for one in own.reasons)


def test_who_is_averaged_over_is_told_when_it_is_not_who_was_asked_about() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"t": np.repeat([0.0, 1.0], 12), "y": rng.normal(size=24)})
    spec = CausalSpec("t", "y", randomized=True)
    asked = _said(frame, replace(spec, estimand=Estimand.ATT))
    assert any(one.startswith("The ATT was asked for; exact answers another question (SATE)") for one in asked.warnings)
    assert not any("was asked for" in one for one in _said(frame, spec).warnings)
