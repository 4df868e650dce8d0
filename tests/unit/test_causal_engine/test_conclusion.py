"""Which verdict does which evidence allow, and does the wording stay inside it?"""

from __future__ import annotations

from dataclasses import replace

import pytest

from src.causal_engine.conclusion import EstimationOutcome, Evidence, conclude, to_analysis
from src.causal_engine.results import (
    Analysis,
    ConfoundingFinding,
    EffectEstimate,
    FailedEstimate,
    Gate,
    Identification,
    Interval,
    LeadTest,
    PanelDiagnostics,
    PowerReport,
    RefutationReport,
    SensitivityReport,
    Verdict,
)
from src.causal_engine.serialise import from_json, to_json
from src.causal_engine.spec import CausalSpec, Design, Estimand

SPEC = CausalSpec("rep_calls", "nrx", confounders=("decile",))


def estimate(value: float, lower: float, upper: float, estimator: str = "aipw") -> EffectEstimate:
    return EffectEstimate(
        estimator,
        Estimand.ATE,
        value,
        (upper - lower) / 3.92,
        "if",
        Interval(lower, upper),
        0.01,
        900,
        400,
        0,
        ("decile",),
    )


def identification(
    *, identified: bool = True, design: Design = Design.OBSERVATIONAL, strategy: str = "back_door"
) -> Identification:
    return Identification(
        identified,
        strategy,
        design,
        ("decile",),
        (),
        (),
        (),
        (),
        ("no unmeasured confounding",),
        ("open path via need",),
    )


POWER = PowerReport(900, None, 0.05, 0.1, "0.2 standard deviations", True, 500)


def outcome(primary: EffectEstimate | None = None, **changes: object) -> EstimationOutcome:
    base = EstimationOutcome(
        900, False, False, primary, None, estimate(0.9, 0.8, 1.0, "naive"), (), (), None, (), POWER, None, (), ()
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def refutation(gate: Gate, *reasons: str) -> RefutationReport:
    return RefutationReport((), 1.0, gate, reasons, 1)


GOOD = Evidence(SPEC, identification(), outcome(estimate(0.3, 0.2, 0.4)), refutation(Gate.PROCEED))
LEAD = PanelDiagnostics(30, 20, (LeadTest(1, 0.11, 0.01, 1e-9, False, 0.8),), None, "", 0.14, 0.07, 0.01, 0.5, False)

DOUBTFUL = {
    "blocked by a refutation": replace(GOOD, refutation=refutation(Gate.BLOCK, "placebo finds an effect")),
    "capped at review": replace(GOOD, refutation=refutation(Gate.REVIEW, "subset unstable")),
    "refutations did not run": replace(GOOD, refutation=None),
    "lead not silent": replace(GOOD, outcome=replace(GOOD.outcome, panel=LEAD)),
    "confounder left out": replace(
        GOOD, outcome=replace(GOOD.outcome, confounding=(ConfoundingFinding("volume", 0.4, 1e-6),))
    ),
    "another estimator says the opposite": replace(
        GOOD, outcome=replace(GOOD.outcome, curve=(estimate(-0.3, -0.4, -0.2, "ols"),))
    ),
    "no design and no adjustment": replace(GOOD, identification=identification(identified=False, strategy="none")),
}


def test_clean_evidence_supports_an_effect() -> None:
    conclusion = conclude(GOOD)
    assert conclusion.verdict is Verdict.SUPPORTED
    assert conclusion.headline == (
        "The data support a causal effect of rep calls on NRx: "
        "0.300 NRx per additional unit of rep calls (95 % interval 0.200 to 0.400)."
    )


@pytest.mark.parametrize("evidence", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_any_doubt_leaves_association_only(evidence: Evidence) -> None:
    conclusion = conclude(evidence)
    assert conclusion.verdict is Verdict.ASSOCIATION_ONLY
    assert conclusion.reasons
    assert conclusion.confidence == "low"


NULL = estimate(0.01, -0.1, 0.12)


@pytest.mark.parametrize(
    "doubt",
    [{"panel": LEAD}, {"confounding": (ConfoundingFinding("volume", 0.4, 1e-6),)}, {"randomization_p_value": 1e-8}],
    ids=["lead not silent", "confounder left out", "arms differ"],
)
def test_an_interval_over_zero_does_not_hide_a_doubt(doubt: dict[str, object]) -> None:
    evidence = replace(GOOD, outcome=outcome(NULL, **doubt), refutation=refutation(Gate.NO_EFFECT))
    assert conclude(evidence).verdict is Verdict.ASSOCIATION_ONLY


def test_estimates_that_mostly_contradict_the_main_one_lower_the_confidence() -> None:
    others = (estimate(0.9, 0.8, 1.0, "ols"), estimate(0.95, 0.85, 1.05, "lin"), estimate(0.3, 0.2, 0.4, "ipw"))
    conclusion = conclude(replace(GOOD, outcome=replace(GOOD.outcome, curve=others)))
    assert conclusion.confidence == "low"
    assert sum("outside the interval of the main estimate" in warning for warning in conclusion.warnings) == 2


def test_an_effect_below_the_smallest_that_matters_is_not_recommended() -> None:
    conclusion = conclude(replace(GOOD, spec=replace(SPEC, minimum_effect=5.0)))
    assert conclusion.verdict is Verdict.SUPPORTED
    assert "below the smallest that matters (5.00)" in conclusion.recommendations[0]


@pytest.mark.parametrize(("adequate", "verdict"), [(True, Verdict.NO_DETECTABLE_EFFECT), (False, Verdict.UNDERPOWERED)])
def test_an_interval_over_zero_is_no_effect_only_when_an_effect_would_have_shown(
    adequate: bool, verdict: Verdict
) -> None:
    power = replace(POWER, adequate=adequate, minimum_detectable_effect=0.5, n_needed=4_000)
    evidence = replace(
        GOOD, outcome=outcome(estimate(0.01, -0.1, 0.12), power=power), refutation=refutation(Gate.NO_EFFECT)
    )
    conclusion = conclude(evidence)
    assert conclusion.verdict is verdict
    assert ("4,000" in " ".join(conclusion.recommendations)) is not adequate


def test_the_effect_on_a_yes_no_outcome_is_told_as_a_probability() -> None:
    evidence = replace(GOOD, outcome=replace(GOOD.outcome, binary_treatment=True, binary_outcome=True))
    assert "0.300 in the probability of NRx, with versus without rep calls" in conclude(evidence).headline


def test_without_identification_no_number_is_headlined() -> None:
    drawn = replace(identification(identified=False), edges=(("need", "rep_calls"), ("need", "nrx")))
    evidence = replace(GOOD, identification=drawn, outcome=outcome())
    conclusion = conclude(evidence)
    assert conclusion.verdict is Verdict.NOT_IDENTIFIED
    assert "open path via need" in conclusion.headline
    assert not any(character.isdigit() for character in conclusion.headline)


def test_a_refusal_of_the_estimator_is_the_reason() -> None:
    refusal = FailedEstimate("aipw", "primary", "OverlapViolated", "77 % of the controls have no counterpart")
    conclusion = conclude(replace(GOOD, outcome=outcome(refusal=refusal)))
    assert conclusion.verdict is Verdict.NOT_IDENTIFIED
    assert conclusion.reasons == (refusal.message,)


@pytest.mark.parametrize(
    ("design", "fragile", "confidence"),
    [
        (Design.RANDOMIZED, False, "high"),
        (Design.OBSERVATIONAL, False, "moderate"),
        (Design.OBSERVATIONAL, True, "low"),
    ],
)
def test_confidence_follows_design_and_fragility(design: Design, fragile: bool, confidence: str) -> None:
    sensitivity = SensitivityReport(1.5, 1.2, 1.3, 0.1, 0.05, (), fragile, "stated in words")
    evidence = replace(GOOD, identification=identification(design=design), sensitivity=sensitivity)
    assert conclude(evidence).confidence == confidence


@pytest.mark.parametrize("evidence", [GOOD, *DOUBTFUL.values()], ids=["supported", *DOUBTFUL])
def test_a_causal_effect_is_claimed_only_in_a_supported_headline(evidence: Evidence) -> None:
    conclusion = conclude(evidence)
    claimed = "support a causal effect" in conclusion.headline
    assert claimed is (conclusion.verdict is Verdict.SUPPORTED)
    assert "proves" not in conclusion.headline


@pytest.mark.parametrize("evidence", [GOOD, *DOUBTFUL.values()], ids=["supported", *DOUBTFUL])
def test_an_analysis_survives_json_unchanged(evidence: Evidence) -> None:
    analysis = to_analysis(evidence, conclude(evidence))
    assert from_json(Analysis, to_json(analysis)) == analysis
