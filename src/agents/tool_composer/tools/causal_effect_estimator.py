"""Did the treatment change the outcome in these rows, by how much, and how far may that be believed?"""

from __future__ import annotations

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.column_arguments import EstimatorName, Lag, OutcomeColumn, TreatmentColumn
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.studies import ask, evidence_of
from src.agents.tool_composer.tools.telling import Telling
from src.agents.tool_composer.tools.verdicts import estimate_row, tell_verdict


class CausalEffectEstimatorArguments(ToolArguments):
    """Which effect: of ``treatment`` on ``outcome``."""

    treatment: TreatmentColumn
    outcome: OutcomeColumn
    lag: Lag = None
    estimator: EstimatorName = None


def compute(inputs: ToolInputs, arguments: CausalEffectEstimatorArguments) -> ToolOutput:
    """The effect with its verdict, from estimate, design diagnostics, refutation tests and sensitivity.

    An effect that is not identified is an answer too; it has no figure ``effect``, and neither has what is association
    only, whose figure is called ``association``.
    """
    asked = ask(inputs, arguments.treatment, arguments.outcome, lag=arguments.lag, estimator=arguments.estimator)
    evidence, _ = evidence_of(asked)
    telling = Telling(inputs)
    conclusion = tell_verdict(telling, evidence)
    found = (("adjusted", evidence.outcome.primary), ("unadjusted", evidence.outcome.naive))
    rows = [estimate_row(name, one, evidence.unit, conclusion) for name, one in found if one is not None]
    return telling.output(conclusion.headline, rows, evidence.outcome.n_rows)


TOOL = ComposerTool(
    "causal_effect_estimator",
    "Estimates by how much one more unit of a treatment changes an outcome, with 95 % interval, tests that try to "
    "break the estimate, and a verdict on whether it may be read as cause and effect.",
    CausalEffectEstimatorArguments,
    "panel",
    compute,
    cost=20.0,
)
