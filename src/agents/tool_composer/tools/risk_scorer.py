"""Which groups of prescribers are at risk of declining in the next months, and how well can that be told?"""

from __future__ import annotations

import numpy as np
from pydantic import Field

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ComposerTool, ToolArguments, ToolInputs
from src.agents.tool_composer.tools.expectations import Words, told
from src.agents.tool_composer.tools.grouping import grouping_columns
from src.agents.tool_composer.tools.history import History, history_of
from src.agents.tool_composer.tools.outlook import Event, outlook_of
from src.agents.tool_composer.tools.panel_rows import rows_of
from src.agents.tool_composer.tools.periods import BoolArray
from src.agents.tool_composer.tools.telling import SHARE, in_words
from src.causal_engine.wording import plain
from src.domain.findings import StatementKind

USUAL_GROUPS = ("region", "specialty", "decile", "brand")


class RiskScorerArguments(ToolArguments):
    """What counts as a decline, within how many months, told for which groups."""

    outcome: str = Field(
        default="nrx", description="Prescriptions whose decline is predicted", examples=["nrx", "trx", "nbrx"]
    )
    drop: float = Field(
        default=0.3,
        gt=0,
        lt=1,
        description="A decline is a monthly mean lower by at least this share than over the months before",
        examples=[0.3, 0.5],
    )
    horizon: int = Field(default=3, ge=1, le=12, description="Months ahead; 3 is the next quarter", examples=[3])
    lookback: int = Field(
        default=6, ge=1, le=24, description="Months before that are read and make the usual level", examples=[6]
    )
    by: tuple[str, ...] = Field(
        default=(), description="Columns to group by; empty: region, specialty, decile, brand", examples=[["region"]]
    )
    features: tuple[str, ...] = Field(
        default=(),
        description="Columns the prediction may use; empty: all of the rows",
        examples=[["rep_calls", "nrx"]],
    )
    threshold: float = Field(
        default=0.5, gt=0, lt=1, description="The share with at least this probability is told", examples=[0.5]
    )


def compute(inputs: ToolInputs, arguments: RiskScorerArguments) -> ToolOutput:
    """Expected decline by group. Raises DataUnavailable, ContractViolation, StudyInvalid and TooFewRows."""
    by = grouping_columns(rows_of(inputs), arguments.by, USUAL_GROUPS)
    history = history_of(inputs, arguments.outcome, arguments.features, by)
    outlook = outlook_of(history, decline(arguments), inputs.context.random_state)
    drop = in_words(arguments.drop, SHARE)
    words = Words(
        f"lose {drop} or more of their {plain(arguments.outcome)}",
        arguments.horizon,
        StatementKind.WARNING,
        (("share to lose", arguments.drop, SHARE),),
    )
    return told(inputs, history, outlook, words, by, arguments.threshold, _caveats(arguments))


def decline(arguments: RiskScorerArguments) -> Event:
    """A monthly mean over the horizon of at most (1 − drop) of that over ``lookback`` months before, if it had any."""

    def usual(history: History, origin: int) -> np.ndarray:
        return history.mean(arguments.outcome, origin - arguments.lookback + 1, origin)

    def at_risk(history: History, origin: int) -> BoolArray:
        return np.asarray(usual(history, origin) > 0, dtype=np.bool_)

    def happened(history: History, origin: int) -> BoolArray:
        ahead = history.mean(arguments.outcome, origin + 1, origin + arguments.horizon)
        return np.asarray(ahead <= (1 - arguments.drop) * usual(history, origin), dtype=np.bool_)

    return Event(arguments.outcome, arguments.horizon, arguments.lookback, at_risk, happened)


def _caveats(arguments: RiskScorerArguments) -> list[str]:
    outcome = plain(arguments.outcome)
    return [
        f"After unusually high {outcome} a return to the usual level counts as a decline too, and small numbers swing "
        "by chance: not every decline is a loss.",
        "A high risk says who will decline, not whom promotion would keep.",
    ]


TOOL = ComposerTool(
    "risk_scorer",
    "Predicts which groups (region, specialty, decile) are at risk of losing a share of their prescriptions in the "
    "next months, with its skill on later months; no single prescribers.",
    RiskScorerArguments,
    "panel",
    compute,
    cost=14.0,
)
