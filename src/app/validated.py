"""What is told of a validated table: the verdict, which layers ran, and every broken rule in words?"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from src.contracts.describe import describe_failure, find_rule
from src.contracts.model import Range, TableContract
from src.mlops.quality.configuration import Thresholds, Weights
from src.mlops.quality.result import DataQualityResult, FailedExpectation

PANDERA = "Pandera"
GREAT_EXPECTATIONS = "Great Expectations"
ROWS_SHOWN = 5
_STATISTIC = {
    "expect_column_mean_to_be_between": "the mean of {column}",
    "expect_column_stdev_to_be_between": "the standard deviation of {column}",
    "expect_column_proportion_of_unique_values_to_be_between": "the share of distinct values of {column}",
}


@dataclass(frozen=True, slots=True)
class BrokenRule:
    """A rule that does not hold. ``rows`` are the labels of the first of ``count`` rows (None: the whole table).

    ``usual``: not part of the contract but of what is usual in the table; such a rule warns and never
    blocks alone. ``error`` says why a rule could not be evaluated.
    """

    rule: str
    column: str
    words: str
    critical: bool
    layers: tuple[str, ...]
    count: int | None = None
    rows: tuple[Hashable, ...] = ()
    approximate: bool = False
    usual: bool = False
    observed: str = ""
    error: str | None = None

    @property
    def weight(self) -> str:
        """critical, usual or ordinary: what breaking it means."""
        return "critical" if self.critical else "warns only" if self.usual else "ordinary"

    def first_rows(self) -> str:
        """The first labels, and how many more there are."""
        shown = ", ".join(str(label) for label in self.rows[:ROWS_SHOWN])
        more = (self.count or len(self.rows)) - min(len(self.rows), ROWS_SHOWN)
        return f"{shown} and {more:,} more" if shown and more > 0 else shown


@dataclass(frozen=True, slots=True)
class Validated:
    """One validation. ``layers`` maps a layer to passed, warning, failed, skipped, error or not run.

    ``labels`` says what a row label is ("line", or the key column); ``stored`` whether the report is in the
    database, ``alerted`` whether all who were to be told were.
    """

    source: str
    labels: str
    result: DataQualityResult
    layers: Mapping[str, str]
    broken: tuple[BrokenRule, ...]
    weights: Weights
    thresholds: Thresholds
    notes: tuple[str, ...] = ()
    stored: bool = False
    alerted: bool = False

    @property
    def score(self) -> float | None:
        """Weighted score between 0 and 1, None when no dimension was measured."""
        return self.result.scores.weighted(self.weights.model_dump())

    @property
    def opens_gate(self) -> bool:
        """Whether the data may be used: every layer ran, and none blocks. A warning lets through."""
        ran = all(status in ("passed", "warning", "failed") for status in self.layers.values())
        return ran and not self.result.blocking and "failed" not in self.layers.values()

    def document(self) -> dict[str, Any]:
        """JSON form; row labels are whole numbers or text."""
        return {
            "source": self.source,
            "labels": self.labels,
            "passed": self.result.passed,
            "blocking": not self.opens_gate,
            "score": self.score,
            "gate_score": self.thresholds.gate_score,
            "layers": dict(self.layers),
            "broken_rules": [
                {**asdict(rule), "rows": [label if isinstance(label, int) else str(label) for label in rule.rows]}
                for rule in self.broken
            ],
            "notes": list(self.notes),
            "stored": self.stored,
            "alerted": self.alerted,
            "result": self.result.to_dict(),
        }


def score_text(score: float, digits: int = 3) -> str:
    """A score with ``digits`` decimals; only a perfect one is written as 1."""
    text = f"{score:.{digits}f}"
    return f">{1 - 10**-digits:.{digits}f}" if score < 1 and float(text) == 1 else text


def rule_words(table: TableContract, failed: FailedExpectation) -> str:
    """Say what should have held, in words a person can act on."""
    name = rule_name(failed)
    if name == "row_count":
        return "there must be at least one row"
    if (rule := find_rule(table, name)) is not None and not is_usual(failed):
        return describe_failure(rule)
    return _statistic_words(failed)


def rule_name(failed: FailedExpectation) -> str:
    """The rule of the contract behind an expectation: its id without table and number."""
    return failed.id.split(".", 1)[-1].split("#")[0]


def is_usual(failed: FailedExpectation) -> bool:
    """Whether an expectation is about what is usual rather than about the contract."""
    return rule_name(failed).startswith("stat_")


def _statistic_words(failed: FailedExpectation) -> str:
    column, kwargs = ", ".join(failed.columns), failed.kwargs
    bounds = Range(kwargs.get("min_value"), kwargs.get("max_value"))
    share = f" in at least {kwargs['mostly']:.0%} of the rows" if "mostly" in kwargs else ""
    if failed.type == "expect_column_values_to_not_be_null":
        return f"{column} is usually filled{share}"
    if bounds == Range():
        return failed.type.replace("_", " ")
    return f"{_STATISTIC.get(failed.type, '{column}').format(column=column)} is usually {bounds}{share}"
