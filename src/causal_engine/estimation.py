"""What does one question find on one frame? Primary estimate, alternatives, diagnostics, or a refusal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from src.causal_engine.choice.choose import choose
from src.causal_engine.choice.validate import answer_by, cautions, cutoff_doubts, selection_doubts, unmet_demands
from src.causal_engine.conclusion import EstimationOutcome
from src.causal_engine.diagnostics.balance import balance_table
from src.causal_engine.diagnostics.confounding import confounding_findings
from src.causal_engine.diagnostics.discontinuity import discontinuity_report
from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport
from src.causal_engine.diagnostics.overlap import overlap_report
from src.causal_engine.diagnostics.panel import panel_diagnostics
from src.causal_engine.diagnostics.power import power_report
from src.causal_engine.diagnostics.randomization import randomization_p_value
from src.causal_engine.estimators.base import FittedEffect
from src.causal_engine.estimators.curve import naive_contrast, specification_curve
from src.causal_engine.estimators.doubly_robust import precision_lost
from src.causal_engine.estimators.nuisance import cross_fit
from src.causal_engine.estimators.registry import fit_estimator
from src.causal_engine.heterogeneity.analysis import heterogeneity_report, refused
from src.causal_engine.heterogeneity.report import HeterogeneityReport
from src.causal_engine.mediation.analysis import mediation_report
from src.causal_engine.results import (
    BalanceRow,
    ConfoundingFinding,
    EffectEstimate,
    FailedEstimate,
    Identification,
    OverlapReport,
)
from src.causal_engine.spec import CausalSpec, Design, OutcomeKind
from src.causal_engine.study import FloatArray, Study, prepare_study, select_arms

Progress = Callable[[str], None]


@dataclass(frozen=True)
class FittedStudy:
    """A study with its fitted primary estimator; kept in memory for the refutation tests."""

    study: Study
    fitted: FittedEffect | None


def study_for(frame: pd.DataFrame, spec: CausalSpec, identification: Identification) -> Study:
    """Check the frame and set the adjustment set that identification chose."""
    arms = select_arms(frame, spec)
    adjusted = replace(
        spec,
        confounders=identification.adjustment_set,
        effect_modifiers=tuple(name for name in spec.effect_modifiers if name not in _excluded(identification)),
        instruments=identification.instruments if identification.design is Design.INSTRUMENT else (),
        mediators=identification.mediators if identification.design is Design.FRONT_DOOR else (),
        treated_value=None,
        control_value=None,
    )
    return prepare_study(arms, adjusted)


def fit_primary(study: Study, identification: Identification) -> tuple[FittedEffect | None, FailedEstimate | None]:
    """Fit the estimator asked for, or the design's choice; a refusal is returned under its own name."""
    attempt = answer_by(choose(study, identification), study, fit_estimator)
    return attempt.fitted, attempt.refusal


def estimate_effect(
    frame: pd.DataFrame,
    spec: CausalSpec,
    identification: Identification,
    *,
    on_progress: Progress = lambda _: None,
    specifications: bool = True,
    selected_by: Collection[str] = (),
) -> tuple[EstimationOutcome, FittedStudy]:
    """Estimate the effect, the specification curve (left out without ``specifications``) and the diagnostics.

    ``selected_by`` names the columns by which the rows of ``frame`` were chosen. The spec's bad controls
    are no candidates for the search for unadjusted confounders. Raises StudyInvalid, UnknownColumn or
    TooFewRows when the frame is no analysable study; an estimator's refusal is returned in ``refusal``.
    """
    study = study_for(frame, spec, identification)
    on_progress("unadjusted contrast")
    naive = naive_contrast(study)
    if not identification.identified:
        return _unidentified(study, naive), FittedStudy(study, None)
    on_progress("main estimate")
    choice = choose(study, identification)
    attempt = answer_by(choice, study, fit_estimator)
    fitted, refusal = attempt.fitted, attempt.refusal
    on_progress("overlap and balance")
    propensity = _propensity(study, identification, fitted)
    overlap, balance = _comparability(study, propensity)
    on_progress("specification curve")
    sets = _control_sets(study, identification.design, refusal) if specifications else []
    curve, failures = specification_curve(study, identification.design, control_sets=sets)
    on_progress("design diagnostics")
    return EstimationOutcome(
        n_rows=study.n,
        binary_treatment=study.is_binary,
        binary_outcome=study.outcome_kind is OutcomeKind.BINARY,
        primary=fitted.estimate if fitted else None,
        refusal=refusal,
        naive=naive,
        curve=curve,
        failures=(*attempt.tried, *failures),
        overlap=overlap,
        balance=balance,
        power=power_report(study, fitted.estimate.std_error if fitted else None),
        panel=panel_diagnostics(study) if identification.design is Design.PANEL else None,
        confounding=_unadjusted(frame, spec, study, identification),
        warnings=(
            *study.warnings,
            *cautions(study, identification.design, fitted),
            *(precision_lost(fitted.estimate) if fitted else ()),
        ),
        randomization_p_value=randomization_p_value(study) if identification.design is Design.RANDOMIZED else None,
        choice=choice,
        heterogeneity=_heterogeneity(study, identification, fitted, refusal, on_progress),
        discontinuity=(at_cutoff := _at_cutoff(study, identification, fitted)),
        mediation=mediation_report(frame, spec, study, identification) if spec.mediation else None,
        doubts=(
            *cutoff_doubts(at_cutoff),
            *selection_doubts(selected_by, spec.outcome, identification),
            *unmet_demands(select_arms(frame, spec), study, identification, fitted),
        ),
    ), FittedStudy(study, fitted)


def _heterogeneity(
    study: Study,
    identification: Identification,
    fitted: FittedEffect | None,
    refusal: FailedEstimate | None,
    on_progress: Progress,
) -> HeterogeneityReport | None:
    """Single effects where they were asked for; refused where there is no average effect to divide."""
    if not study.spec.heterogeneity:
        return None
    if fitted is None:
        return refused(refusal.message if refusal else "there is no average effect to divide among units", study)
    return heterogeneity_report(study, identification.design, fitted.nuisances, on_progress=on_progress)


def _at_cutoff(study: Study, identification: Identification, fitted: FittedEffect | None) -> DiscontinuityReport | None:
    if identification.design is not Design.DISCONTINUITY or fitted is None:
        return None
    return discontinuity_report(study, fitted.estimate)


def _control_sets(
    study: Study, design: Design, refusal: FailedEstimate | None
) -> list[tuple[str, tuple[str, ...]]] | None:
    """All control definitions; after a refusal only with and without adjustment, to show what it rests on."""
    if design is Design.DISCONTINUITY:  # adjusts for nothing: every definition gives the same
        return [("all confounders", study.spec.confounders)]
    if refusal is None:
        return None
    return [("all confounders", study.spec.confounders), ("no confounders", ())]


def _unidentified(study: Study, naive: EffectEstimate) -> EstimationOutcome:
    return EstimationOutcome(
        n_rows=study.n,
        binary_treatment=study.is_binary,
        binary_outcome=study.outcome_kind is OutcomeKind.BINARY,
        primary=None,
        refusal=None,
        naive=naive,
        curve=(),
        failures=(),
        overlap=None,
        balance=(),
        power=None,
        panel=None,
        confounding=(),
        warnings=study.warnings,
        heterogeneity=refused("the effect is not identified", study) if study.spec.heterogeneity else None,
    )


def _propensity(study: Study, identification: Identification, fitted: FittedEffect | None) -> FloatArray | None:
    if not study.is_binary or not study.x.shape[1]:
        return None
    if identification.design not in (Design.OBSERVATIONAL, Design.RANDOMIZED):
        return None
    if fitted is not None and fitted.estimate.estimator == "exact":  # too few rows for a propensity model
        return None
    if fitted is not None and fitted.nuisances is not None and len(fitted.nuisances.propensity) == study.n:
        return fitted.nuisances.propensity
    return np.asarray(cross_fit(study).propensity, dtype=np.float64)


def _comparability(study: Study, propensity: FloatArray | None) -> tuple[OverlapReport | None, tuple[BalanceRow, ...]]:
    if propensity is None:
        return None, ()
    return overlap_report(study, propensity), balance_table(study, propensity)


def _unadjusted(
    frame: pd.DataFrame,
    spec: CausalSpec,
    study: Study,
    identification: Identification,
) -> tuple[ConfoundingFinding, ...]:
    if identification.design is not Design.OBSERVATIONAL:
        return ()
    excluded = _excluded(identification) | set(spec.bad_controls)
    return confounding_findings(select_arms(frame, spec), study, excluded)


def _excluded(identification: Identification) -> set[str]:
    return {node.name for node in identification.excluded}
