"""Are differences between effects claimed when they are there, denied when not, and turned into the right decisions?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

from src.causal_engine.energy_score import effect_functions
from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.effect_functions import EFFECT_FUNCTIONS
from src.causal_engine.estimation import estimate_effect
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.heterogeneity import analysis
from src.causal_engine.heterogeneity.analysis import claim, heterogeneity_report
from src.causal_engine.heterogeneity.calibration import (
    calibration_test,
    effect_groups,
    group_ranks,
    places_within_folds,
)
from src.causal_engine.heterogeneity.policy import Prices, decisions, policy_values
from src.causal_engine.heterogeneity.report import (
    Bounded,
    CalibrationTest,
    HeterogeneityReport,
    SegmentTest,
)
from src.causal_engine.heterogeneity.scores import EffectScores, effect_scores
from src.causal_engine.heterogeneity.segments import Segment, segment_findings, segments_of
from src.causal_engine.heterogeneity.simultaneous import Simultaneous
from src.causal_engine.heterogeneity.summary import selection_of, summarised
from src.causal_engine.heterogeneity.uplift import uplift_curve
from src.causal_engine.heterogeneity.wording import advantage, claim_sentence, heterogeneity_findings
from src.causal_engine.identification import identify
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.study import FloatArray, Study, prepare_study

EFFECTS = {"a": 2.2, "b": 0.6, "c": -1.2}
CONFOUNDERS = ("x0", "x1", "x2")


def drawn(n: int, state: int, *, spread: float = 1.0, continuous: bool = False) -> pd.DataFrame:
    """Confounded rows; the effect is that of the group times ``spread``, around .6."""
    rng = np.random.default_rng(state)
    x = rng.normal(size=(n, 3))
    e = np.clip(1 / (1 + np.exp(-0.8 * x[:, 0])), 0.15, 0.85)
    t = e + rng.normal(size=n) * (0.6 + 0.4 * (x[:, 1] > 0)) if continuous else (rng.random(n) < e) * 1.0
    group = np.array(list(EFFECTS))[np.digitize(x[:, 2], [-0.43, 0.43])]
    effect = 0.6 + spread * (np.array([EFFECTS[name] for name in group]) - 0.6)
    y = x[:, 0] + t * effect + rng.normal(size=n)
    return pd.DataFrame(x, columns=list(CONFOUNDERS)).assign(group=group, t=t, y=y)


def question(**changes: object) -> CausalSpec:
    return replace(CausalSpec("t", "y", CONFOUNDERS, effect_modifiers=("group",), heterogeneity=True), **changes)  # type: ignore[arg-type]


def study_of(frame: pd.DataFrame, **changes: object) -> Study:
    return prepare_study(frame, question(**changes))


def known(study: Study, propensity: float, control: FloatArray, effect: FloatArray, t: FloatArray) -> EffectData:
    """Effect data on nuisances that are the truth."""
    e = np.full(study.n, propensity)
    nuisances = Nuisances(e, control + e * effect, control, control + effect, ())
    return EffectData(study.x, t, study.y, nuisances, np.arange(study.n) % 5, 1)


@pytest.fixture(scope="module")
def report() -> HeterogeneityReport:
    """Strong differences, prices at which group c should not be treated."""
    return heterogeneity_report(
        study_of(drawn(390, 3), cost_per_unit=10.0, value_per_outcome=50.0), Design.OBSERVATIONAL
    )


@pytest.fixture(scope="module")
def flat() -> HeterogeneityReport:
    return heterogeneity_report(study_of(drawn(390, 4, spread=0.0)), Design.OBSERVATIONAL)


def test_strong_differences_are_found_by_both_tests(report: HeterogeneityReport) -> None:
    assert report.found
    assert report.selected == "ensemble"
    assert report.calibration is not None
    assert report.segment_test is not None
    assert report.calibration.p_value < 0.001
    assert report.segment_test.p_value < 0.001
    assert 0.4 < report.calibration.slope.value < 1.6
    assert report.top_minus_bottom is not None
    assert report.top_minus_bottom.lower > 0


def test_equal_effects_are_not_sold_as_different(flat: HeterogeneityReport) -> None:
    assert not flat.found
    assert flat.selected == "constant"
    assert "No difference" in claim_sentence(flat)
    assert not any("differ between units" in line for line in heterogeneity_findings(flat))


def test_simultaneous_limits_cover_the_groups_true_effects(report: HeterogeneityReport) -> None:
    assert {one.segment for one in report.segments} == set(EFFECTS)
    for one in report.segments:
        assert one.effect.lower <= EFFECTS[one.segment] <= one.effect.upper


def test_those_whom_treatment_harms_are_called_less_and_those_it_pays_for_more(report: HeterogeneityReport) -> None:
    actions = {one.segment: one.action for one in report.decisions}
    assert (actions["a"], actions["c"]) == ("more", "less")
    for one in report.decisions:
        assert one.net is not None
        assert one.extra_cost == pytest.approx(10.0 * one.extra_treatment)
        assert one.net.value == pytest.approx(50.0 * one.extra_outcome.value - (one.extra_cost or 0.0))


def test_the_rule_by_effects_is_worth_more_than_everybody_or_nobody(report: HeterogeneityReport) -> None:
    rule, everybody, nobody, today = report.policies
    for other in (everybody, nobody, today):
        assert other.rule_minus is not None
        assert other.rule_minus.lower > 0
    assert rule.rule_minus is None
    assert (everybody.share_treated, nobody.share_treated) == (1.0, 0.0)
    assert today.outcome == Bounded(0.0, 0.0, 0.0)


def test_without_prices_no_money_is_told(flat: HeterogeneityReport) -> None:
    assert flat.cost_per_unit is None
    assert all(one.net is None for one in flat.policies)
    assert all(one.net is None and one.extra_cost is None for one in flat.decisions)
    assert all(one.break_even.lower < one.break_even.upper for one in flat.decisions)


def test_a_report_survives_storage_bit_for_bit_and_asking_again(report: HeterogeneityReport) -> None:
    assert from_json(HeterogeneityReport, to_json(report)) == report
    again = heterogeneity_report(
        study_of(drawn(390, 3), cost_per_unit=10.0, value_per_outcome=50.0), Design.OBSERVATIONAL
    )
    assert again == report


def test_per_unit_effects_of_a_continuous_treatment_are_told_apart() -> None:
    frame = drawn(390, 5, continuous=True)
    found = heterogeneity_report(study_of(frame, cost_per_unit=1.0, value_per_outcome=2.0), Design.OBSERVATIONAL)
    assert found.found
    assert found.continuous_treatment
    for one in found.segments:
        assert one.effect.lower <= EFFECTS[one.segment] <= one.effect.upper
    assert {one.segment: one.action for one in found.decisions}["c"] == "less"
    assert "one unit more for everybody" in {one.name for one in found.policies}
    assert "treat nobody" not in {one.name for one in found.policies}


@pytest.mark.parametrize("design", [Design.INSTRUMENT, Design.PANEL, Design.FRONT_DOOR, Design.DISCONTINUITY])
def test_other_designs_are_refused_by_name(design: Design) -> None:
    found = heterogeneity_report(study_of(drawn(120, 6)), design)
    assert found.refusal is not None
    assert design.value in found.refusal
    assert not found.found
    assert heterogeneity_findings(found)[0].startswith("Effects of single units were not estimated")


def test_without_overlap_there_is_a_refusal_and_no_number() -> None:
    frame = drawn(400, 7)
    frame["t"] = ((frame["x0"] > 0.0) ^ (np.arange(400) % 40 == 0)).astype(float)
    found = heterogeneity_report(study_of(frame), Design.OBSERVATIONAL)
    assert "treatment probability" in str(found.refusal)
    assert found.segments == ()


def test_estimation_carries_the_report_only_where_it_was_asked_for() -> None:
    frame = drawn(200, 8)
    for asked in (True, False):
        spec = question(heterogeneity=asked)
        identification = identify(spec, list(frame.columns), None)
        outcome, _ = estimate_effect(frame, spec, identification, specifications=False)
        assert (outcome.heterogeneity is not None) == asked


def test_scores_average_to_the_effect_with_either_nuisance_wrong() -> None:
    rng = np.random.default_rng(9)
    n = 20_000
    frame = pd.DataFrame({"x0": rng.normal(size=n)})
    t = (rng.random(n) < 0.5) * 1.0
    effect = 1.0 + frame["x0"].to_numpy()
    frame = frame.assign(t=t, y=frame["x0"] + t * effect + rng.normal(size=n))
    study = prepare_study(frame, CausalSpec("t", "y", ("x0",)))
    wrong_outcome = known(study, 0.5, np.zeros(n), np.zeros(n), t)
    wrong_propensity = known(study, 0.3, frame["x0"].to_numpy(), effect, t)
    for data in (wrong_outcome, wrong_propensity):
        scores = effect_scores(data, effect, None)
        assert scores.effect.mean() == pytest.approx(1.0, abs=0.06)
        top = effect > 1.0
        assert scores.effect[top].mean() == pytest.approx(effect[top].mean(), abs=0.09)


@pytest.mark.parametrize(("power", "low", "high"), [(1.0, 0.8, 1.2), (0.5, 1.5, 2.5), (-1.0, -1.2, -0.8)])
def test_the_calibration_slope_undoes_the_scale_of_the_predictions(power: float, low: float, high: float) -> None:
    rng = np.random.default_rng(10)
    n = 4_000
    x = rng.normal(size=n)
    t, effect = (rng.random(n) < 0.5) * 1.0, 0.5 + x
    frame = pd.DataFrame({"x0": x, "t": t, "y": t * effect + rng.normal(size=n)})
    data = known(prepare_study(frame, CausalSpec("t", "y", ("x0",))), 0.5, np.zeros(n), effect, t)
    found = calibration_test(data, power * effect, None)
    assert low < found.slope.value < high
    assert (found.p_value < 0.001) == (power > 0)


def test_predictions_that_are_the_same_for_everyone_leave_nothing_to_test() -> None:
    study = study_of(drawn(100, 11))
    data = known(study, 0.5, np.zeros(study.n), np.zeros(study.n), study.t)
    assert calibration_test(data, np.full(study.n, 0.3), None) is None
    assert calibration_test(data, np.arange(5.0)[data.folds], None) is None
    assert claim(None, None, named=False).p_value == 1.0


def test_a_mixture_that_tells_nobody_apart_is_an_answer_and_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "_mixture", lambda chosen: np.full_like(chosen.candidate("constant").effect, 0.5))
    found = heterogeneity_report(study_of(drawn(250, 27, spread=0.0)), Design.OBSERVATIONAL)
    assert found.refusal is None
    assert not found.found
    assert len(found.segments) == len(found.decisions) == 3
    assert (found.calibration, found.uplift, found.groups) == (None, None, ())
    assert "no difference was predicted" in claim_sentence(found)


def test_groups_are_ranked_within_folds() -> None:
    folds = np.arange(600) % 5
    rng = np.random.default_rng(12)
    ranks = group_ranks(places_within_folds(rng.normal(size=600) + 100.0 * folds, folds, rng.random(600)))
    assert [int((ranks == k).sum()) for k in range(5)] == [120] * 5
    for fold in range(5):
        inside = ranks[folds == fold]
        assert [int((inside == k).sum()) for k in range(5)] == [24] * 5


def ranking(predicted: FloatArray, folds: int = 1) -> tuple[FloatArray, FloatArray]:
    lot = np.random.default_rng(99).random(len(predicted))
    return places_within_folds(predicted, np.arange(len(predicted)) % folds, lot), lot


def plain_scores(effect: FloatArray, clusters: np.ndarray | None = None) -> EffectScores:
    zeros = np.zeros_like(effect)
    return EffectScores(effect, zeros, effect, zeros, zeros, clusters)


def test_group_effects_are_the_means_of_the_scores() -> None:
    effect = np.random.default_rng(13).normal(size=500)
    groups, between = effect_groups(plain_scores(effect), effect, ranking(effect, 5)[0], np.random.default_rng(1))
    assert np.mean([one.effect.value for one in groups]) == pytest.approx(effect.mean())
    assert between.value == pytest.approx(groups[-1].effect.value - groups[0].effect.value)


def test_all_intervals_hold_together_in_95_of_100_samples() -> None:
    rng = np.random.default_rng(14)
    held, wide = 0, 0
    for _ in range(100):
        sample = rng.normal(size=(150, 8))
        found = Simultaneous(sample - sample.mean(axis=0), None, rng).bounded(sample.mean(axis=0))
        held += all(one.lower <= 0 <= one.upper for one in found)
        wide += found[0].upper - found[0].lower > 2 * 2.3 / np.sqrt(150)
    assert 0.90 <= held / 100 <= 0.99
    assert wide > 60


def test_one_estimate_needs_no_wider_interval_than_usual() -> None:
    sample = np.random.default_rng(15).normal(size=(4_000, 1))
    assert Simultaneous(sample, None, np.random.default_rng(1)).critical == pytest.approx(1.96, abs=0.05)


def test_rows_that_repeat_in_clusters_widen_the_limits() -> None:
    sample = np.repeat(np.random.default_rng(16).normal(size=(100, 2)), 9, axis=0)
    clusters = np.repeat(np.arange(100), 9)
    single, whole = (Simultaneous(sample, c, np.random.default_rng(1)).std_errors for c in (None, clusters))
    assert whole == pytest.approx(3 * single, rel=0.02)


def test_the_p_value_of_the_largest_difference_counts_all_that_were_looked_at() -> None:
    rng = np.random.default_rng(17)
    sample = rng.normal(size=(1_000, 20))
    many = Simultaneous(sample, None, rng)
    one = Simultaneous(sample[:, :1], None, rng)
    value = 2.2 * float(one.std_errors[0])
    assert one.p_value([value]) < 0.05 < many.p_value([value, *np.zeros(19)])


@pytest.mark.parametrize(("named", "expected"), [(True, 0.08), (False, 0.04)])
def test_two_tests_share_one_error_rate_where_modifiers_were_named(named: bool, expected: float) -> None:
    calibration = CalibrationTest(Bounded(1.0, 0.1, 1.9), 0.04)
    assert claim(calibration, SegmentTest(0.5, 3), named=named).p_value == pytest.approx(expected)


def test_small_segments_are_hidden_and_so_is_what_would_give_them_away() -> None:
    frame = drawn(300, 18)
    frame["group"] = np.where(np.arange(300) < 8, "tiny", np.where(np.arange(300) < 140, "some", "most"))
    shown, hidden = segments_of(study_of(frame), ("group",), None)
    assert [one.name for one in shown] == ["most"]
    assert {one.segment: one.reason for one in hidden} == {
        "tiny": "n < 11, suppressed",
        "some": "suppressed, would reveal a small group",
    }


def test_a_number_is_split_into_quarters_and_a_constant_into_nothing() -> None:
    frame = drawn(400, 19).assign(same=1.0)
    study = study_of(frame, effect_modifiers=("x1", "same"))
    shown, _ = segments_of(study, ("x1", "same"), None)
    assert {one.column for one in shown} == {"x1"}
    assert [one.n for one in shown] == [100, 100, 100, 100]
    means = [float(study.frame["x1"].to_numpy()[one.rows].mean()) for one in shown]
    assert means == sorted(means)


def test_segment_differences_are_from_everybody_else() -> None:
    effect = np.concatenate([np.full(100, 3.0), np.full(300, 1.0)]) + np.random.default_rng(20).normal(0, 0.1, 400)
    rows = np.arange(400) < 100
    segments = [Segment("g", "in", rows), Segment("g", "out", ~rows)]
    found, test = segment_findings(segments, plain_scores(effect), np.random.default_rng(1))
    assert [one.difference.value for one in found] == pytest.approx([2.0, -2.0], abs=0.05)
    assert test is not None
    assert test.p_value < 0.001
    assert segment_findings(segments[:1], plain_scores(effect), np.random.default_rng(1)) == ((), None)


def test_the_curve_ends_at_the_average_and_rises_over_a_lot_when_the_order_is_right() -> None:
    effect = np.random.default_rng(21).normal(1.0, 1.0, size=1_000)
    curves = [uplift_curve(plain_scores(effect), *ranking(sign * effect), np.random.default_rng(1)) for sign in (1, -1)]
    right, wrong = (curve for curve in curves if curve is not None)
    for curve in (right, wrong):
        assert curve.points[-1].gain.value == pytest.approx(effect.mean())
        assert curve.points[-1].above_random.value == pytest.approx(0.0, abs=1e-12)
    assert right.qini.lower > 0 > wrong.qini.upper
    assert right.autoc.lower > 0
    half = right.points[9]
    assert half.gain.value == pytest.approx(np.sort(effect)[500:].sum() / 1_000)


def test_an_order_by_chance_has_no_advantage() -> None:
    rng = np.random.default_rng(22)
    drawn_curves = [
        uplift_curve(plain_scores(rng.normal(1.0, 1.0, size=400)), *ranking(rng.normal(size=400)), rng)
        for _ in range(40)
    ]
    curves = [curve for curve in drawn_curves if curve is not None]
    assert len(curves) == 40
    assert sum(not (curve.qini.lower <= 0 <= curve.qini.upper) for curve in curves) <= 7
    assert sum(any(point.above_random.lower > 0 for point in curve.points) for curve in curves) <= 5


def test_the_value_of_everybody_is_the_doubly_robust_mean_and_prices_are_weighed() -> None:
    rng = np.random.default_rng(23)
    treated, untreated, t = rng.normal(2, 1, 400), rng.normal(1, 1, 400), (rng.random(400) < 0.5) * 1.0
    scores = EffectScores(treated - untreated, np.where(t == 1, treated, untreated), treated, untreated, t, None)
    rule, everybody, nobody, today = policy_values(scores, np.full(400, 0.1), Prices(3.0, 2.0))
    assert everybody.net is not None
    expected = 2.0 * (treated - scores.today).mean() - 3.0 * (1 - t).mean()
    assert everybody.net.value == pytest.approx(expected)
    # An effect of .1 is worth .2, the treatment costs 3: the rule treats nobody.
    assert rule.share_treated == 0.0
    assert nobody.rule_minus == Bounded(0.0, 0.0, 0.0)
    assert today.share_treated == pytest.approx(t.mean())


def test_an_uncertain_segment_is_kept_as_it_is_and_its_regret_is_told() -> None:
    rng = np.random.default_rng(24)
    effect = np.concatenate([rng.normal(2.0, 1.0, 200), rng.normal(0.0, 1.0, 200)])
    t = (np.arange(400) % 2).astype(float)
    scores = EffectScores(effect, t * effect, effect, np.zeros(400), t, None)
    rows = np.arange(400) < 200
    sure, unsure = decisions(
        [Segment("g", "sure", rows), Segment("g", "unsure", ~rows)], scores, Prices(), np.random.default_rng(1)
    )
    assert (sure.action, unsure.action) == ("more", "keep")
    assert sure.extra_treatment == 100
    assert sure.regret == 0.0
    assert unsure.extra_outcome == Bounded(0.0, 0.0, 0.0)
    assert unsure.regret > 0


def test_a_selection_given_back_has_the_same_scores_and_no_values() -> None:
    data = effect_data(study_of(drawn(250, 25)))
    from src.causal_engine.energy_score.selection import EstimatorSelector

    candidates = {name: EFFECT_FUNCTIONS[name] for name in ("linear_dml", "t_learner")}
    result = EstimatorSelector(candidates=candidates, draws=10).select_on(data)
    back = selection_of(summarised(result, data))
    assert (back.selected, back.reason, back.scores) == (result.selected, result.reason, result.scores)
    for before, after in zip(result.results, back.results, strict=True):
        assert (after.energy, after.average, after.r_loss) == (before.energy, before.average, before.r_loss)
        assert after.effect is None
        assert after.duration_ms is None


def test_many_rows_are_taught_by_a_part_and_the_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "MOST_TAUGHT", 300)
    found = heterogeneity_report(study_of(drawn(390, 3)), Design.OBSERVATIONAL)
    assert found.selection is not None
    assert (found.selection.n_learnt, found.selection.n) == (300, 390)
    assert any("300 of the 390 rows" in note for note in found.notes)
    assert found.found


def test_rows_that_teach_nothing_change_no_prediction_of_others() -> None:
    study = study_of(drawn(390, 26))
    data = effect_data(study, most_taught=200)
    assert data.taught is not None
    assert int(data.taught.sum()) == 200
    noise = np.where(data.taught, 0.0, 50.0)
    shaken = replace(data, y=data.y + noise)
    for name in ("constant", "linear_dml", "dr_learner", "x_learner"):
        before, after = (EFFECT_FUNCTIONS[name](each) for each in (data, shaken))
        if name in ("constant", "linear_dml"):
            assert after == pytest.approx(before)
        assert np.isfinite(before).all()


@pytest.mark.parametrize(
    ("limits", "word"),
    [((0.5, 0.1, 0.9), "better by"), ((-0.5, -0.9, -0.1), "worse by 0.5"), ((0.1, -0.2, 0.4), "not shown")],
)
def test_a_rule_is_called_better_no_surer_than_its_interval(limits: tuple[float, float, float], word: str) -> None:
    assert advantage(Bounded(*limits)).startswith(word)


def told(frame: pd.DataFrame, **changes: object) -> HeterogeneityReport:
    """The report by way of estimation, as a question of an analyst comes to it."""
    spec = question(**changes)
    outcome, _ = estimate_effect(frame, spec, identify(spec, list(frame.columns), None), specifications=False)
    assert outcome.heterogeneity is not None
    return outcome.heterogeneity


def test_a_weighting_estimator_of_the_average_is_no_reason_to_have_no_single_effects() -> None:
    found = told(drawn(250, 28), estimator="ipw")
    assert found.refusal is None
    assert len(found.segments) == 3


@pytest.mark.parametrize("estimand", [Estimand.ATT, Estimand.ATO])
def test_units_that_nobody_treats_are_refused_whatever_average_was_asked_for(estimand: Estimand) -> None:
    frame = drawn(400, 7)
    frame["t"] = ((frame["x0"] > 1.2) ^ (np.arange(400) % 40 == 0)).astype(float)
    refusal = heterogeneity_report(study_of(frame, estimand=estimand), Design.OBSERVATIONAL).refusal
    assert "either arm to be possible for everybody" in str(refusal)
    assert "--trim" in str(refusal)


def test_errors_that_depend_two_ways_are_refused() -> None:
    frame = drawn(200, 29).assign(a=np.arange(200) % 20, b=np.arange(200) // 20)
    study = study_of(frame, cluster_key="a", second_cluster_key="b")
    assert "name one cluster column" in str(heterogeneity_report(study, Design.OBSERVATIONAL).refusal)


def linear_predictions(data: EffectData) -> FloatArray:
    """Effects predicted out of fold by ridge regression of what treatment leaves of the outcome."""
    z = data.x * (data.t - data.propensity)[:, None]
    found = np.empty(len(data.t))
    for fold in range(5):
        held = data.folds == fold
        gram = z[~held].T @ z[~held] + 5.0 * np.eye(z.shape[1])
        found[held] = data.x[held] @ np.linalg.solve(gram, z[~held].T @ (data.y - data.outcome)[~held])
    return found


def test_outcomes_that_teach_one_another_are_not_counted_twice() -> None:
    rng = np.random.default_rng(30)
    names = tuple(f"x{i}" for i in range(12))
    p_values, outside = [], 0
    for _ in range(150):
        frame = pd.DataFrame(rng.normal(size=(200, 12)), columns=list(names))
        frame = frame.assign(t=(rng.random(200) < 0.5) * 1.0, y=rng.normal(size=200))
        study = prepare_study(frame, CausalSpec("t", "y", names))
        data = known(study, 0.5, np.zeros(200), np.zeros(200), study.t)
        predicted = linear_predictions(data)
        test = calibration_test(data, predicted, None)
        assert test is not None
        p_values.append(test.p_value)
        places = places_within_folds(predicted, data.folds, data.lot)
        _, between = effect_groups(effect_scores(data, predicted, None), predicted, places, rng)
        outside += between.lower > 0
    assert np.mean(np.array(p_values) < 0.05) <= 0.09
    assert ndtri(np.clip(p_values, 1e-6, 1 - 1e-6)).std() < 1.2  # about 1.4 where each pair counts twice
    assert outside / 150 <= 0.06


def test_predictions_by_the_other_folds_average_do_not_turn_the_curve_round() -> None:
    rng = np.random.default_rng(31)
    folds = np.arange(500) % 5
    qinis = []
    for _ in range(20):
        effect = rng.normal(size=500)
        others = np.array([effect[folds != fold].mean() for fold in range(5)])
        predicted, lot = others[folds] + 1e-3 * rng.normal(size=500), rng.random(500)
        curve = uplift_curve(plain_scores(effect), places_within_folds(predicted, folds, lot), lot, rng)
        assert curve is not None
        qinis.append(curve.qini.value)
    # Ranked over all folds, each of the twenty would be negative.
    assert 4 <= sum(value > 0 for value in qinis) <= 16


@pytest.mark.parametrize(("n", "points"), [(21, 0), (60, 5), (120, 10), (400, 20)])
def test_no_step_of_the_curve_rests_on_fewer_than_eleven_units(n: int, points: int) -> None:
    effect = np.random.default_rng(32).normal(size=n)
    curve = uplift_curve(plain_scores(effect), *ranking(effect), np.random.default_rng(1))
    assert (0 if curve is None else len(curve.points)) == points


def test_ties_and_the_order_of_rows_change_nothing() -> None:
    frame = drawn(300, 33).assign(x0=lambda f: f["x0"].round(), x1=lambda f: (f["x1"] > 0) * 1.0)
    frame["x2"] = frame["x2"].round()
    mixed = frame.sample(frac=1.0, random_state=1).reset_index(drop=True)
    one, other = (heterogeneity_report(study_of(each), Design.OBSERVATIONAL) for each in (frame, mixed))
    assert other.p_value == pytest.approx(one.p_value)
    assert one.uplift is not None
    assert other.uplift is not None
    assert other.uplift.qini.value == pytest.approx(one.uplift.qini.value)
    for before, after in zip(one.groups, other.groups, strict=True):
        assert after.effect.value == pytest.approx(before.effect.value)
        assert after.effect.lower == pytest.approx(before.effect.lower)


def test_few_clusters_widen_simultaneous_limits_beyond_the_normal() -> None:
    rng = np.random.default_rng(34)
    clusters = np.repeat(np.arange(7), 20)
    held = 0
    for _ in range(300):
        sample = np.repeat(rng.normal(size=(7, 3)), 20, axis=0)
        found = Simultaneous(sample - sample.mean(axis=0), clusters, rng).bounded(sample.mean(axis=0))
        held += all(one.lower <= 0 <= one.upper for one in found)
    assert held / 300 >= 0.90  # with normal draws .83 to .86


def test_of_two_sure_gains_the_larger_is_taken() -> None:
    rng = np.random.default_rng(35)
    t = (np.arange(400) % 2).astype(float)
    # Harm to those treated today, a small gain for the others.
    effect = np.where(t == 1, -3.0, 1.0) + rng.normal(0, 0.1, 400)
    scores = EffectScores(effect, t * effect, effect, np.zeros(400), t, None)
    rows = np.arange(400) < 200
    for one in decisions([Segment("g", "a", rows), Segment("g", "b", ~rows)], scores, Prices(), rng):
        assert one.action == "less"
        assert one.extra_outcome.value == pytest.approx(1.5 * one.n, rel=0.05)


def test_a_single_shown_segment_is_compared_and_decided_with_none() -> None:
    frame = drawn(300, 18)
    frame["group"] = np.where(np.arange(300) < 8, "tiny", np.where(np.arange(300) < 120, "some", "most"))
    found = heterogeneity_report(study_of(frame), Design.OBSERVATIONAL)
    assert (found.segments, found.decisions, found.segment_test) == ((), (), None)
    assert len(found.hidden) == 2


def test_a_named_column_that_cannot_be_split_is_told_with_the_reason() -> None:
    frame = drawn(200, 36).assign(territory=[f"t{i % 20}" for i in range(200)], brand="one")
    _, hidden = segments_of(study_of(frame, effect_modifiers=(names := ("territory", "brand", "group"))), names, None)
    assert {one.column: one.reason for one in hidden} == {
        "territory": "more than 12 levels: group them first",
        "brand": "everybody has the same value",
    }


def test_a_learner_that_clearly_loses_drops_out_where_a_part_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    real = effect_functions.fit_predict

    def noted(names: tuple[str, ...], *rest: object, **options: object) -> dict[str, FloatArray]:
        asked.append(tuple(names))
        return real(names, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(effect_functions, "fit_predict", noted)
    monkeypatch.setattr(effect_functions, "candidate_learners", lambda *_: ("constant", "linear"))
    for most, expected in ((None, 2), (380, 1)):
        asked.clear()
        data = effect_data(study_of(drawn(390, 37)), most_taught=most)
        EFFECT_FUNCTIONS["dr_learner"](data)
        assert [len(names) for names in asked] == [2, *[expected] * 4]


def test_an_association_is_not_worded_as_effects_that_differ(report: HeterogeneityReport) -> None:
    (line,) = heterogeneity_findings(report, causal=False)
    assert "association only" in line
    assert "effects differ" not in line
    assert any("better by" in one and "in money" in one for one in heterogeneity_findings(report))
