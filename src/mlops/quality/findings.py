"""How is what was found put into words, without showing anything personal?"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.contracts.checking import HIDDEN
from src.contracts.describe import ColumnRule, RuleKind, describe_failure
from src.contracts.expectations import ExpectationDeclaration
from src.contracts.model import TableContract
from src.mlops.quality.engine import Outcome, evaluate
from src.mlops.quality.frames import typed
from src.mlops.quality.reading import Reading
from src.mlops.quality.result import FailedExpectation, QualityScores
from src.mlops.quality.suites import ROW_COUNT, columns_of

if TYPE_CHECKING:
    import pandas as pd

_FILLING = {"expect_column_values_to_not_be_null", "expect_column_values_to_be_null"}
# Great Expectations flags every row of a group of equal ones; here the first of them counts as right.
UNIQUE = {"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"}


@dataclass(frozen=True, slots=True)
class Findings:
    """What a validation found, before it is judged. ``approximate`` names the expectations judged by estimates."""

    failed: tuple[FailedExpectation, ...]
    evaluated: int
    scores: QualityScores
    rows: int
    approximate: tuple[str, ...] = ()


@dataclass(slots=True)
class TypeTally:
    """Values of one column that cannot be read as its type."""

    rule: ColumnRule
    count: int
    rows: list[Hashable]


def failed_expectation(
    table: TableContract,
    declaration: ExpectationDeclaration,
    outcome: Outcome,
    rows: tuple[Hashable, ...],
    count: int | None,
    *,
    of_rows: int,
    approximate: bool = False,
) -> FailedExpectation:
    """``declaration`` as it failed; ``rows`` name the first of the ``count`` broken ones among ``of_rows``."""
    columns = columns_of(declaration)
    personal = not table.personal_columns.isdisjoint(columns)
    return FailedExpectation(
        id=declaration.id,
        type=declaration.type,
        kwargs={key: _plain(value) for key, value in declaration.kwargs.items()},
        columns=columns,
        observed=_observed(declaration, outcome, personal, of_rows),
        critical=declaration.critical,
        count=count,
        rows=rows,
        approximate=approximate,
        error=_error(outcome.error, personal),
    )


def outcomes_of(
    table: TableContract,
    frame: pd.DataFrame,
    declarations: Sequence[ExpectationDeclaration],
    counted: Collection[str] = (),
) -> dict[str, Outcome]:
    """What Great Expectations says of ``frame``, which was read by the contract, at positions.

    A value that could not be read is neither empty nor anything else: whether a cell is filled is asked
    of the frame as it is, everything else of the values that could be read.
    """
    readable_only = typed(frame, table)
    if readable_only is frame:
        return evaluate(frame, declarations, counted=counted)
    about_filling = [one for one in declarations if one.type in _FILLING]
    others = [one for one in declarations if one.type not in _FILLING]
    found = evaluate(frame, about_filling, counted=counted)
    return found | evaluate(readable_only, others, counted=counted)


def broken_positions(frame: pd.DataFrame, declaration: ExpectationDeclaration, outcome: Outcome) -> list[int]:
    """Rows of ``frame`` (labelled by position) that break ``declaration``; of equal keys all but the first."""
    positions = list(outcome.positions)
    if positions and declaration.type in UNIQUE:
        keys = frame.loc[positions, list(_key(declaration))].astype(object)
        return keys.index[keys.duplicated(keep="first")].tolist()
    return positions


def _key(declaration: ExpectationDeclaration) -> tuple[str, ...]:
    listed = declaration.kwargs.get("column_list")
    return tuple(listed) if listed is not None else (str(declaration.kwargs["column"]),)


def misread(table: TableContract, reading: Reading, labels: pd.Index, most: int) -> Iterator[TypeTally]:
    """Per column, the values that are no value of its type; row labels of the first ``most``."""
    for column in table.columns:
        rule = ColumnRule(column, RuleKind.TYPE)
        positions = reading.broken.get(rule.name)
        if positions is not None:
            yield TypeTally(rule, len(positions), labels.take(positions[:most]).tolist())


def type_failures(table: TableContract, tallies: Iterable[TypeTally], rows: int) -> tuple[FailedExpectation, ...]:
    """A failed expectation per column with misread values, so that no other expectation can pass them over."""
    return tuple(
        FailedExpectation(
            id=f"{table.name}.{tally.rule.name}",
            type="expect_column_values_to_be_of_type",
            kwargs={"column": tally.rule.column.name, "type_": str(tally.rule.column.dtype)},
            columns=tally.rule.columns,
            observed=f"{tally.count:,} of {rows:,} rows: {describe_failure(tally.rule)}",
            critical=tally.rule.critical,
            count=tally.count,
            rows=tuple(tally.rows),
        )
        for tally in tallies
    )


def _observed(declaration: ExpectationDeclaration, outcome: Outcome, personal: bool, rows: int) -> str:
    if outcome.error is not None:
        return "no outcome"
    if outcome.unexpected and declaration.type in UNIQUE:
        return f"{outcome.unexpected:,} of {rows:,} rows share their value with another row"
    if outcome.unexpected:
        return f"{outcome.unexpected:,} of {rows:,} rows"
    if declaration.type == "expect_column_to_exist":
        return "the column is missing"
    if declaration.type == ROW_COUNT:
        return f"{outcome.observed:,} rows"
    return HIDDEN if personal else str(_plain(outcome.observed))


def _error(error: str | None, personal: bool) -> str | None:
    """The library quotes values in its messages."""
    return error if error is None or not personal else "it cannot be evaluated (the message may show personal values)"


def _plain(value: Any) -> Any:
    """``value`` as JSON can hold it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)
