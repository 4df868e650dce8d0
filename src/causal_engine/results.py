"""What an analysis returns: frozen values that carry their meaning, JSON-safe."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport
from src.causal_engine.heterogeneity.report import HeterogeneityReport
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.spec import Design, Estimand


class Verdict(StrEnum):
    """What may be said about cause and effect."""

    SUPPORTED = "causal effect supported"
    ASSOCIATION_ONLY = "association only"
    NO_DETECTABLE_EFFECT = "no detectable effect"
    UNDERPOWERED = "underpowered"
    NOT_IDENTIFIED = "not identified"


class Gate(StrEnum):
    """What the refutation tests allow."""

    PROCEED = "proceed"
    REVIEW = "review"
    BLOCK = "block"
    NO_EFFECT = "no_effect"


@dataclass(frozen=True, slots=True)
class Interval:
    lower: float
    upper: float

    def covers(self, value: float) -> bool:
        """Whether ``value`` lies inside, ends included."""
        return self.lower <= value <= self.upper


@dataclass(frozen=True, slots=True)
class SegmentEffect:
    """Effect within one level of an effect modifier."""

    column: str
    segment: str
    value: float
    std_error: float
    ci: Interval
    n: int


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One place of an effect that was estimated along an axis; ``n`` counts the units it rests on."""

    at: float
    value: float
    std_error: float
    ci: Interval
    n: int


DOSE_AXIS = "dose"
ADOPTION_AXIS = "periods since adoption"


@dataclass(frozen=True, slots=True)
class EffectProfile:
    """How an effect runs along an axis: "periods since adoption" or "dose"; intervals hold point by point."""

    axis: str
    points: tuple[ProfilePoint, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class EffectEstimate:
    """A point estimate with its 95 % interval, in units of the outcome per unit of treatment.

    ``adjusted_for`` names columns (not one-hot levels). ``label`` tells apart estimates of one
    specification curve ("all confounders", "without prior volume").
    """

    estimator: str
    estimand: Estimand
    value: float
    std_error: float
    se_method: str
    ci: Interval
    p_value: float
    n: int
    n_treated: int | None
    n_dropped: int
    adjusted_for: tuple[str, ...]
    label: str = ""
    segments: tuple[SegmentEffect, ...] = ()
    diagnostics: tuple[tuple[str, float], ...] = ()
    profile: EffectProfile | None = None

    def diagnostic(self, name: str) -> float | None:
        """Value of a named diagnostic ("first_stage_f"), or None."""
        return dict(self.diagnostics).get(name)


@dataclass(frozen=True, slots=True)
class FailedEstimate:
    """An estimator that could not answer, and why; it is reported, never replaced."""

    estimator: str
    label: str
    error: str
    message: str


@dataclass(frozen=True, slots=True)
class ExcludedNode:
    """A column kept out of the adjustment set, and its role: mediator, collider, instrument…"""

    name: str
    role: str
    reason: str


@dataclass(frozen=True, slots=True)
class Identification:
    """How, and whether, the effect is identified from the assumptions given.

    ``strategy``: randomization, discontinuity, back_door, front_door, instrument, fixed_effects, declared
    (confounders listed by the analyst without a graph) or none.
    """

    identified: bool
    strategy: str
    design: Design
    adjustment_set: tuple[str, ...]
    alternatives: tuple[tuple[str, ...], ...]
    instruments: tuple[str, ...]
    mediators: tuple[str, ...]
    excluded: tuple[ExcludedNode, ...]
    assumptions: tuple[str, ...]
    reasons: tuple[str, ...]
    nodes: tuple[str, ...] = ()
    edges: tuple[tuple[str, str], ...] = ()
    latent: tuple[str, ...] = ()
    version_hash: str = ""


@dataclass(frozen=True, slots=True)
class RejectedOption:
    """A design or an estimator that was not taken, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DesignChoice:
    """Which design and estimators answer, and by which facts about question and data.

    ``estimators``: the one whose answer is given, then those shown beside it. ``facts``: name and
    value of everything that the decision looked at, in words.
    """

    design: Design
    estimators: tuple[str, ...]
    reasons: tuple[str, ...]
    rejected: tuple[RejectedOption, ...]
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """Standardised mean difference of one covariate between arms, before and after weighting."""

    covariate: str
    smd_raw: float
    smd_weighted: float | None


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """Distribution of the estimated propensity by arm.

    ``share_outside`` is the share of units (of treated units for ATT, SATT) with propensity outside
    [.02, .98]; ``effective_n_*`` is (Σw)²/Σw² of the inverse-probability weights. ``bins`` are the
    edges of ``counts_treated``/``counts_control`` (length len(bins) − 1).
    """

    min_propensity: float
    max_propensity: float
    share_outside: float
    effective_n_treated: float
    effective_n_control: float
    auc: float
    bins: tuple[float, ...]
    counts_treated: tuple[int, ...]
    counts_control: tuple[int, ...]

    @property
    def adequate(self) -> bool:
        """At most 10 % of units outside [.02, .98]."""
        return self.share_outside <= 0.10


@dataclass(frozen=True, slots=True)
class PowerReport:
    """Minimum detectable effect at 80 % power, two-sided 5 %, in outcome units per unit of treatment."""

    n: int
    n_clusters: int | None
    minimum_detectable_effect: float
    smallest_effect_of_interest: float
    smallest_effect_source: str
    adequate: bool
    n_needed: int


@dataclass(frozen=True, slots=True)
class ConfoundingFinding:
    """A measured pre-treatment column that is neither adjusted for nor excluded by its role."""

    column: str
    smd: float
    p_value: float


@dataclass(frozen=True, slots=True)
class LeadTest:
    """Does next period's treatment 'explain' this period's outcome? If so treatment follows outcome."""

    lead: int
    value: float
    std_error: float
    p_value: float
    passed: bool
    ratio_to_effect: float


@dataclass(frozen=True, slots=True)
class PanelDiagnostics:
    n_units: int
    n_periods: int
    leads: tuple[LeadTest, ...]
    pre_trend_p_value: float | None
    pre_trend_note: str
    pooled_elasticity: float | None
    pooled_semi_elasticity: float | None
    pooled_std_error: float | None
    treatment_varies_within: float
    staggered: bool
    lag_profile: tuple[tuple[int, float, float], ...] = ()

    @property
    def passed(self) -> bool:
        """Leads are silent and pre-trends, where testable, are parallel."""
        trend_ok = self.pre_trend_p_value is None or self.pre_trend_p_value >= 0.05
        return trend_ok and all(lead.passed for lead in self.leads)


@dataclass(frozen=True, slots=True)
class RefutationTest:
    """One attempt to break the estimate. ``passed`` is None when not applicable."""

    name: str
    critical: bool
    weight: float
    applicable: bool
    passed: bool | None
    statistic: float | None
    threshold: float | None
    detail: str
    draws: int = 0


@dataclass(frozen=True, slots=True)
class RefutationReport:
    tests: tuple[RefutationTest, ...]
    score: float | None
    gate: Gate
    reasons: tuple[str, ...]
    random_state: int

    def test(self, name: str) -> RefutationTest:
        """The test of that name; KeyError when it was not run."""
        return {test.name: test for test in self.tests}[name]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A hypothetical confounder ``multiple`` times as strong as a measured one, and what it would leave."""

    covariate: str
    multiple: float
    r2_treatment: float
    r2_outcome: float
    adjusted_estimate: float
    adjusted_ci: Interval


@dataclass(frozen=True, slots=True)
class SensitivityReport:
    """How strong an unmeasured confounder must be to explain the estimate away."""

    e_value: float
    e_value_limit: float
    risk_ratio: float
    robustness_value: float | None
    robustness_value_alpha: float | None
    benchmarks: tuple[Benchmark, ...]
    fragile: bool
    statement: str


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The answer in words: deterministic, no number that is not in the results."""

    verdict: Verdict
    confidence: str
    headline: str
    findings: tuple[str, ...]
    assumptions: tuple[str, ...]
    limitations: tuple[str, ...]
    recommendations: tuple[str, ...]
    would_change: tuple[str, ...]
    warnings: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Analysis:
    """Everything one causal question returned; what the report and ``e2i show`` are made of.

    ``primary`` is None when the effect is not identified or no estimate could be made;
    ``curve`` is the specification curve (other estimators, other control definitions), ``naive``
    the unadjusted contrast.
    """

    treatment: str
    outcome: str
    n_rows: int
    identification: Identification
    primary: EffectEstimate | None
    naive: EffectEstimate | None
    curve: tuple[EffectEstimate, ...]
    failures: tuple[FailedEstimate, ...]
    overlap: OverlapReport | None
    balance: tuple[BalanceRow, ...]
    power: PowerReport | None
    panel: PanelDiagnostics | None
    confounding: tuple[ConfoundingFinding, ...]
    refutation: RefutationReport | None
    sensitivity: SensitivityReport | None
    conclusion: Conclusion
    choice: DesignChoice | None = None
    heterogeneity: HeterogeneityReport | None = None
    mediation: MediationReport | None = None
    discontinuity: DiscontinuityReport | None = None
