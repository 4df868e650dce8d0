"""Which effect function should be used, and how sure is it that it beats the others?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd

from src.causal_engine.energy_score.effect_data import EffectData, effect_data
from src.causal_engine.energy_score.effect_functions import (
    BASELINES,
    EFFECT_FUNCTIONS,
    FOR_ANY_TREATMENT,
    EffectFunction,
)
from src.causal_engine.energy_score.losses import r_loss
from src.causal_engine.energy_score.resampling import DRAWS, resampled_counts
from src.causal_engine.energy_score.scoring import EnergyScore, ScoreTable, score_effects
from src.causal_engine.energy_score.stacking import stacked_effect
from src.causal_engine.estimators.inference import interval, of_influence, ratio
from src.causal_engine.results import Interval
from src.causal_engine.spec import CausalSpec
from src.causal_engine.study import FloatArray, IntArray, Study, prepare_study
from src.errors import EstimationError, nearest_names

ENSEMBLE = "ensemble"
TIE_ERRORS = 1.0
"""Standard errors within which two candidates tie."""
HETEROGENEITY_ERRORS = 1.645
"""Standard errors by which a constant effect must be beaten before effects are said to differ (one-sided 5 %)."""


class Strategy(StrEnum):
    """How the choice is made: by R-loss, by energy score, the first that answers, or a mixture of all.

    The DR-loss is reported, not chosen by: where the arms' outcome models err, its pseudo-outcomes err
    like the effects learnt from them.
    """

    BEST_LOSS = "best_loss"
    BEST_ENERGY = "best_energy"
    FIRST_SUCCESS = "first_success"
    ENSEMBLE = "ensemble"


@dataclass(frozen=True, slots=True)
class AverageEffect:
    """An average effect with its standard error and 95 % interval, in outcome units."""

    value: float
    std_error: float
    ci: Interval


@dataclass(frozen=True)
class Candidate:
    """One effect function that was tried: its out-of-fold values (n,) and scores, or why it has none.

    ``criterion`` is what the strategy minimises; ``excess`` its distance to the least, with the
    bootstrap standard error of that difference (0 for the least itself). ``duration_ms`` is the fit's,
    where it was taken.
    """

    name: str
    effect: FloatArray | None = None
    energy: EnergyScore | None = None
    dr_loss: float | None = None
    r_loss: float | None = None
    criterion: float | None = None
    excess: float | None = None
    excess_error: float | None = None
    average: AverageEffect | None = None
    duration_ms: float | None = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class SelectionResult:
    """The choice, every candidate (the simplest first), and why.

    ``gap`` is the criterion of the runner-up minus that of the selected; negative when a simpler
    candidate was taken within the error of the difference. ``average`` is the doubly robust average
    effect (partially linear for a continuous treatment), whatever was selected. ``weights`` are the
    mixture's.
    """

    selected: str
    strategy: Strategy
    results: tuple[Candidate, ...]
    gap: float | None
    reason: str
    average: AverageEffect
    n: int
    weights: Mapping[str, float]

    @property
    def scores(self) -> dict[str, float]:
        """What the strategy minimised, by candidate that has an effect."""
        return {each.name: each.criterion for each in self.results if each.criterion is not None}

    @property
    def effect(self) -> FloatArray:
        """Out-of-fold effect of each row by the selected function, shape (n,)."""
        found = self.candidate(self.selected).effect
        assert found is not None
        return found

    def candidate(self, name: str) -> Candidate:
        """The candidate of that name; KeyError when it was not tried."""
        return {each.name: each for each in self.results}[name]


class EstimatorSelector:
    """Fits candidate effect functions on shared folds and nuisances and picks one.

    ``candidates`` maps names to functions, the simplest first; a constant effect and the naive
    contrast always compete. ``most_points`` caps the points of the energy distances. Only a
    candidate's own EstimationError or singular system is recorded as its failure; anything else is raised.
    """

    def __init__(
        self,
        strategy: Strategy | str = Strategy.ENSEMBLE,
        *,
        candidates: Mapping[str, EffectFunction] | None = None,
        draws: int = DRAWS,
        most_points: int | None = None,
    ) -> None:
        if strategy not in list(Strategy):
            known = [str(each) for each in Strategy]
            raise EstimationError(f"no selection strategy is called '{strategy}'; {nearest_names(strategy, known)}")
        self._strategy = Strategy(strategy)
        self._candidates = candidates
        self._draws = draws
        self._most_points = most_points

    def select(self, data: pd.DataFrame | Study, spec: CausalSpec | None = None) -> SelectionResult:
        """Choose the effect function for a study, or for a frame under ``spec``.

        Raises what ``prepare_study`` and ``effect_data`` raise, and EstimationError when no candidate
        beside the baselines answers.
        """
        study = _study(data, spec)
        return self.select_on(effect_data(study), clusters=study.clusters)

    def select_on(self, data: EffectData, *, clusters: IntArray | None = None) -> SelectionResult:
        """Choose on nuisances that are already there."""
        return self.compare_strategies(data, (self._strategy,), clusters=clusters)[self._strategy]

    def compare_strategies(
        self, data: EffectData, strategies: Sequence[Strategy] = tuple(Strategy), *, clusters: IntArray | None = None
    ) -> dict[Strategy, SelectionResult]:
        """The choice of each strategy on the same fits and scores."""
        fitted = self._fit(data, lazily=set(strategies) == {Strategy.FIRST_SUCCESS})
        effects = {each.name: each.effect for each in fitted if each.effect is not None}
        if not set(effects) - set(BASELINES):
            told = "; ".join(f"{each.name}: {each.error_message}" for each in fitted if each.error_message)
            raise EstimationError(f"no effect function could be fitted ({told or 'no candidate was given'})")
        started = time.perf_counter()
        effects[ENSEMBLE], weights = stacked_effect(data, effects)
        fitted.append(Candidate(ENSEMBLE, effects[ENSEMBLE], duration_ms=_since(started)))
        table = score_effects(data, effects, draws=self._draws, clusters=clusters, most_points=self._most_points)
        average, naive = average_effect(data, clusters), _naive_average(data, clusters)
        chosen = {}
        for strategy in strategies:
            judged = _Judged(data, effects, table, strategy, self._draws, clusters)
            selected, gap, reason = judged.choice()
            results = tuple(judged.completed(each, naive if each.name == "naive" else average) for each in fitted)
            chosen[strategy] = SelectionResult(selected, strategy, results, gap, reason, average, len(data.y), weights)
        return chosen

    def _fit(self, data: EffectData, *, lazily: bool) -> list[Candidate]:
        """Every candidate in order; ``lazily`` none after the first beyond the baselines that answers."""
        fitted: list[Candidate] = []
        for name, function in self._functions(data).items():
            fitted.append(_fitted(name, function, data))
            if lazily and name not in BASELINES and fitted[-1].effect is not None:
                break
        return fitted

    def _functions(self, data: EffectData) -> dict[str, EffectFunction]:
        given = self._candidates
        if given is None:
            names = tuple(EFFECT_FUNCTIONS) if data.binary_treatment else FOR_ANY_TREATMENT
            given = {name: EFFECT_FUNCTIONS[name] for name in names}
        return {**{name: EFFECT_FUNCTIONS[name] for name in BASELINES}, **given}


def average_effect(data: EffectData, clusters: IntArray | None = None) -> AverageEffect:
    """Cross-fitted AIPW average effect; for a continuous treatment the partially linear one (Robinson 1988)."""
    if data.binary_treatment:
        return _averaged(data.pseudo_outcome, np.ones_like(data.t), clusters)
    residual_t = data.t - data.propensity
    return _averaged(residual_t * (data.y - data.outcome), residual_t**2, clusters)


def _naive_average(data: EffectData, clusters: IntArray | None) -> AverageEffect:
    centred = data.t - data.t.mean()
    slope = float(centred @ data.y) / float(centred @ centred)
    residual = data.y - data.y.mean() - slope * centred
    influence = centred * residual / float((centred**2).mean())
    uncertainty = of_influence(influence, clusters)
    return AverageEffect(slope, uncertainty.std_error, interval(slope, uncertainty))


def _averaged(numerator: FloatArray, denominator: FloatArray, clusters: IntArray | None) -> AverageEffect:
    value, influence = ratio(numerator, denominator)
    uncertainty = of_influence(influence, clusters)
    return AverageEffect(value, uncertainty.std_error, interval(value, uncertainty))


def _study(data: pd.DataFrame | Study, spec: CausalSpec | None) -> Study:
    if isinstance(data, Study):
        return data
    if spec is None:
        raise EstimationError("a frame alone asks no question; pass the CausalSpec beside it")
    return prepare_study(data, spec)


def _fitted(name: str, function: EffectFunction, data: EffectData) -> Candidate:
    started = time.perf_counter()
    try:
        effect = function(data)
        if not np.isfinite(effect).all():
            raise EstimationError(f"effect function '{name}' gave values that are not finite")
    except (EstimationError, np.linalg.LinAlgError) as error:
        return Candidate(name, error_type=type(error).__name__, error_message=str(error), duration_ms=_since(started))
    return Candidate(name, effect, duration_ms=_since(started))


def _since(started: float) -> float:
    return 1_000.0 * (time.perf_counter() - started)


class _Judged:
    """Candidates with what the strategy minimises and its resamples."""

    def __init__(
        self,
        data: EffectData,
        effects: Mapping[str, FloatArray],
        table: ScoreTable,
        strategy: Strategy,
        draws: int,
        clusters: IntArray | None,
    ) -> None:
        self._effects, self._table, self._strategy = effects, table, strategy
        order = data.canonical_order
        codes = None if clusters is None else np.unique(clusters[order], return_inverse=True)[1]
        self._counts = np.empty((len(order), draws))
        self._counts[order] = resampled_counts(codes, len(order), draws, np.random.default_rng(data.seed))
        self._data = data
        self._rows = {name: r_loss(data, effect).shares for name, effect in effects.items()}
        energy = strategy is Strategy.BEST_ENERGY
        scores = {name: table.scores[name].score for name in effects}
        self.criterion = scores if energy else {name: float(rows.sum()) for name, rows in self._rows.items()}
        self._least = min(self.criterion, key=lambda name: self.criterion[name])

    def error(self, name: str, other: str) -> float:
        """Bootstrap standard error of the difference between two candidates' criteria."""
        if self._strategy is Strategy.BEST_ENERGY:
            return float((self._table.draws[name] - self._table.draws[other]).std(ddof=1))
        return float(((self._rows[name] - self._rows[other]) @ self._counts).std(ddof=1))

    def choice(self) -> tuple[str, float | None, str]:
        """Selected name, gap to the runner-up and the reason in words."""
        names = list(self._effects)
        if self._strategy is Strategy.FIRST_SUCCESS:
            first = next(name for name in names if name not in BASELINES)
            return first, None, f"{first} is the first candidate that answered"
        if self._strategy is Strategy.ENSEMBLE:
            selected, reason = ENSEMBLE, "the mixture of all candidates was asked for"
            if self._constant_stands(ENSEMBLE):
                selected, reason = "constant", "the mixture does not clearly beat one effect for everyone"
        else:
            selected, reason = self._simplest_of_the_best(names)
        rest = [value for name, value in self.criterion.items() if name != selected]
        return selected, min(rest) - self.criterion[selected], reason

    def _constant_stands(self, rival: str) -> bool:
        difference = self.criterion["constant"] - self.criterion[rival]
        return difference <= HETEROGENEITY_ERRORS * self.error("constant", rival)

    def _simplest_of_the_best(self, names: Sequence[str]) -> tuple[str, str]:
        least = self._least
        if least not in BASELINES and self._constant_stands(least):
            return "constant", f"no effect function clearly beats one effect for everyone (the best, {least}, does not)"
        for name in names:
            difference = self.criterion[name] - self.criterion[least]
            if name != least and difference <= TIE_ERRORS * self.error(name, least):
                return name, f"{name} is simpler than {least} and within one standard error of it"
            if name == least:
                break
        return least, f"{least} has the least {'energy score' if self._is_energy else 'R-loss'}"

    @property
    def _is_energy(self) -> bool:
        return self._strategy is Strategy.BEST_ENERGY

    def completed(self, candidate: Candidate, average: AverageEffect) -> Candidate:
        """The candidate with its scores; a failed one as it is."""
        name = candidate.name
        if candidate.effect is None:
            return candidate
        scored, arms = self._table.scores[name], self._data.binary_treatment
        return Candidate(
            name=name,
            effect=candidate.effect,
            energy=scored,
            r_loss=scored.r_loss,
            dr_loss=scored.loss if arms else None,
            criterion=self.criterion[name],
            excess=self.criterion[name] - self.criterion[self._least],
            excess_error=0.0 if name == self._least else self.error(name, self._least),
            average=average,
            duration_ms=candidate.duration_ms,
        )
