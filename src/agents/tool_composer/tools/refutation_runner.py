"""Does the estimate survive attempts to break it on its own rows?"""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import EstimatorName, Lag, OutcomeColumn, TreatmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.studies import TESTING_S, ask, fitted_effect, unit_of_effect
from src.agents.tool_composer.tools.telling import Telling
from src.agents.tool_composer.tools.verdicts import tell_estimate
from src.causal_engine.refutation.refute import refute
from src.causal_engine.results import Gate, RefutationReport, RefutationTest
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind

NO_PROOF = "Passing these tests does not prove that the assumptions hold: no re-estimation sees an unmeasured cause."
MEANING = {
    Gate.PROCEED: "the estimate stands up to the tests",
    Gate.REVIEW: "the estimate needs review before it is used",
    Gate.BLOCK: "the estimate may not be read as an effect",
    Gate.NO_EFFECT: "there is no detectable effect to test",
}


class RefutationRunnerArguments(ToolArguments):
    """Which estimate: that of the effect of ``treatment`` on ``outcome``."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    lag: Lag = None
    estimator: EstimatorName = None


def compute(inputs: ToolInputs, arguments: RefutationRunnerArguments) -> ToolOutput:
    """The refutation tests of the effect's estimate. Raises EstimationError where there is no estimate to refute."""
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag, estimator=arguments.estimator)
    held = asked.fitted()
    report = refute(
        held.study,
        fitted_effect(held),
        random_state=asked.spec.random_state,
        negative_controls=asked.spec.negative_controls,
        time_budget_s=TESTING_S,
    )
    telling = Telling(inputs)
    words = tell_estimate(telling, "effect", fitted_effect(held).estimate, unit_of_effect(held.study))
    _tell(telling, report)
    ran = [test for test in report.tests if test.applicable]
    passed = sum(test.passed is True for test in ran)
    telling.figure("tests_passed", passed, "tests")
    telling.figure("tests_run", len(ran), "tests")
    summary = (
        f"{passed} of {len(ran)} refutation tests of the effect of {plain(arguments.treatment)} on "
        f"{plain(arguments.outcome)}, {words}, passed: {MEANING[report.gate]}."
    )
    return telling.output(summary, [_row(test) for test in report.tests], held.study.n)


def _tell(telling: Telling, report: RefutationReport) -> None:
    telling.figure("refutation_score", report.score, "share of the weight of the tests")
    for test in report.tests:
        if test.statistic is not None:
            telling.figure(test.name, test.statistic, "statistic of the test")
        if not test.applicable:
            telling.say(StatementKind.CAVEAT, f"The test {plain(test.name)} does not apply: {test.detail}.")
            continue
        kind = StatementKind.FINDING if test.passed else StatementKind.WARNING
        telling.say(kind, f"The test {plain(test.name)} {'passed' if test.passed else 'failed'}: {test.detail}.")
    telling.say(StatementKind.CAVEAT, NO_PROOF)


def _row(test: RefutationTest) -> dict[str, object]:
    outcome = "not applicable" if not test.applicable else "passed" if test.passed else "failed"
    return {
        "test": test.name,
        "outcome": outcome,
        "critical": test.critical,
        "statistic": test.statistic,
        "threshold": test.threshold,
        "draws": test.draws,
    }


TOOL = ComposerTool(
    "refutation_runner",
    "Tries to break the estimate of an effect on its own rows: placebo treatments, a random common cause, subsets, "
    "resampling, negative controls.",
    RefutationRunnerArguments,
    "panel",
    compute,
    cost=15.0,
)
