"""How is a verdict on an effect told: figures, sentences and one row per estimate?"""

from __future__ import annotations

from typing import Any

from src.agents.tool_composer.tools.telling import SHARE, Telling
from src.causal_engine.conclusion import Evidence, conclude
from src.causal_engine.results import Conclusion, EffectEstimate, PanelDiagnostics, Verdict
from src.domain.findings import StatementKind

EFFECT, ASSOCIATION = "effect", "association"


def tell_verdict(telling: Telling, evidence: Evidence) -> Conclusion:
    """Record the figures and every sentence of the engine's conclusion from ``evidence``."""
    conclusion = conclude(evidence)
    tell_figures(telling, evidence, conclusion.verdict)
    for kind, sentences in (
        (StatementKind.FINDING, conclusion.findings),
        (StatementKind.WARNING, conclusion.warnings),
        (StatementKind.RECOMMENDATION, conclusion.recommendations),
        (StatementKind.CAVEAT, conclusion.limitations),
        (StatementKind.ASSUMPTION, conclusion.assumptions),
        (StatementKind.WOULD_CHANGE, conclusion.would_change),
    ):
        for sentence in sentences:
            telling.say(kind, sentence)
    return conclusion


def tell_figures(telling: Telling, evidence: Evidence, verdict: Verdict) -> None:
    """The effect, the unadjusted difference, what the data could have shown, and what the tests found.

    An estimate that is association only is called so: nothing that plans with an effect may take it for one.
    """
    outcome, unit = evidence.outcome, evidence.unit
    if outcome.primary is not None:
        tell_estimate(telling, ASSOCIATION if verdict is Verdict.ASSOCIATION_ONLY else EFFECT, outcome.primary, unit)
    if outcome.naive is not None:
        tell_estimate(telling, "unadjusted_difference", outcome.naive, unit)
    if outcome.power is not None:
        telling.figure("minimum_detectable_effect", outcome.power.minimum_detectable_effect, unit)
        telling.figure("smallest_effect_of_interest", outcome.power.smallest_effect_of_interest, unit)
        telling.figure("rows_needed", outcome.power.n_needed, "rows")
    if outcome.panel is not None:
        _tell_panel(telling, outcome.panel, unit)
    if evidence.refutation is not None:
        ran = [test for test in evidence.refutation.tests if test.applicable]
        telling.figure("tests_passed", sum(test.passed is True for test in ran), "tests")
        telling.figure("tests_run", len(ran), "tests")
    if evidence.sensitivity is not None:
        telling.figure("e_value_limit", evidence.sensitivity.e_value_limit, "risk ratio")
        telling.figure("robustness_value_limit", evidence.sensitivity.robustness_value_alpha, SHARE)


def _tell_panel(telling: Telling, panel: PanelDiagnostics, unit: str) -> None:
    for lead in panel.leads:
        telling.figure(f"lead_{lead.lead}", lead.value, unit)
        telling.figure(f"lead_{lead.lead}_p_value", lead.p_value, "p-value")
    telling.figure("pre_trend_p_value", panel.pre_trend_p_value, "p-value")
    telling.figure("pooled_elasticity", panel.pooled_elasticity, "elasticity")
    telling.figure("pooled_semi_elasticity", panel.pooled_semi_elasticity, "log rate per unit")


def tell_estimate(telling: Telling, name: str, estimate: EffectEstimate, unit: str) -> str:
    """Record an estimate with its interval; its words."""
    return telling.figure(name, estimate.value, unit, estimate.ci.lower, estimate.ci.upper)


def estimate_row(name: str, estimate: EffectEstimate, unit: str, conclusion: Conclusion) -> dict[str, Any]:
    """An estimate as a row of a table, beside the verdict on the question."""
    return {
        "estimate": name,
        "verdict": conclusion.verdict.value,
        "confidence": conclusion.confidence,
        "estimator": estimate.estimator,
        "estimand": estimate.estimand.value,
        "value": estimate.value,
        "lower": estimate.ci.lower,
        "upper": estimate.ci.upper,
        "p_value": estimate.p_value,
        "n_rows": estimate.n,
        "unit": unit,
    }
