"""Whom should one treat, what would that bring, and in which segments is more or less worth it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from src.causal_engine.estimators.inference import interval, of_influence
from src.causal_engine.heterogeneity.report import Action, Bounded, Decision, PolicyValue
from src.causal_engine.heterogeneity.scores import TWICE_LEARNT, EffectScores
from src.causal_engine.heterogeneity.segments import Segment, group_means
from src.causal_engine.heterogeneity.simultaneous import Simultaneous
from src.causal_engine.study import FloatArray

BY_EFFECT = "treat where the predicted effect pays"
EVERYBODY, NOBODY, TODAY = "treat everybody", "treat nobody", "as today"
ONE_MORE_WHERE, ONE_MORE = "one unit more where the predicted effect pays", "one unit more for everybody"
MORE: Action = "more"
LESS: Action = "less"
KEEP: Action = "keep"


@dataclass(frozen=True, slots=True)
class Prices:
    """What one treatment costs and one unit of the outcome is worth, in the same money; None: not said."""

    cost_per_unit: float | None = None
    value_per_outcome: float | None = None

    @property
    def known(self) -> bool:
        """Whether net values can be told."""
        return self.cost_per_unit is not None and self.value_per_outcome is not None

    def pays(self, effect: FloatArray) -> np.ndarray:
        """Where an effect is worth its treatment; without prices, where it raises the outcome."""
        if self.cost_per_unit is None or self.value_per_outcome is None:
            return effect > 0.0
        return effect * self.value_per_outcome > self.cost_per_unit


def policy_values(scores: EffectScores, predicted: FloatArray, prices: Prices) -> tuple[PolicyValue, ...]:
    """Values of the rule by out-of-fold effects ``predicted`` (n,) and of its alternatives, against today.

    Doubly robust and cross-fitted (Athey & Wager 2021, sec. 2.2; Zhou, Athey & Wager 2023): each rule's
    outcome is the mean of the scores of the arm it gives. ``rule_minus`` is in money with prices, else in the
    outcome, its error times ``TWICE_LEARNT``.
    """
    rule = prices.pays(predicted).astype(np.float64)
    arms = _rules(scores, rule)
    worth = {name: _net(outcome, used, prices) for name, (outcome, used) in arms.items()}
    own = next(iter(arms))
    return tuple(
        PolicyValue(
            name=name,
            share_treated=float((used + scores.own).mean()),
            outcome=_mean(outcome, scores),
            net=_mean(worth[name], scores) if prices.known else None,
            rule_minus=None if name == own else _mean(worth[own] - worth[name], scores, TWICE_LEARNT),
        )
        for name, (outcome, used) in arms.items()
    )


def decisions(
    segments: list[Segment], scores: EffectScores, prices: Prices, rng: np.random.Generator
) -> tuple[Decision, ...]:
    """More, less or keep in each segment, with what that changes against today.

    "More" treats everybody in the segment (one unit more each, for a continuous treatment), "less"
    nobody (one unit less). An action is taken only where simultaneous 95 % limits over all segments
    and both actions leave it no loss against today; of two such the one that is worth more. Nothing is
    decided between fewer than two segments. Without prices it is told what the outcome gains,
    and at which cost of a treatment that stops to pay; then no cost is weighed, and "less" is for where
    treatment lowers the outcome.
    """
    if len(segments) < 2:
        return ()
    more, less = _changes(scores)
    net = np.hstack([group_means(_net(*each, prices), segments)[1] for each in (more, less)])
    net_values = np.concatenate([group_means(_net(*each, prices), segments)[0] for each in (more, less)])
    nets = Simultaneous(net, scores.clusters, rng).bounded(net_values)
    gain_parts = [group_means(each[0], segments) for each in (more, less)]
    gains = Simultaneous(np.hstack([part[1] for part in gain_parts]), scores.clusters, rng).bounded(
        np.concatenate([part[0] for part in gain_parts])
    )
    effect, influence = group_means(scores.effect, segments)
    per_treatment = Simultaneous(influence, scores.clusters, rng).bounded(effect)
    k, found = len(segments), []
    for i, segment in enumerate(segments):
        options: dict[Action, Bounded] = {MORE: nets[i], LESS: nets[k + i]}
        sure = [name for name, value in options.items() if value.positive]
        action = max(sure, key=lambda name: options[name].value, default=KEEP)
        place = {MORE: i, LESS: k + i}.get(action)
        used = 0.0 if place is None else float((more, less)[place >= k][1][segment.rows].sum())
        found.append(
            _decision(segment, action, _at(gains, place), _at(nets, place), used, prices, options, per_treatment[i])
        )
    return tuple(found)


def _decision(
    segment: Segment,
    action: Action,
    gain: Bounded,
    net: Bounded,
    used: float,
    prices: Prices,
    options: dict[Action, Bounded],
    break_even: Bounded,
) -> Decision:
    return Decision(
        column=segment.column,
        segment=segment.name,
        n=segment.n,
        action=action,
        extra_treatment=used,
        extra_outcome=_times(gain, segment.n),
        extra_cost=None if prices.cost_per_unit is None else prices.cost_per_unit * used,
        net=_times(net, segment.n) if prices.known else None,
        regret=segment.n * _regret(action, options),
        break_even=break_even,
    )


def _regret(action: Action, options: dict[Action, Bounded]) -> float:
    """The most that ``action`` may lose per unit against keeping or the other action, at the limits."""
    if action == KEEP:
        return max(0.0, *(value.upper for value in options.values()))
    other = options[LESS if action == MORE else MORE]
    return max(0.0, -options[action].lower, other.upper - options[action].lower)


def _at(values: Sequence[Bounded], place: int | None) -> Bounded:
    return Bounded(0.0, 0.0, 0.0) if place is None else values[place]


def _times(value: Bounded, n: int) -> Bounded:
    return Bounded(n * value.value, n * value.lower, n * value.upper)


Change = tuple[FloatArray, FloatArray]
"""Change of outcome and of treatment against today, each (n,)."""


def _changes(scores: EffectScores) -> tuple[Change, Change]:
    ones = np.ones_like(scores.effect)
    if scores.untreated is None:
        return (scores.effect, ones), (-scores.effect, -ones)
    return (scores.treated - scores.today, 1 - scores.own), (scores.untreated - scores.today, -scores.own)


def _rules(scores: EffectScores, rule: FloatArray) -> dict[str, Change]:
    nothing = np.zeros_like(rule)
    (more, more_used), (less, less_used) = _changes(scores)
    if scores.untreated is None:
        return {ONE_MORE_WHERE: (rule * more, rule), ONE_MORE: (more, more_used), TODAY: (nothing, nothing)}
    by_effect = rule * more + (1 - rule) * less, rule * more_used + (1 - rule) * less_used
    return {
        BY_EFFECT: by_effect,
        EVERYBODY: (more, more_used),
        NOBODY: (less, less_used),
        TODAY: (nothing, nothing),
    }


def _net(outcome: FloatArray, used: FloatArray, prices: Prices) -> FloatArray:
    if prices.cost_per_unit is None or prices.value_per_outcome is None:
        return outcome
    return prices.value_per_outcome * outcome - prices.cost_per_unit * used


def _mean(values: FloatArray, scores: EffectScores, wider: float = 1.0) -> Bounded:
    value = float(values.mean())
    limits = interval(value, of_influence(wider * (values - value), scores.clusters))
    return Bounded(value, limits.lower, limits.upper)
