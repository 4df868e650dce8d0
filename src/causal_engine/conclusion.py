"""What may be said, how sure, and what would change it? Deterministic: no number that is not in the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from src.causal_engine.diagnostics.discontinuity_report import DiscontinuityReport
from src.causal_engine.heterogeneity.report import HeterogeneityReport
from src.causal_engine.heterogeneity.wording import heterogeneity_findings, heterogeneity_limits
from src.causal_engine.mediation.report import MediationReport
from src.causal_engine.mediation.wording import mediation_findings, mediation_limits
from src.causal_engine.results import (
    Analysis,
    BalanceRow,
    Conclusion,
    ConfoundingFinding,
    DesignChoice,
    EffectEstimate,
    FailedEstimate,
    Gate,
    Identification,
    OverlapReport,
    PanelDiagnostics,
    PowerReport,
    RefutationReport,
    SensitivityReport,
    Verdict,
)
from src.causal_engine.spec import CausalSpec, Design, Estimand
from src.causal_engine.wording import effect_sentence, effect_unit, interval, number, plain
from src.domain.small_cells import SMALLEST_CELL

MAX_SHARE_DROPPED = 0.5
MIN_RANDOMIZATION_P = 0.001
_WHOSE = {
    Estimand.SATE: "The estimate and its interval are about the units in the data, not about others like them.",
    Estimand.SATT: "The estimate and its interval are about the treated units in the data, not about others like them.",
    Estimand.ATO: (
        "The estimate averages over units that might have been treated or not, those with the least predictable "
        "treatment most; it says little about units almost sure to be treated, or not to be."
    ),
}


@dataclass(frozen=True, slots=True)
class EstimationOutcome:
    """What estimation found: the primary estimate, or why there is none, and everything shown beside it.

    ``doubts``: demands of the design that the data do not meet, each a clause in words.
    """

    n_rows: int
    binary_treatment: bool
    binary_outcome: bool
    primary: EffectEstimate | None
    refusal: FailedEstimate | None
    naive: EffectEstimate | None
    curve: tuple[EffectEstimate, ...]
    failures: tuple[FailedEstimate, ...]
    overlap: OverlapReport | None
    balance: tuple[BalanceRow, ...]
    power: PowerReport | None
    panel: PanelDiagnostics | None
    confounding: tuple[ConfoundingFinding, ...]
    warnings: tuple[str, ...]
    randomization_p_value: float | None = None
    choice: DesignChoice | None = None
    heterogeneity: HeterogeneityReport | None = None
    mediation: MediationReport | None = None
    discontinuity: DiscontinuityReport | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a conclusion is drawn from."""

    spec: CausalSpec
    identification: Identification
    outcome: EstimationOutcome
    refutation: RefutationReport | None = None
    sensitivity: SensitivityReport | None = None

    @property
    def unit(self) -> str:
        """Unit of the effect in words."""
        return effect_unit(self.spec, binary=self.outcome.binary_treatment, binary_outcome=self.outcome.binary_outcome)


def conclude(evidence: Evidence) -> Conclusion:
    """Draw the conclusion the evidence allows."""
    verdict, reasons = decide_verdict(evidence)
    return Conclusion(
        verdict=verdict,
        confidence=_confidence(evidence, verdict),
        headline=_headline(evidence, verdict, reasons),
        findings=_findings(evidence),
        assumptions=evidence.identification.assumptions,
        limitations=_limitations(evidence),
        recommendations=_recommendations(evidence, verdict),
        would_change=_would_change(evidence, verdict),
        warnings=_warnings(evidence),
        reasons=reasons,
    )


def to_analysis(evidence: Evidence, conclusion: Conclusion) -> Analysis:
    """Evidence and conclusion as the one result that is stored and reported."""
    outcome = evidence.outcome
    return Analysis(
        treatment=evidence.spec.treatment,
        outcome=evidence.spec.outcome,
        n_rows=outcome.n_rows,
        identification=evidence.identification,
        primary=outcome.primary,
        naive=outcome.naive,
        curve=outcome.curve,
        failures=outcome.failures,
        overlap=outcome.overlap,
        balance=outcome.balance,
        power=outcome.power,
        panel=outcome.panel,
        confounding=outcome.confounding,
        refutation=evidence.refutation,
        sensitivity=evidence.sensitivity,
        conclusion=conclusion,
        choice=outcome.choice,
        heterogeneity=outcome.heterogeneity,
        mediation=outcome.mediation,
        discontinuity=outcome.discontinuity,
    )


def decide_verdict(evidence: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and the reasons for it, the decisive one first.

    Order: no identification or no estimate; a broken estimator; no effect seen; then everything
    that keeps an association from being read as an effect.
    """
    outcome, identification = evidence.outcome, evidence.identification
    if not identification.identified:
        return Verdict.NOT_IDENTIFIED if identification.edges else Verdict.ASSOCIATION_ONLY, identification.reasons
    if outcome.primary is None:
        reason = outcome.refusal.message if outcome.refusal else "no estimate could be made"
        return Verdict.NOT_IDENTIFIED, (reason,)
    refutation = evidence.refutation
    if refutation is not None and refutation.gate is Gate.BLOCK:
        return Verdict.ASSOCIATION_ONLY, refutation.reasons
    doubts = (
        *_randomization_doubts(outcome),
        *_panel_doubts(outcome.panel),
        *_confounding_doubts(outcome),
        *_disagreement_doubts(evidence),
        *_trimming_doubts(outcome),
        *outcome.doubts,
    )
    if outcome.primary.ci.covers(0.0):
        return (Verdict.ASSOCIATION_ONLY, doubts) if doubts else _null_verdict(outcome)
    if refutation is None:
        doubts = (*doubts, "the refutation tests did not run")
    elif refutation.gate is Gate.REVIEW:
        doubts = (*doubts, *refutation.reasons)
    if doubts:
        return Verdict.ASSOCIATION_ONLY, doubts
    return Verdict.SUPPORTED, ("the effect is identified under the stated assumptions and no refutation test failed",)


def _null_verdict(outcome: EstimationOutcome) -> tuple[Verdict, tuple[str, ...]]:
    power = outcome.power
    if power is not None and not power.adequate:
        return Verdict.UNDERPOWERED, (
            f"the data could only detect effects of {number(power.minimum_detectable_effect)} or more; "
            f"the smallest effect of interest is {number(power.smallest_effect_of_interest)}",
        )
    return Verdict.NO_DETECTABLE_EFFECT, ("the 95 % interval includes no effect",)


def _panel_doubts(panel: PanelDiagnostics | None) -> tuple[str, ...]:
    if panel is None:
        return ()
    doubts = [
        f"next period's treatment 'explains' this period's outcome (lead {lead.lead}: {number(lead.value)}, "
        f"p = {number(lead.p_value)}): the treatment follows expected outcomes"
        for lead in panel.leads
        if not lead.passed
    ]
    if panel.pre_trend_p_value is not None and panel.pre_trend_p_value < 0.05:
        doubts.append(f"trends differed before treatment began (p = {number(panel.pre_trend_p_value)})")
    return tuple(doubts)


def _confounding_doubts(outcome: EstimationOutcome) -> tuple[str, ...]:
    return tuple(
        f"'{finding.column}' differs between treated and untreated and goes with the outcome, but is not adjusted for"
        for finding in outcome.confounding
    )


def _disagreement_doubts(evidence: Evidence) -> tuple[str, ...]:
    primary = evidence.outcome.primary
    if primary is None:
        return ()
    return tuple(
        f"{other.estimator} with the same adjustment finds the opposite sign ({number(other.value)})"
        for other in _same_adjustment(evidence)
        if other.value * primary.value < 0 and not other.ci.covers(0.0)
    )


def _randomization_doubts(outcome: EstimationOutcome) -> tuple[str, ...]:
    chance = outcome.randomization_p_value
    if chance is None or chance >= MIN_RANDOMIZATION_P:
        return ()
    return (
        f"the arms differ in the named covariates more than chance allows (p = {number(chance)}), "
        "so the treatment was hardly assigned at random",
    )


def _trimming_doubts(outcome: EstimationOutcome) -> tuple[str, ...]:
    primary = outcome.primary
    if primary is None or primary.estimand is not Estimand.ATE_TRIMMED:
        return ()
    if primary.n_dropped <= MAX_SHARE_DROPPED * outcome.n_rows:
        return ()
    share = primary.n_dropped / outcome.n_rows
    return (f"{share:.0%} of the rows have no comparable counterpart and were left out; what remains is a small part",)


def _same_adjustment(evidence: Evidence) -> tuple[EffectEstimate, ...]:
    primary = evidence.outcome.primary
    if primary is None or evidence.identification.design is not Design.OBSERVATIONAL:
        return ()
    return tuple(
        other
        for other in evidence.outcome.curve
        if other.estimator != primary.estimator and set(other.adjusted_for) == set(primary.adjusted_for)
    )


def _disjoint(evidence: Evidence) -> tuple[EffectEstimate, ...]:
    """Estimates with the primary's adjustment whose intervals do not even touch the primary's."""
    primary = evidence.outcome.primary
    if primary is None:
        return ()
    return tuple(
        other
        for other in _same_adjustment(evidence)
        if other.ci.lower > primary.ci.upper or other.ci.upper < primary.ci.lower
    )


def _confidence(evidence: Evidence, verdict: Verdict) -> str:
    if verdict in (Verdict.NOT_IDENTIFIED, Verdict.UNDERPOWERED, Verdict.ASSOCIATION_ONLY):
        return "low"
    if evidence.identification.design is Design.RANDOMIZED:
        return "high"
    fragile = evidence.sensitivity is not None and evidence.sensitivity.fragile
    disputed = 2 * len(_disjoint(evidence)) > len(_same_adjustment(evidence))
    return "low" if disputed or (fragile and verdict is Verdict.SUPPORTED) else "moderate"


def _headline(evidence: Evidence, verdict: Verdict, reasons: tuple[str, ...]) -> str:
    treatment, outcome = plain(evidence.spec.treatment), plain(evidence.spec.outcome)
    primary = evidence.outcome.primary
    if verdict is Verdict.NOT_IDENTIFIED or primary is None:
        opening = (
            f"These data cannot say whether {treatment} changes {outcome}"
            if verdict is Verdict.NOT_IDENTIFIED
            else f"{treatment} and {outcome} may go together, but nothing here shows that one changes the other"
        )
        return f"{opening}: {reasons[0]}." if reasons else f"{opening}."
    numbers = effect_sentence(primary, evidence.unit)
    match verdict:
        case Verdict.SUPPORTED:
            return f"The data support a causal effect of {treatment} on {outcome}: {numbers}."
        case Verdict.NO_DETECTABLE_EFFECT:
            return f"No detectable effect of {treatment} on {outcome}: {numbers}."
        case Verdict.UNDERPOWERED:
            return f"Too little data to tell whether {treatment} changes {outcome}: {numbers}; {reasons[0]}."
        case _:
            return f"{treatment} and {outcome} go together ({numbers}), but this is association only: {reasons[0]}."


def _findings(evidence: Evidence) -> tuple[str, ...]:
    outcome = evidence.outcome
    lines: list[str] = []
    if outcome.primary is not None:
        lines.append(_estimate_line(outcome.primary, evidence.unit))
    if outcome.naive is not None:
        lines.append(f"Without any adjustment the difference is {effect_sentence(outcome.naive, evidence.unit)}.")
    lines.extend(_panel_findings(outcome.panel))
    for segment in outcome.primary.segments if outcome.primary else ():
        if segment.n >= SMALLEST_CELL:
            lines.append(
                f"Where {plain(segment.column)} is {segment.segment}: {number(segment.value)} "
                f"({interval(segment.ci)}, n = {segment.n:,})."
            )
    if outcome.heterogeneity is not None:
        causal = decide_verdict(evidence)[0] not in (Verdict.ASSOCIATION_ONLY, Verdict.NOT_IDENTIFIED)
        lines.extend(heterogeneity_findings(outcome.heterogeneity, causal=causal))
    lines.extend(mediation_findings(outcome.mediation))
    if evidence.refutation is not None:
        ran = [test for test in evidence.refutation.tests if test.applicable]
        passed = sum(test.passed is True for test in ran)
        lines.append(f"{passed} of {len(ran)} refutation tests passed.")
    return tuple(lines)


def _estimate_line(estimate: EffectEstimate, unit: str) -> str:
    adjusted = ", ".join(plain(column) for column in estimate.adjusted_for) or "nothing"
    return (
        f"{estimate.estimator} estimate of the {estimate.estimand.value}: {effect_sentence(estimate, unit)}, "
        f"n = {estimate.n:,}, adjusted for {adjusted}."
    )


def _panel_findings(panel: PanelDiagnostics | None) -> list[str]:
    if panel is None:
        return []
    lines = []
    if panel.pooled_elasticity is not None:
        lines.append(
            f"Pooled over all rows, without unit effects, the elasticity is {number(panel.pooled_elasticity)} "
            f"(a log-rate change of {number(panel.pooled_semi_elasticity or 0.0)} per unit); "
            "units differ, so this is no effect."
        )
    for lead in panel.leads:
        state = "silent" if lead.passed else "not silent"
        lines.append(
            f"Lead test, {lead.lead} period ahead: {number(lead.value)} (p = {number(lead.p_value)}), {state}."
        )
    return lines


def _limitations(evidence: Evidence) -> tuple[str, ...]:
    lines = ["Passing refutation tests does not prove that the assumptions hold."]
    primary, sensitivity = evidence.outcome.primary, evidence.sensitivity
    if sensitivity is not None:
        lines.append(sensitivity.statement)
    if primary is not None and primary.estimand is Estimand.ATE_TRIMMED:
        lines.append(
            f"{primary.n_dropped:,} rows without comparable counterparts were left out; "
            "the estimate holds for the remaining rows only."
        )
    if primary is not None and primary.estimand in _WHOSE:
        lines.append(_WHOSE[primary.estimand])
    if primary is not None and primary.estimand is Estimand.LATE:
        lines.append("The estimate holds for those whom the instrument moves, not for everybody.")
    if primary is not None and primary.estimand is Estimand.AT_CUTOFF:
        lines.append(
            "The estimate holds for units at the cutoff; farther from it the effect may be another."
            if primary.estimator == "rdd"
            else "The estimate holds for units at the cutoff whose treatment the cutoff decides, not for others."
        )
    if primary is not None and primary.estimand is Estimand.WITHIN:
        lines.append(
            "The estimate compares each unit with itself over time; it says nothing about units that never vary."
        )
    lines.extend(heterogeneity_limits(evidence.outcome.heterogeneity))
    lines.extend(mediation_limits(evidence.outcome.mediation))
    return tuple(lines)


def _warnings(evidence: Evidence) -> tuple[str, ...]:
    outcome = evidence.outcome
    lines = list(outcome.warnings)
    if outcome.overlap is not None and not outcome.overlap.adequate:
        lines.append(
            f"Weak overlap: {outcome.overlap.share_outside:.0%} of the rows have a propensity outside .02–.98; "
            "treated and untreated come from different populations (selection); any number depends on the estimator."
        )
    lines.extend(
        f"{other.estimator} finds {number(other.value)} ({interval(other.ci)}), outside the interval of the main "
        "estimate; the answer depends on the form of the adjustment."
        for other in _disjoint(evidence)
    )
    if outcome.primary is not None and _answers_for_population(evidence.spec.estimand, outcome.primary):
        lines.append(
            f"The {evidence.spec.estimand.value} was asked for; {outcome.primary.estimator} answers for the "
            f"population instead ({outcome.primary.estimand.value})."
        )
    elif outcome.primary is not None and _answers_for_others(evidence.spec.estimand, outcome.primary):
        lines.append(
            f"The {evidence.spec.estimand.value} was asked for; {outcome.primary.estimator} answers another question "
            f"({outcome.primary.estimand.value})."
        )
    if evidence.sensitivity is not None and evidence.sensitivity.fragile:
        lines.append(
            "Sensitive to hidden confounding: a confounder as strong as one already measured could explain it."
        )
    lines.extend(_failure_lines(outcome))
    return tuple(dict.fromkeys(lines))


def _answers_for_population(asked: Estimand, estimate: EffectEstimate) -> bool:
    return asked.of_sample and not estimate.estimand.of_sample


def _answers_for_others(asked: Estimand, estimate: EffectEstimate) -> bool:
    """Whether others are averaged over than was asked for; the ATE is what is asked for where nothing is said."""
    return asked is not Estimand.ATE and estimate.estimand not in (asked, asked.of_population, Estimand.ATE_TRIMMED)


def _failure_lines(outcome: EstimationOutcome) -> list[str]:
    """One line per kind of failure, naming the estimators that failed so."""
    named: dict[str, list[str]] = {}
    messages: dict[str, str] = {}
    for failed in outcome.failures:
        named.setdefault(failed.error, []).append(failed.estimator)
        messages.setdefault(failed.error, failed.message)
    return [
        f"{', '.join(dict.fromkeys(estimators))} could not answer: {messages[error]}"
        for error, estimators in named.items()
    ]


def _recommendations(evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
    treatment, primary = plain(evidence.spec.treatment), evidence.outcome.primary
    match verdict:
        case Verdict.SUPPORTED if primary is not None:
            near = primary.ci.lower if primary.value > 0 else primary.ci.upper
            smallest = evidence.spec.minimum_effect
            if smallest is not None and max(abs(primary.ci.lower), abs(primary.ci.upper)) < smallest:
                return (f"The effect is below the smallest that matters ({number(smallest)}): no reason to act on it.",)
            lines = [f"Plan {treatment} with the cautious end of the interval, {number(near)} {evidence.unit}."]
            if evidence.identification.design is not Design.RANDOMIZED:
                lines.append("Confirm with a randomised hold-out before a large reallocation.")
            return tuple(lines)
        case Verdict.NO_DETECTABLE_EFFECT:
            return (
                f"Do not expect {plain(evidence.spec.outcome)} to move with {treatment}; look for a better use of it.",
            )
        case Verdict.UNDERPOWERED if evidence.outcome.power is not None:
            needed = evidence.outcome.power.n_needed
            return (f"Collect about {needed:,} rows before asking again; do not act on this number.",)
        case _:
            return (
                f"Do not plan {treatment} on this number.",
                "A randomised test, or data on what decides who is treated, would answer the question.",
            )


def _would_change(evidence: Evidence, verdict: Verdict) -> tuple[str, ...]:
    lines: list[str] = []
    if evidence.sensitivity is not None and evidence.sensitivity.benchmarks:
        strongest = min(evidence.sensitivity.benchmarks, key=lambda bench: abs(bench.adjusted_estimate))
        lines.append(
            f"A hidden common cause {number(strongest.multiple)} times as strong as {plain(strongest.covariate)} "
            f"would leave {number(strongest.adjusted_estimate)} ({interval(strongest.adjusted_ci)})."
        )
    if verdict is Verdict.NO_DETECTABLE_EFFECT and evidence.outcome.power is not None:
        detectable = number(evidence.outcome.power.minimum_detectable_effect)
        lines.append(f"An effect smaller than {detectable} would need more data to be seen.")
    if verdict in (Verdict.ASSOCIATION_ONLY, Verdict.NOT_IDENTIFIED):
        lines.append(
            "A design that breaks the link between need and treatment: randomisation, an instrument, a staged roll-out."
        )
    if evidence.outcome.confounding:
        names = ", ".join(plain(finding.column) for finding in evidence.outcome.confounding)
        lines.append(
            f"Adjusting for {names} if measured before the treatment; if measured after it, say so (--post-treatment)."
        )
    return tuple(lines)
