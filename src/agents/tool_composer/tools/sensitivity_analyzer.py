"""How strong would a hidden common cause have to be to explain the estimate away?"""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import EstimatorName, Lag, OutcomeColumn, TreatmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.studies import ask, fitted_effect, unit_of_effect
from src.agents.tool_composer.tools.telling import SHARE, Telling
from src.agents.tool_composer.tools.verdicts import tell_estimate
from src.causal_engine.results import Benchmark, EffectEstimate, SensitivityReport
from src.causal_engine.sensitivity.report import sensitivity_report
from src.causal_engine.wording import interval, number, plain
from src.domain.findings import StatementKind


class SensitivityAnalyzerArguments(ToolArguments):
    """Which estimate: that of the effect of ``treatment`` on ``outcome``."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    lag: Lag = None
    estimator: EstimatorName = None


def compute(inputs: ToolInputs, arguments: SensitivityAnalyzerArguments) -> ToolOutput:
    """E-values, robustness values and benchmarks. Raises EstimationError where there is no estimate."""
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag, estimator=arguments.estimator)
    held = asked.fitted()
    estimate = fitted_effect(held).estimate
    report = sensitivity_report(held.study, estimate, asked.identification.design)
    telling = Telling(inputs)
    words = tell_estimate(telling, "effect", estimate, unit_of_effect(held.study))
    _tell(telling, report)
    summary = (
        f"The estimated effect of {plain(arguments.treatment)} on {plain(arguments.outcome)}, {words}, "
        f"{_in_short(estimate, report)}."
    )
    return telling.output(summary, [_row(one) for one in report.benchmarks], held.study.n)


def _in_short(estimate: EffectEstimate, report: SensitivityReport) -> str:
    if report.robustness_value_alpha is None:
        return "does not rest on having measured every common cause, by its design"
    if estimate.ci.covers(0.0):
        return "has an interval that covers no effect: there is nothing for a hidden common cause to explain away"
    fragile = "is fragile (one as strong as a measured covariate would do) and " if report.fragile else ""
    return (
        f"{fragile}would be explained away by a hidden common cause that accounts for "
        f"{number(100 * report.robustness_value_alpha)} % of what is left of both (E-value of the interval "
        f"{number(report.e_value_limit)})"
    )


def _tell(telling: Telling, report: SensitivityReport) -> None:
    telling.figure("e_value", report.e_value, "risk ratio")
    telling.figure("e_value_limit", report.e_value_limit, "risk ratio")
    telling.figure("robustness_value", report.robustness_value, SHARE)
    telling.figure("robustness_value_limit", report.robustness_value_alpha, SHARE)
    telling.say(StatementKind.FINDING, report.statement)
    if report.fragile:
        telling.say(
            StatementKind.WARNING,
            "Sensitive to hidden confounding: a confounder as strong as one already measured could explain it.",
        )
    for one in report.benchmarks:
        left = telling.figure(
            f"left_by[{one.multiple:g} x {one.covariate}]",
            one.adjusted_estimate,
            "",
            one.adjusted_ci.lower,
            one.adjusted_ci.upper,
        )
        telling.say(
            StatementKind.WOULD_CHANGE,
            f"A hidden common cause {number(one.multiple)} times as strong as {plain(one.covariate)} would leave "
            f"{left}.",
        )


def _row(one: Benchmark) -> dict[str, object]:
    return {
        "covariate": one.covariate,
        "multiple": one.multiple,
        "r2_treatment": one.r2_treatment,
        "r2_outcome": one.r2_outcome,
        "left": one.adjusted_estimate,
        "interval": interval(one.adjusted_ci),
    }


TOOL = ComposerTool(
    "sensitivity_analyzer",
    "Says how strong an unmeasured common cause of treatment and outcome would have to be to explain an estimated "
    "effect away (E-value, robustness value, multiples of measured covariates).",
    SensitivityAnalyzerArguments,
    "panel",
    compute,
    cost=5.0,
)
