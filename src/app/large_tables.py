"""How is a table that is too large for one frame held to its contract by both layers?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from src.app.contract_rows import ContractRows, OnRows, in_batches
from src.contracts.checking import RuleFailure
from src.contracts.model import TableContract
from src.contracts.rules import OneValuePerRule
from src.mlops.pandera_schemas import validate_dataframe
from src.mlops.quality.combined import CombinedValidation, MergedIssue, SchemaValidation, combine
from src.mlops.quality.configuration import DataQualityConfig
from src.mlops.quality.uniqueness import ValueLedger

if TYPE_CHECKING:
    import pandas as pd


@dataclass(slots=True)
class _BrokenRule:
    """``first``: the first failures, of ``count`` rows (None: a whole column is at fault)."""

    first: list[RuleFailure] = field(default_factory=list)
    count: int | None = 0


class SchemaTally:
    """What Pandera finds in a table, added up over its batches; of each rule the first ``rows_named`` rows are kept.

    A rule over all rows (a repeated key) is seen within a batch only; across batches Great Expectations
    counts it, and contradictions are counted here.
    """

    def __init__(self, table: TableContract, rows_named: int) -> None:
        self._table, self._most = table, rows_named
        self._broken: dict[str, _BrokenRule] = {}
        self._ledgers: dict[str, ValueLedger] = {}
        self._rows = 0
        self._unfinished: SchemaValidation | None = None

    def add(self, frame: pd.DataFrame) -> None:
        """Take in the next batch."""
        found = validate_dataframe(frame, self._table.name)
        if found.status in ("skipped", "error"):
            self._unfinished = self._unfinished or found
        for failure in found.errors:
            self._note(failure)
        for rule in self._table.row_rules:
            if isinstance(rule, OneValuePerRule) and set(rule.columns) <= set(frame.columns):
                self._ledgers.setdefault(rule.name, ValueLedger(rule.key, rule.value)).add(frame)
        self._rows += len(frame)

    def result(self) -> SchemaValidation:
        """The outcome over all batches; a batch that could not be checked makes it no pass."""
        if self._unfinished is not None:
            return dataclasses.replace(self._unfinished, rows_validated=self._rows)
        errors = tuple(failure for broken in self._broken.values() for failure in broken.first)
        status: Literal["passed", "failed"] = "failed" if errors else "passed"
        total = sum(broken.count or 1 for broken in self._broken.values())
        return SchemaValidation(status, errors, total, self._rows, self._table.name)

    def counted(self, issue: MergedIssue) -> MergedIssue:
        """``issue`` with the number of rows over all batches."""
        broken = self._broken.get(issue.rule)
        if broken is None or broken.count is None or issue.count is None:
            return issue
        return dataclasses.replace(issue, count=max(broken.count, issue.count))

    def conclude(self) -> None:
        """Count contradictions between batches."""
        for name, ledger in self._ledgers.items():
            rows = len(ledger.contradicting())
            broken = self._broken.get(name)
            if rows and broken is None:
                self._note(self._contradiction(name))
                broken = self._broken[name]
            if rows and broken is not None:
                broken.count = rows

    def _note(self, failure: RuleFailure) -> None:
        broken = self._broken.setdefault(failure.rule, _BrokenRule())
        if len(broken.first) < self._most:
            broken.first.append(failure)
        broken.count = None if failure.index is None or broken.count is None else broken.count + 1

    def _contradiction(self, name: str) -> RuleFailure:
        from src.contracts.describe import describe_failure, find_rule

        rule = find_rule(self._table, name)
        assert rule is not None
        return RuleFailure(", ".join(rule.columns), name, describe_failure(rule), "", None, rule.critical)


class _Passes:
    """Gives the batches as often as they are asked for; the first whole pass is held to the schema as well."""

    def __init__(self, rows: ContractRows, config: DataQualityConfig, on_rows: OnRows) -> None:
        self._rows, self._settings, self._on_rows = rows, config.batches, on_rows
        self._tally: SchemaTally | None = None

    def frames(self) -> AsyncIterator[pd.DataFrame]:
        """The batches from the first."""
        return self._tallied() if self._tally is None else self._batches()

    async def tally(self) -> SchemaTally:
        """What the schema says of all batches."""
        if self._tally is None:
            async for _ in self._tallied():
                continue
        assert self._tally is not None
        return self._tally

    def _batches(self) -> AsyncIterator[pd.DataFrame]:
        return in_batches(self._rows, self._settings.rows, self._on_rows)

    async def _tallied(self) -> AsyncIterator[pd.DataFrame]:
        tally = SchemaTally(self._rows.table, self._settings.rows_named)
        async for frame in self._batches():
            await asyncio.to_thread(tally.add, frame)
            yield frame
        await asyncio.to_thread(tally.conclude)
        self._tally = tally


async def validate_large(
    rows: ContractRows, split: str | None, config: DataQualityConfig, on_rows: OnRows
) -> CombinedValidation:
    """Both layers over a table batch by batch, merged as for one frame.

    Memory holds one batch and a few numbers per row. Raises DataUnavailable when the rows change meanwhile.
    """
    from src.mlops.data_quality import DataQualityValidator

    passes = _Passes(rows, config, on_rows)
    quality = await DataQualityValidator(config=config).validate_batches(
        passes.frames, rows.table.name, data_split=split
    )
    tally = await passes.tally()
    combined = combine(rows.table, tally.result(), quality, rows_named=config.batches.rows_named)
    return dataclasses.replace(combined, issues=tuple(map(tally.counted, combined.issues)))
