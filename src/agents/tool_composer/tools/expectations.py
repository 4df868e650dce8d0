"""How is an outlook told: its skill, the expected rate, and the groups that stand out? Never a single prescriber."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.contract import ToolInputs
from src.agents.tool_composer.tools.history import History
from src.agents.tool_composer.tools.outlook import Outlook, Skill
from src.agents.tool_composer.tools.telling import NOT_SHOWN, SHARE, Telling, in_words
from src.causal_engine.wording import number, plain
from src.domain.findings import StatementKind
from src.domain.small_cells import SMALLEST_CELL, hidden_groups, is_small, suppressed_rows
from src.errors import TooFewRows

TOP_GROUPS = 3


@dataclass(frozen=True, slots=True)
class Words:
    """How an event is spoken of: they are expected to "reach 5 NRx per month" in the next ``horizon`` months.

    ``kind`` is that of a statement about groups with a high rate (opportunity or warning); ``amounts`` are the numbers
    that define the event: name, value and unit. ``among`` are those it can happen to.
    """

    event: str
    horizon: int
    kind: StatementKind
    amounts: tuple[tuple[str, float, str], ...] = ()
    among: str = "at risk"

    @property
    def ahead(self) -> str:
        """The months ahead."""
        return "next month" if self.horizon == 1 else f"next {self.horizon} months"


def told(
    inputs: ToolInputs,
    history: History,
    outlook: Outlook,
    words: Words,
    by: Sequence[str],
    threshold: float,
    caveats: Sequence[str],
) -> ToolOutput:
    """Expected rates overall and by group, if the past shows that they can be told; the base rate alone, if not.

    Raises TooFewRows where fewer than eleven units are at risk now.
    """
    n = len(outlook.probability)
    if is_small(n):
        raise TooFewRows(
            f"fewer than {SMALLEST_CELL} prescribers are {words.among} now; expectations would describe single ones"
        )
    telling = Telling(inputs)
    telling.figure(f"prescribers {words.among} now", n, "prescribers")
    telling.figure("months ahead", words.horizon, "months")
    for name, value, unit in words.amounts:
        telling.figure(name, value, unit)
    _say_skill(telling, outlook.skill)
    for caveat in caveats:
        telling.say(StatementKind.CAVEAT, caveat)
    if not outlook.skill.usable:
        return telling.output(_without_ranking(telling, outlook.skill, words), (), history.n_rows, "low")
    rate = telling.figure("expected rate", *_rate(outlook, np.ones(n, dtype=np.bool_)))
    _say_above(telling, outlook, threshold, words)
    rows: list[dict[str, Any]] = []
    for column in by:
        rows += _groups(telling, outlook, column, words)
    if any(row["suppressed"] for row in rows):
        telling.say(StatementKind.CAVEAT, NOT_SHOWN)
    telling.say(
        StatementKind.ASSUMPTION, "The coming months are like the past ones: nothing new happens in the market."
    )
    summary = (
        f"Of {in_words(n, 'prescribers')} {words.among}, {rate} are expected to {words.event} in the {words.ahead}."
    )
    return telling.output(summary, rows, history.n_rows, "moderate")


def _say_skill(telling: Telling, skill: Skill) -> None:
    low, high = skill.auc_interval or (None, None)
    auc = telling.figure("AUC on later months", skill.auc, "", low, high)
    brier = telling.figure("Brier score on later months", skill.brier, "")
    base = telling.figure("Brier score of the base rate", skill.brier_of_base_rate, "")
    low, high = skill.slope_interval or (None, None)
    slope = telling.figure("calibration slope on later months", skill.slope, "", low, high)
    telling.figure("cases in training", skill.n_train, "cases")
    n_test = telling.figure("cases in the test", skill.n_test, "cases")
    telling.say(
        StatementKind.CAVEAT,
        f"Judged on {n_test} of later months: AUC {auc}, Brier score {brier} (base rate {base}), "
        f"calibration slope {slope}.",
    )
    if skill.usable:
        top, seen = (
            telling.figure(name, value, SHARE)
            for name, value in (
                ("rate in the top fifth", skill.top_rate),
                ("rate on later months", skill.observed_rate),
            )
        )
        telling.say(
            StatementKind.FINDING,
            f"In the test, {top} of the fifth with the highest scores had the event, {seen} of all.",
        )


def _without_ranking(telling: Telling, skill: Skill, words: Words) -> str:
    rate = telling.figure("rate on later months", skill.observed_rate, SHARE)
    telling.say(
        StatementKind.CAVEAT,
        "The model is not better than the base rate on months it has not seen, so no groups are ranked by it.",
    )
    return (
        f"Who will {words.event} in the {words.ahead} cannot be told from these rows: the AUC on later months is "
        f"{number(skill.auc)}, and the best expectation for every group is the rate seen last, {rate}."
    )


def _rate(outlook: Outlook, rows: np.ndarray) -> tuple[float, str, float, float]:
    mean, lower, upper = outlook.rate(rows)
    return mean, SHARE, lower, upper


def _say_above(telling: Telling, outlook: Outlook, threshold: float, words: Words) -> None:
    above = int((outlook.probability >= threshold).sum())
    n = len(outlook.probability)
    limit = telling.figure("threshold", threshold, SHARE)
    if hidden_groups({"above": above or n, "below": n - above or n}):
        telling.say(StatementKind.FINDING, f"Too few prescribers to be told of lie on one side of {limit}.")
        return
    share = telling.figure("share at or above the threshold", above / n, SHARE)
    telling.say(StatementKind.FINDING, f"{share} of those {words.among} have a probability of {limit} or more.")


def _groups(telling: Telling, outlook: Outlook, column: str, words: Words) -> list[dict[str, Any]]:
    labels = outlook.profile[column].astype(str).to_numpy()
    levels = np.unique(labels)
    rows, outstanding = [], set()
    for level in levels:
        members = np.asarray(labels == level, dtype=np.bool_)
        mean, lower, upper = outlook.rate(members)
        if outlook.stands_out(members, len(levels)):
            outstanding.add(level)
        rows.append({"by": column, "group": level, "n": int(members.sum()), "expected_rate": mean, "lower": lower,
                     "upper": upper})  # fmt: skip
    shown = suppressed_rows(rows, ("by", "group"))
    order = sorted(shown, key=lambda row: (row["suppressed"] is not None, -(row["expected_rate"] or 0.0), row["group"]))
    told_ = [row for row in order if row["suppressed"] is None]
    for row in told_:
        telling.figure(f"expected rate: {plain(column)} {row['group']}", row["expected_rate"], SHARE, row["lower"],
                       row["upper"])  # fmt: skip
    above = [row for row in told_ if row["group"] in outstanding][:TOP_GROUPS]
    for row in above:
        expected = in_words(row["expected_rate"], SHARE, row["lower"], row["upper"])
        telling.say(
            words.kind,
            f"{plain(column)} {row['group']} stands out from all others: {expected} are expected to {words.event}.",
        )
    if told_ and not above:
        telling.say(StatementKind.FINDING, f"By {plain(column)}, no group stands out beyond chance.")
    return [dict(row) for row in order]
