"""Which rows of a file break the data contract: where, with which value, against which rule?"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import BinaryIO

from src.errors import RowsRejected

MASK = "***"


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One broken rule on one row. ``line`` is the line of the file, 1 being the header.

    ``column`` joins several names with ", " when the rule is between columns. ``value`` is ``***``
    for personal columns. ``rule`` says in words what the value should have been.
    """

    line: int
    column: str
    value: str
    rule: str


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load did. ``rejected`` is in line order and capped; ``rejected_total`` counts broken rules.

    ``rows_rejected`` counts rows. ``ignored_columns`` are in the file but not in the contract.
    """

    table: str
    rows_read: int
    rows_loaded: int
    rejected: tuple[RejectedRow, ...]
    rejected_total: int
    rows_rejected: int
    ignored_columns: tuple[str, ...]
    seconds: float


class LoadRejected(RowsRejected):
    """A load was rolled back because rows break the contract; ``report`` says which."""

    def __init__(self, report: LoadReport) -> None:
        self.report = report
        first = report.rejected[0]
        super().__init__(
            f"{report.table}: nothing was loaded, {report.rows_rejected:,} of {report.rows_read:,} rows break the "
            f"contract; first: line {first.line}, {first.column} = {first.value}: {first.rule}"
        )


@dataclass
class RejectionLog:
    """Collects rejections: the first ``max_reported`` in memory, all of them in ``sink`` when given."""

    max_reported: int
    sink: BinaryIO | None = None
    reported: list[RejectedRow] = field(default_factory=list)
    total: int = 0

    def __post_init__(self) -> None:
        self._write("line", "column", "value", "rule")

    def add(self, row: RejectedRow) -> None:
        """Record one broken rule."""
        self.total += 1
        if len(self.reported) < self.max_reported:
            self.reported.append(row)
        self._write(str(row.line), row.column, row.value, row.rule)

    def in_line_order(self) -> tuple[RejectedRow, ...]:
        """What was reported, by line."""
        return tuple(sorted(self.reported, key=lambda row: (row.line, row.column, row.rule)))

    def _write(self, *fields: str) -> None:
        if self.sink is not None:
            buffer = io.StringIO(newline="")
            csv.writer(buffer).writerow(fields)
            self.sink.write(buffer.getvalue().encode())
