"""What does a table too large to be held at once look like, validated batch by batch?"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from src.contracts.describe import table_rules
from src.contracts.expectations import ExpectationDeclaration
from src.contracts.model import Dtype, TableContract
from src.contracts.rules import OneValuePerRule, UniqueTogetherRule
from src.errors import ContractViolation, DataUnavailable
from src.mlops.quality.engine import Outcome, unusable
from src.mlops.quality.findings import (
    UNIQUE,
    Findings,
    TypeTally,
    broken_positions,
    failed_expectation,
    misread,
    outcomes_of,
    type_failures,
)
from src.mlops.quality.frames import typed
from src.mlops.quality.reading import Reading
from src.mlops.quality.result import FailedExpectation
from src.mlops.quality.scores import ScoreTally, is_uniqueness
from src.mlops.quality.suites import ROW_COUNT, ExpectationSuite, columns_of
from src.mlops.quality.uniqueness import Ignored, KeyLedger, Repetition, ValueLedger

if TYPE_CHECKING:
    import pandas as pd

_MEAN = "expect_column_mean_to_be_between"
_STDEV = "expect_column_stdev_to_be_between"
_PROPORTION = "expect_column_proportion_of_unique_values_to_be_between"
_WHOLE = {*UNIQUE, _MEAN, _STDEV, _PROPORTION, ROW_COUNT}
# These look at one row at a time, so that their counts add up …
_BY_ROW = (
    "expect_column_values_",
    "expect_column_value_lengths_",
    "expect_column_pair_values_",
    "expect_select_column_values_",
    "expect_multicolumn_sum_",
)
# … but for these, which compare a row with others.
_BY_ORDER = {"expect_column_values_to_be_increasing", "expect_column_values_to_be_decreasing"}
_BY_SHAPE = ("expect_column_to_exist", "expect_table_column")
NOT_BY_BATCH = "it cannot be evaluated batch by batch; validate the table in one frame"


@dataclass(slots=True)
class RowTally:
    """One expectation about single rows, added up over batches."""

    considered: int = 0
    unexpected: int = 0
    holds: bool = True
    rows: list[Hashable] = field(default_factory=list)
    error: str | None = None

    def add(self, outcome: Outcome, broken: list[int], labels: pd.Index, most: int) -> None:
        """Take in the outcome for a batch whose rows are called ``labels``."""
        self.error = self.error or outcome.error
        self.considered += outcome.considered
        self.unexpected += outcome.unexpected
        self.holds = self.holds and outcome.holds
        self.rows += labels.take(broken[: most - len(self.rows)]).tolist()

    def outcome(self, mostly: float) -> Outcome:
        """The outcome for the table; ``mostly`` is the share of the considered that must be as expected."""
        holds = self.holds
        if mostly < 1 and self.considered:
            holds = (self.considered - self.unexpected) / self.considered >= mostly
        return Outcome(holds and self.error is None, self.considered, self.unexpected, error=self.error)


@dataclass(slots=True)
class Moments:
    """Mean and spread of a column, merged by Chan, Golub and LeVeque (1979), equation 2.1."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    error: str | None = None

    def add(self, series: pd.Series[Any]) -> None:
        """Take in the values of a batch; empty ones do not count."""
        import numpy as np
        import pandas as pd

        if not pd.api.types.is_numeric_dtype(series.dtype):
            if series.notna().any():
                self.error = f"TypeError: {series.name} holds values that are not numbers"
            return
        values = series.dropna().to_numpy(dtype=np.float64)
        if not len(values):
            return
        with np.errstate(invalid="ignore", over="ignore"):
            mean = float(values.mean())
            squares = float(np.square(values - mean).sum())
            total, apart = self.count + len(values), np.float64(mean) - self.mean
            self.squares += float(squares + apart**2 * self.count * len(values) / total)
            self.mean = float((self.mean * self.count + mean * len(values)) / total)
            self.count = total

    def figure(self, type_: str) -> float | None:
        """The mean, or the standard deviation of a sample; None of too few values."""
        if type_ == _MEAN:
            return self.mean if self.count else None
        return math.sqrt(self.squares / (self.count - 1)) if self.count > 1 else None


class BatchedValidation:
    """Validates a suite over batches: ``add`` each; then, if ``needs_second_pass``, ``compare`` each; then ``finish``.

    Verdicts and counts are those of one run over the whole table: rows are counted, repeated keys are
    found across batches, means are weighted. Standard deviations are merged and differ from those of one
    run by rounding; they are stated as approximate, and so is uniqueness when more rows look repeated
    than are compared by value. An expectation that cannot be put together from batches fails.
    """

    def __init__(self, suite: ExpectationSuite, columns: Iterable[str], now: datetime, rows_named: int) -> None:
        self.table, self._suite, self._most = suite.table, suite, rows_named
        self.columns = tuple(columns)
        self.rows = 0
        self.compared = 0
        self._refused = self._not_by_batch() | unusable(suite.expectations)
        usable = [one for one in suite.expectations if one.id not in self._refused]
        self._by_row = [one for one in usable if one.type not in _WHOLE]
        self._tallies = {one.id: RowTally() for one in self._by_row}
        self._moments = {one.id: Moments() for one in usable if one.type in (_MEAN, _STDEV)}
        self._ledgers = self._key_ledgers(usable)
        self._contradictions = [
            ValueLedger(rule.key, rule.value)
            for rule in self.table.row_rules
            if isinstance(rule, OneValuePerRule) and self._has(rule.columns)
        ]
        self._types: dict[str, TypeTally] = {}
        self._scores = ScoreTally(self.table, self.columns, now, across_batches=True)

    @property
    def needs_second_pass(self) -> bool:
        """Whether rows look repeated and have to be compared by value."""
        return any(ledger.has_suspects for ledger in self._ledgers.values())

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns ``compare`` looks at, as far as the batches have them."""
        named = dict.fromkeys(name for ledger in self._ledgers.values() for name in ledger.columns)
        return tuple(name for name in named if name in self.columns)

    def add(self, reading: Reading, labels: pd.Index) -> None:
        """Take in the next batch, whose rows are called ``labels``."""
        frame = reading.frame
        self._same_columns(frame)
        self._evaluate(frame, labels)
        values = typed(frame, self.table)
        for name, moments in self._moments.items():
            moments.add(values[self._column(name)])
        for keys in self._ledgers.values():
            keys.add(values)
        for contradictions in self._contradictions:
            contradictions.add(values)
        for found in misread(self.table, reading, labels, self._most):
            known = self._types.setdefault(found.rule.name, TypeTally(found.rule, 0, []))
            known.count += found.count
            known.rows += found.rows[: self._most - len(known.rows)]
        self._scores.add(reading)
        self.rows += len(frame)

    def compare(self, frame: pd.DataFrame, labels: pd.Index) -> None:
        """Look at the same batch again, read by the contract."""
        values = typed(frame, self.table)
        for ledger in self._ledgers.values():
            if ledger.has_suspects:
                ledger.compare(self.compared, values, labels)
        self.compared += len(frame)

    def finish(self) -> Findings:
        """What was found over all batches; DataUnavailable when the second pass saw another number of rows."""
        if self.needs_second_pass and self.compared != self.rows:
            raise DataUnavailable(
                f"{self.table.name} changed while it was validated: {self.rows:,} rows, then {self.compared:,}"
            )
        repetitions = {key: ledger.result() for key, ledger in self._ledgers.items()}
        suite = self._suite.for_rows(self.rows)
        judged = [self._judge(one, repetitions) for one in suite.expectations]
        types = type_failures(self.table, self._types.values(), self.rows)
        scores = self._scores.scores(
            repeated=[repetitions[key].repeated for key in self._contract_keys()],
            contradicting=[ledger.contradicting() for ledger in self._contradictions],
        )
        failed = (*types, *(failure for _, failure in judged if failure is not None))
        approximate = tuple(one.id for one, (estimate, _) in zip(suite.expectations, judged, strict=True) if estimate)
        return Findings(failed, len(judged) + len(types), scores, self.rows, approximate)

    def _not_by_batch(self) -> dict[str, str]:
        refused = {}
        for one in self._suite.expectations:
            if not is_by_batch(one):
                refused[one.id] = NOT_BY_BATCH
            elif one.type in _WHOLE and not self._has(columns_of(one)):
                absent = ", ".join(name for name in columns_of(one) if name not in self.columns)
                refused[one.id] = f"the column {absent} is not in the data"
            elif one.type in UNIQUE and self._is_nested(columns_of(one)):
                refused[one.id] = "lists and objects cannot be compared"
        return refused

    def _has(self, columns: Iterable[str]) -> bool:
        return set(self.columns).issuperset(columns)

    def _is_nested(self, columns: Iterable[str]) -> bool:
        nested = {one.name for one in self.table.columns if one.dtype in (Dtype.JSON, Dtype.LIST)}
        return not nested.isdisjoint(columns)

    def _key_ledgers(self, usable: list[ExpectationDeclaration]) -> dict[Key, KeyLedger]:
        declared = [_key_of(one) for one in usable if one.type in (*UNIQUE, _PROPORTION)]
        keys = dict.fromkeys((*declared, *self._contract_keys()))
        return {key: KeyLedger(*key, rows_named=self._most) for key in keys}

    def _contract_keys(self) -> list[Key]:
        """The keys that no row of the table may repeat, as far as the data has their columns."""
        return list(contract_keys(self.table, self.columns).values())

    def _column(self, identity: str) -> str:
        return next(columns_of(one)[0] for one in self._suite.expectations if one.id == identity)

    def _same_columns(self, frame: pd.DataFrame) -> None:
        seen = {str(name) for name in frame.columns}
        if seen != set(self.columns):
            other = ", ".join(sorted(seen.symmetric_difference(self.columns)))
            raise ContractViolation(
                f"{self.table.name}: not all batches have the same columns; from row {self.rows:,} on: {other}"
            )

    def _evaluate(self, frame: pd.DataFrame, labels: pd.Index) -> None:
        # A share of all rows is decided over all of them, so these are counted in every batch.
        counted = {one.id for one in self._by_row if _mostly(one) < 1}
        outcomes = outcomes_of(self.table, frame, self._by_row, counted)
        for one in self._by_row:
            outcome = outcomes[one.id]
            self._tallies[one.id].add(outcome, broken_positions(frame, one, outcome), labels, self._most)

    def _judge(
        self, one: ExpectationDeclaration, repetitions: Mapping[Key, Repetition]
    ) -> tuple[bool, FailedExpectation | None]:
        """Whether the verdict rests on an estimate, and the failure if it is one."""
        outcome, rows, count, estimate = self._verdict(one, repetitions)
        if outcome.holds:
            return estimate, None
        failure = failed_expectation(self.table, one, outcome, rows, count, of_rows=self.rows, approximate=estimate)
        return estimate, failure

    def _verdict(
        self, one: ExpectationDeclaration, repetitions: Mapping[Key, Repetition]
    ) -> tuple[Outcome, tuple[Hashable, ...], int | None, bool]:
        if one.id in self._refused:
            return Outcome(False, error=self._refused[one.id]), (), None, False
        if one.type == ROW_COUNT:
            return _between(one, self.rows), (), None, False
        if one.id in self._moments:
            moments = self._moments[one.id]
            return _between(one, moments.figure(one.type), moments.error), (), None, one.type == _STDEV
        if one.type in (*UNIQUE, _PROPORTION):
            return self._of_keys(one, repetitions[_key_of(one)])
        tally = self._tallies[one.id]
        rows, count = ((), None) if tally.error else (tuple(tally.rows), tally.unexpected or None)
        return tally.outcome(_mostly(one)), rows, count, False

    def _of_keys(
        self, one: ExpectationDeclaration, found: Repetition
    ) -> tuple[Outcome, tuple[Hashable, ...], int | None, bool]:
        if one.type == _PROPORTION:
            distinct = found.considered - len(found.repeated)
            share = distinct / found.considered if found.considered else None
            return _between(one, share), (), None, not found.compared
        expected = found.considered - found.members
        holds = not found.considered or expected / found.considered >= _mostly(one)
        rows = self._ledgers[_key_of(one)].labels(found, self._most)
        outcome = Outcome(holds, found.considered, found.members)
        return outcome, rows, len(found.repeated), not found.compared


Key = tuple[tuple[str, ...], Ignored]


def _key_of(one: ExpectationDeclaration) -> Key:
    listed = one.kwargs.get("column_list")
    if listed is None:
        return (str(one.kwargs["column"]),), "any_value_is_missing"
    return tuple(listed), one.kwargs.get("ignore_row_if", "all_values_are_missing")


def is_by_batch(one: ExpectationDeclaration) -> bool:
    """Whether the outcome for a table can be put together from those of its batches."""
    if one.type in _WHOLE:
        return one.kwargs.get("row_condition") is None
    return one.type.startswith(_BY_SHAPE) or (one.type.startswith(_BY_ROW) and one.type not in _BY_ORDER)


def contract_keys(table: TableContract, columns: Collection[str]) -> dict[str, Key]:
    """By rule, the key no row may repeat and which rows are left out, for data that has ``columns``.

    Where an empty cell is a value, a column that is absent tells no two rows apart and is no part of the key.
    A rule of which the data has too little to be broken is left out.
    """
    keys: dict[str, Key] = {}
    for rule in table_rules(table):
        there = tuple(name for name in rule.columns if name in columns)
        if isinstance(rule, UniqueTogetherRule) and rule.nulls_equal and there:
            keys[rule.name] = (there, "never")
        elif is_uniqueness(rule) and there == rule.columns:
            keys[rule.name] = (there, "any_value_is_missing")
    return keys


def _mostly(one: ExpectationDeclaration) -> float:
    return float(one.kwargs.get("mostly", 1))


def _between(one: ExpectationDeclaration, figure: float | None, error: str | None = None) -> Outcome:
    if error is not None or figure is None or math.isnan(figure):
        return Outcome(False, observed=None, error=error)
    least, most = one.kwargs.get("min_value"), one.kwargs.get("max_value")
    above = least is None or (figure > least if one.kwargs.get("strict_min") else figure >= least)
    below = most is None or (figure < most if one.kwargs.get("strict_max") else figure <= most)
    return Outcome(above and below, observed=figure)
