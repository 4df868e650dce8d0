"""How is the choice of an effect function kept without its n values, and given back to be logged?"""

from __future__ import annotations

import numpy as np

from src.causal_engine.energy_score.effect_data import EffectData
from src.causal_engine.energy_score.scoring import EnergyScore
from src.causal_engine.energy_score.selection import AverageEffect, Candidate, SelectionResult, Strategy
from src.causal_engine.heterogeneity.report import Bounded, SelectionSummary, TriedEffect
from src.causal_engine.results import Interval


def summarised(result: SelectionResult, data: EffectData) -> SelectionSummary:
    """The selection in numbers and words alone."""
    taught = len(data.t) if data.taught is None else int(np.sum(data.taught))
    return SelectionSummary(
        strategy=str(result.strategy),
        selected=result.selected,
        reason=result.reason,
        gap=result.gap,
        n=result.n,
        n_learnt=taught,
        tried=tuple(_tried(each) for each in result.results),
        average=_bounded(result.average.value, result.average.ci),
        average_se=result.average.std_error,
        weights=tuple(result.weights.items()),
    )


def selection_of(summary: SelectionSummary) -> SelectionResult:
    """The selection as trackers take it; its candidates have scores, but neither values nor the time they took."""
    return SelectionResult(
        selected=summary.selected,
        strategy=Strategy(summary.strategy),
        results=tuple(_candidate(each) for each in summary.tried),
        gap=summary.gap,
        reason=summary.reason,
        average=AverageEffect(summary.average.value, summary.average_se, _interval(summary.average)),
        n=summary.n,
        weights=dict(summary.weights),
    )


def _tried(candidate: Candidate) -> TriedEffect:
    energy, average = candidate.energy, candidate.average
    return TriedEffect(
        name=candidate.name,
        r_loss=candidate.r_loss,
        dr_loss=candidate.dr_loss,
        energy=None if energy is None else _bounded(energy.score, energy.ci),
        distance=None if energy is None else energy.distance,
        energy_loss=None if energy is None else energy.loss,
        variants=() if energy is None else energy.variants,
        criterion=candidate.criterion,
        excess=candidate.excess,
        excess_se=candidate.excess_error,
        average=None if average is None else _bounded(average.value, average.ci),
        average_se=None if average is None else average.std_error,
        error_type=candidate.error_type,
        error_message=candidate.error_message,
    )


def _candidate(tried: TriedEffect) -> Candidate:
    average = None
    if tried.average is not None and tried.average_se is not None:
        average = AverageEffect(tried.average.value, tried.average_se, _interval(tried.average))
    return Candidate(
        name=tried.name,
        energy=_energy(tried),
        dr_loss=tried.dr_loss,
        r_loss=tried.r_loss,
        criterion=tried.criterion,
        excess=tried.excess,
        excess_error=tried.excess_se,
        average=average,
        error_type=tried.error_type,
        error_message=tried.error_message,
    )


def _energy(tried: TriedEffect) -> EnergyScore | None:
    if tried.energy is None or tried.distance is None or tried.energy_loss is None or tried.r_loss is None:
        return None
    limits = _interval(tried.energy)
    return EnergyScore(tried.energy.value, limits, tried.distance, tried.energy_loss, tried.r_loss, tried.variants)


def _bounded(value: float, ci: Interval) -> Bounded:
    return Bounded(value, ci.lower, ci.upper)


def _interval(value: Bounded) -> Interval:
    return Interval(value.lower, value.upper)
