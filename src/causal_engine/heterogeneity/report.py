"""What was found about whose effect is larger: frozen values, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["more", "less", "keep"]


@dataclass(frozen=True, slots=True)
class Bounded:
    """A value with its 95 % limits."""

    value: float
    lower: float
    upper: float

    @property
    def positive(self) -> bool:
        """Whether everything within the limits is above zero."""
        return self.lower > 0.0


@dataclass(frozen=True, slots=True)
class TriedEffect:
    """One effect function that competed, with its scores (lower is better), or why it has none.

    ``excess`` is its R-loss above the least one, ``excess_se`` the bootstrap error of that; ``variants``
    are the energy scores of the literature, for comparison.
    """

    name: str
    r_loss: float | None = None
    dr_loss: float | None = None
    energy: Bounded | None = None
    distance: float | None = None
    energy_loss: float | None = None
    variants: tuple[tuple[str, float], ...] = ()
    criterion: float | None = None
    excess: float | None = None
    excess_se: float | None = None
    average: Bounded | None = None
    average_se: float | None = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class SelectionSummary:
    """Which effect function was chosen among which, and why.

    ``n_learnt`` of the ``n`` rows taught the functions (in five folds); all rows judge them.
    """

    strategy: str
    selected: str
    reason: str
    gap: float | None
    n: int
    n_learnt: int
    tried: tuple[TriedEffect, ...]
    average: Bounded
    average_se: float
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class CalibrationTest:
    """Do the predicted effects go with the measured ones?

    ``slope``: by how much the effect grows per unit of predicted effect; 1 if the predictions are
    right, 0 if they are noise. ``p_value`` is one-sided against 0.
    """

    slope: Bounded
    p_value: float


@dataclass(frozen=True, slots=True)
class EffectGroup:
    """Effect in one group of units sorted by predicted effect (1: the smallest), limits simultaneous over groups."""

    rank: int
    predicted: float
    effect: Bounded
    n: int


@dataclass(frozen=True, slots=True)
class SegmentFinding:
    """Effect in a segment and how it differs from that of all other units; limits simultaneous over all segments."""

    column: str
    segment: str
    effect: Bounded
    difference: Bounded
    n: int


@dataclass(frozen=True, slots=True)
class HiddenSegment:
    """A segment that is not shown, and why."""

    column: str
    segment: str
    reason: str


@dataclass(frozen=True, slots=True)
class SegmentTest:
    """Does any segment differ from the rest? ``p_value`` is that of the largest difference among all."""

    p_value: float
    segments: int


@dataclass(frozen=True, slots=True)
class UpliftPoint:
    """Gain per unit of the population when the ``share`` with the largest predicted effects is treated.

    Against nobody treated; ``above_random`` is what it has over the same share drawn by lot. Limits
    hold for all points of the curve at once.
    """

    share: float
    gain: Bounded
    above_random: Bounded


@dataclass(frozen=True, slots=True)
class UpliftCurve:
    """The Qini curve with ``qini``, the mean height above lot, and ``autoc``, the mean advantage of the top shares."""

    points: tuple[UpliftPoint, ...]
    qini: Bounded
    autoc: Bounded


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """What a rule for whom to treat brings per unit of the population, relative to today.

    ``share_treated`` (a continuous treatment: units added per unit); ``outcome`` in outcome units,
    ``net`` in money where costs were given. ``rule_minus`` is the effect rule's advantage over this one.
    """

    name: str
    share_treated: float
    outcome: Bounded
    net: Bounded | None
    rule_minus: Bounded | None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do in one segment: ``action`` is more, less, or keep; totals over the segment's units.

    ``extra_outcome``, ``extra_cost`` and ``net`` are changes against today; ``regret`` is the most that
    the action may lose against the best of the three, within simultaneous 95 % limits (in money with
    costs, else in outcome units). ``break_even`` is the cost of one treatment, in outcome units, above
    which it does not pay.
    """

    column: str
    segment: str
    n: int
    action: Action
    extra_treatment: float
    extra_outcome: Bounded
    extra_cost: float | None
    net: Bounded | None
    regret: float
    break_even: Bounded


@dataclass(frozen=True, slots=True)
class HeterogeneityReport:
    """Whether effects differ between units, and what follows for whom to treat.

    ``found`` is the only ground for saying that effects differ: one of the tests, adjusted for there
    being two where modifiers were named (``p_value``). With a ``refusal`` there is nothing else.
    """

    selected: str
    found: bool = False
    p_value: float | None = None
    refusal: str | None = None
    modifiers: tuple[str, ...] = ()
    modifiers_named: bool = False
    continuous_treatment: bool = False
    selection: SelectionSummary | None = None
    calibration: CalibrationTest | None = None
    groups: tuple[EffectGroup, ...] = ()
    top_minus_bottom: Bounded | None = None
    segments: tuple[SegmentFinding, ...] = ()
    segment_test: SegmentTest | None = None
    hidden: tuple[HiddenSegment, ...] = ()
    uplift: UpliftCurve | None = None
    policies: tuple[PolicyValue, ...] = ()
    decisions: tuple[Decision, ...] = ()
    cost_per_unit: float | None = None
    value_per_outcome: float | None = None
    notes: tuple[str, ...] = ()
