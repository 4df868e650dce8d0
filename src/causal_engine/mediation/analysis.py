"""How much of the effect runs through the mediators that were named?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from src.causal_engine.identification.graph import CausalGraph
from src.causal_engine.mediation.graph import covariates_for_split
from src.causal_engine.mediation.natural import METHOD, natural_effects
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.mediation.sensitivity import rho_curve
from src.causal_engine.results import Identification
from src.causal_engine.spec import CausalSpec, Design
from src.causal_engine.study import Study, encode, prepare_study, select_arms
from src.causal_engine.wording import plain
from src.errors import EstimationError, StudyInvalid, UnknownColumn

_NOTHING_LEFT = 1e-9


def mediation_report(
    frame: pd.DataFrame, spec: CausalSpec, study: Study, identification: Identification
) -> MediationReport:
    """Split the effect of ``study`` at ``spec.mediators``, or say in ``refusal`` why that cannot be done.

    With a graph its mediators, their covariates and common causes are checked; without one the
    adjustment set is taken to be enough, which the assumptions state.
    """
    mediators = spec.mediators
    reason = _unsuited(spec, identification)
    if reason:
        return MediationReport(mediators, reason)
    covariates = identification.adjustment_set
    if identification.edges:
        graph = CausalGraph(identification.nodes, identification.edges, identification.latent)
        measured = set(frame.columns) - {*spec.bad_controls, *spec.negative_controls}
        covariates, reason = covariates_for_split(graph, spec.treatment, spec.outcome, mediators, covariates, measured)
        if reason:
            return MediationReport(mediators, reason)
    try:
        return _split(frame, spec, study, covariates)
    except (EstimationError, StudyInvalid, UnknownColumn) as error:
        return MediationReport(mediators, str(error))


def _unsuited(spec: CausalSpec, identification: Identification) -> str:
    if not spec.mediators:
        return "no mediator was named (--mediators COLUMN)"
    if not identification.identified:
        return "the effect itself is not identified, so there is nothing to split"
    if identification.design not in (Design.OBSERVATIONAL, Design.RANDOMIZED):
        return (
            f"natural effects are split for randomised and adjusted comparisons only; this one rests on "
            f"{identification.strategy.replace('_', ' ')}"
        )
    return ""


def _split(frame: pd.DataFrame, spec: CausalSpec, study: Study, covariates: tuple[str, ...]) -> MediationReport:
    arms = select_arms(frame, spec).reset_index(drop=True)
    missing = [name for name in spec.mediators if arms[name].isna().any()]
    if missing:
        raise StudyInvalid(f"mediator '{missing[0]}' is missing in some rows; complete or remove those rows first")
    asked = study.spec
    outer = prepare_study(arms, _with(asked, covariates))
    inner = prepare_study(arms, _with(asked, (*covariates, *spec.mediators)))
    _refuse_copies(outer, inner, spec)
    effects = natural_effects(outer, inner)
    total, _, indirect = effects
    told = total.lower > 0 or total.upper < 0
    curve = rho_curve(outer.t, outer.y, outer.x, encode(arms, spec.mediators)[0])
    return MediationReport(
        mediators=spec.mediators,
        effects=effects,
        share_indirect=indirect.value / total.value if told else None,
        adjusted_for=covariates,
        n=outer.n,
        method=METHOD,
        assumptions=_assumptions(spec, covariates),
        rho_without_indirect=None if curve is None else curve[0],
        sensitivity=() if curve is None else curve[1],
    )


def _refuse_copies(outer: Study, inner: Study, spec: CausalSpec) -> None:
    """Raise StudyInvalid where the mediators leave nothing of the outcome: then they are it, measured twice."""
    left = [_left(study) for study in (outer, inner)]
    if left[1] <= _NOTHING_LEFT * left[0]:
        raise StudyInvalid(
            f"the mediators ({', '.join(spec.mediators)}) determine '{spec.outcome}' exactly; name what lies between "
            "treatment and outcome, not the outcome itself"
        )


def _left(study: Study) -> float:
    design = np.column_stack([np.ones(study.n), study.t, study.x])
    rest = study.y - design @ np.linalg.lstsq(design, study.y, rcond=None)[0]
    return float(rest @ rest)


def _with(spec: CausalSpec, covariates: tuple[str, ...]) -> CausalSpec:
    return replace(spec, confounders=covariates, effect_modifiers=(), mediators=(), instruments=())


def _assumptions(spec: CausalSpec, covariates: tuple[str, ...]) -> tuple[str, ...]:
    """Sequential ignorability (Imai, Keele & Tingley 2010, assumption 1) in words."""
    treatment, outcome = plain(spec.treatment), plain(spec.outcome)
    mediators = ", ".join(plain(name) for name in spec.mediators)
    given = f"given {', '.join(plain(name) for name in covariates)}" if covariates else "without holding anything fixed"
    first = "was assigned at random" if spec.randomized else f"is as good as random {given}"
    return (
        f"{treatment} {first}, for {mediators} as for {outcome}.",
        f"Among units with the same {treatment}, {mediators} is as good as random {given}: no unmeasured common cause "
        f"of {mediators} and {outcome}. Randomising {treatment} does not ensure this.",
        f"No common cause of {mediators} and {outcome} is itself changed by {treatment}.",
    )
