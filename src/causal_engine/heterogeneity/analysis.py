"""Do effects differ between units, whose are larger, and what follows for whom to treat?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.selection import ENSEMBLE, EstimatorSelector, SelectionResult
from src.causal_engine.estimators.base import Nuisances
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.positivity import BoolArray, require_overlap, restrict
from src.causal_engine.heterogeneity.calibration import calibration_test, effect_groups, places_within_folds
from src.causal_engine.heterogeneity.policy import Prices, decisions, policy_values
from src.causal_engine.heterogeneity.report import CalibrationTest, HeterogeneityReport, SegmentTest
from src.causal_engine.heterogeneity.scores import effect_scores
from src.causal_engine.heterogeneity.segments import segment_findings, segments_of
from src.causal_engine.heterogeneity.summary import summarised
from src.causal_engine.heterogeneity.uplift import uplift_curve
from src.causal_engine.spec import Design, Estimand
from src.causal_engine.study import FloatArray, Study
from src.errors import EstimationError, OverlapViolated

SIGNIFICANCE = 0.05
MOST_TAUGHT = 6_000
MOST_POINTS = 2_000

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Tested:
    """The two tests and the chance of the stronger one, adjusted for there being two."""

    calibration: CalibrationTest | None
    segment_test: SegmentTest | None
    p_value: float


def heterogeneity_report(
    study: Study, design: Design, nuisances: Nuisances | None = None, *, on_progress: Progress = lambda _: None
) -> HeterogeneityReport:
    """Everything about single effects on ``study``, or a refusal that says why there is nothing.

    Estimand: effects given the covariates, E[Y(1) − Y(0) | x], averaged over units of the study (those with overlap,
    where trimming was asked for), whatever average the question is about: either arm must be possible for
    everybody. ``nuisances`` of the main
    estimate are used again when they are of these rows. The mixture of all effect functions
    (R-stacking) is tested; with more than ``MOST_TAUGHT`` rows that many teach it, all judge it.
    """
    prices = Prices(study.spec.cost_per_unit, study.spec.value_per_outcome)
    try:
        _require_design(study, design)
        study, nuisances = _comparable(study, nuisances)
        on_progress("effect functions")
        data = effect_data(study, nuisances, most_taught=MOST_TAUGHT)
        chosen = EstimatorSelector(most_points=MOST_POINTS).select_on(data, clusters=study.clusters)
        on_progress("tests of heterogeneity")
        return _told(study, data, chosen, prices)
    except EstimationError as error:
        return refused(str(error), study)


def refused(reason: str, study: Study) -> HeterogeneityReport:
    """A report that only says why there is none."""
    return HeterogeneityReport(
        selected="",
        refusal=reason,
        cost_per_unit=study.spec.cost_per_unit,
        value_per_outcome=study.spec.value_per_outcome,
    )


def claim(calibration: CalibrationTest | None, segment_test: SegmentTest | None, *, named: bool) -> Tested:
    """Both tests with one error rate of 5 %: where modifiers were named there are two (Bonferroni), else one.

    No ``calibration``: everybody is predicted the same effect, which is no sign of a difference (p = 1).
    """
    first = 1.0 if calibration is None else calibration.p_value
    if segment_test is None or not named:
        return Tested(calibration, segment_test, first)
    return Tested(calibration, segment_test, min(1.0, 2 * min(first, segment_test.p_value)))


def _told(study: Study, data: EffectData, chosen: SelectionResult, prices: Prices) -> HeterogeneityReport:
    predicted = _mixture(chosen)
    rng = np.random.default_rng((study.spec.random_state, 2))
    scores = effect_scores(data, predicted, study.clusters)
    named = bool(study.spec.effect_modifiers)
    modifiers = study.spec.effect_modifiers or study.spec.confounders
    segments, hidden = segments_of(study, modifiers, study.clusters)
    findings, segment_test = segment_findings(segments, scores, rng)
    tested = claim(calibration_test(data, predicted, study.clusters), segment_test, named=named)
    places = places_within_folds(predicted, data.folds, data.lot)
    ranked = tested.calibration is not None
    groups, between = effect_groups(scores, predicted, places, rng) if ranked else ((), None)
    found = tested.p_value < SIGNIFICANCE
    return HeterogeneityReport(
        selected=ENSEMBLE if found else "constant",
        found=found,
        p_value=tested.p_value,
        modifiers=modifiers,
        modifiers_named=named,
        continuous_treatment=not study.is_binary,
        selection=summarised(chosen, data),
        calibration=tested.calibration,
        groups=groups,
        top_minus_bottom=between,
        segments=findings,
        segment_test=segment_test,
        hidden=hidden,
        uplift=uplift_curve(scores, places, data.lot, rng) if ranked else None,
        policies=policy_values(scores, predicted, prices),
        decisions=decisions(segments, scores, prices, rng),
        cost_per_unit=prices.cost_per_unit,
        value_per_outcome=prices.value_per_outcome,
        notes=_notes(study, data, ranked=ranked),
    )


def _mixture(chosen: SelectionResult) -> FloatArray:
    effect = chosen.candidate(ENSEMBLE).effect
    assert effect is not None
    return effect


def _require_design(study: Study, design: Design) -> None:
    if study.spec.second_cluster_key is not None:
        raise EstimationError(
            "effects of single units are tested with errors that depend one way; name one cluster column, the wider one"
        )
    if design not in (Design.OBSERVATIONAL, Design.RANDOMIZED):
        raise EstimationError(
            f"effects of single units are estimated where treatment is random, or as good as random given covariates; "
            f"this question is answered by another design ({design.value}), so only its average effect is told"
        )


def _comparable(study: Study, nuisances: Nuisances | None) -> tuple[Study, Nuisances]:
    """The units with overlap and nuisances of exactly these."""
    usable = nuisances if nuisances is not None and _complete(nuisances, study) else None
    whole = usable is not None and len(usable.propensity) == study.n and not study.spec.trim
    fitted = usable if usable is not None and whole else cross_fit(study)
    if not study.is_binary or study.spec.randomized:
        return study, fitted
    kept = restrict(study, _overlapping(study, fitted))
    if kept is study:
        return study, fitted
    given = usable if usable is not None and len(usable.propensity) == kept.n else None
    return kept, given or cross_fit(kept)


def _complete(nuisances: Nuisances, study: Study) -> bool:
    """Whether there is a learner for all that effect functions need (a weighting estimator has no outcome model)."""
    needed = ("propensity", "outcome_control", "outcome_treated") if study.is_binary else ("propensity", "outcome")
    return {*needed} <= {name for name, _ in nuisances.learners} and nuisances.outcome is not None


def _overlapping(study: Study, nuisances: Nuisances) -> BoolArray:
    try:
        return require_overlap(study, nuisances.propensity, Estimand.ATE)[0]
    except OverlapViolated as error:
        raise OverlapViolated(
            f"single effects need either arm to be possible for everybody: {str(error).partition(';')[0]}; "
            "trim to comparable units (--trim)"
        ) from error


def _notes(study: Study, data: EffectData, *, ranked: bool) -> tuple[str, ...]:
    notes = []
    if not ranked:
        notes.append("The best mixture of effect functions gives everybody the same effect: units cannot be ranked.")
    if data.taught is not None:
        taught = int(data.taught.sum())
        notes.append(
            f"Effect functions learnt from {taught:,} of the {study.n:,} rows, drawn in the arms' shares; all rows "
            f"test them. Finer differences that only more rows would teach may be missed, none is made up by this."
        )
    if not study.is_binary:
        notes.append("Effects are per unit of treatment, taken as the same at every dose for units alike.")
    return tuple(notes)
