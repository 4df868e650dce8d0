"""How is a table that is too large for one frame held to its contract by both layers?"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Hashable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from src.app.contract_rows import ContractRows, OnRows, in_batches
from src.contracts.checking import RuleFailure
from src.contracts.coercion import coerce_frame
from src.contracts.describe import describe_failure, find_rule
from src.contracts.model import TableContract
from src.contracts.rules import OneValuePerRule
from src.errors import DataUnavailable
from src.mlops.pandera_schemas import checked_frame
from src.mlops.quality.combined import CombinedValidation, MergedIssue, SchemaValidation, combine
from src.mlops.quality.configuration import DataQualityConfig
from src.mlops.quality.frames import at_positions, readable, row_labels, typed
from src.mlops.quality.streaming import contract_keys
from src.mlops.quality.uniqueness import KeyLedger, ValueLedger

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Positions = npt.NDArray[np.int64]


@dataclass(slots=True)
class _BrokenRule:
    """``first``: the first failures, of ``count`` rows (None: a whole column is at fault)."""

    first: list[RuleFailure] = field(default_factory=list)
    count: int | None = 0


class SchemaTally:
    """What Pandera finds in a table, added up over its batches; of each rule the first ``rows_named`` rows are kept.

    A rule over all rows (a repeated key, a contradiction) is decided over all batches: first ``add`` each;
    then, if ``needs_second_pass``, ``compare`` each again in the same order; then take the ``result``.
    """

    def __init__(self, table: TableContract, rows_named: int) -> None:
        self._table, self._most = table, rows_named
        self._broken: dict[str, _BrokenRule] = {}
        self._keys: dict[str, KeyLedger] = {}
        self._values: dict[str, ValueLedger] = {}
        self._contradicting: dict[str, Positions] = {}
        self._contradicting_labels: dict[str, list[Hashable]] = {}
        self._rows = self._compared = 0
        self._unfinished: SchemaValidation | None = None

    def add(self, frame: pd.DataFrame) -> None:
        """Take in the next batch."""
        if self._rows == 0:
            self._open_ledgers(frame.columns)
        found, check = checked_frame(self._table, readable(frame, self._table), offset=self._rows)
        self._rows += len(frame)
        if check is None:
            self._unfinished = self._unfinished or found
            return
        over_all_rows = {*self._keys, *self._values}
        for failure in found.errors:
            if failure.rule not in over_all_rows:
                self._note(failure)
        values = typed(check.frame, self._table)
        for keys in self._keys.values():
            keys.add(values)
        for contradictions in self._values.values():
            contradictions.add(values)

    def conclude(self) -> None:
        """All batches were added."""
        self._contradicting = {name: ledger.contradicting() for name, ledger in self._values.items()}

    @property
    def needs_second_pass(self) -> bool:
        """Whether rows were found that only another look can compare and name."""
        if self._unfinished is not None or self._compared == self._rows:
            return False
        return any(ledger.has_suspects for ledger in self._keys.values()) or any(map(len, self._contradicting.values()))

    def compare(self, frame: pd.DataFrame) -> None:
        """Look at the same batch again."""
        labels = row_labels(frame, self._table, self._compared)
        named = {name for ledger in self._keys.values() for name in ledger.columns}
        keys = at_positions(frame)[[name for name in frame.columns if name in named]]
        values = typed(coerce_frame(self._table, keys), self._table)
        for ledger in self._keys.values():
            if ledger.has_suspects:
                ledger.compare(self._compared, values, labels)
        for name, positions in self._contradicting.items():
            known = self._contradicting_labels.setdefault(name, [])
            here = positions[(positions >= self._compared) & (positions < self._compared + len(frame))]
            known += labels.take(here[: self._most - len(known)] - self._compared).tolist()
        self._compared += len(frame)

    def result(self) -> SchemaValidation:
        """The outcome over all batches; a batch that could not be checked makes it no pass.

        Raises DataUnavailable when the second pass saw another number of rows.
        """
        if self._unfinished is not None:
            return dataclasses.replace(self._unfinished, rows_validated=self._rows)
        if self._compared not in (0, self._rows):
            raise DataUnavailable(
                f"{self._table.name} changed while it was validated: {self._rows:,} rows, then {self._compared:,}"
            )
        self._decide_over_all_rows()
        errors = tuple(failure for broken in self._broken.values() for failure in broken.first)
        status: Literal["passed", "failed"] = "failed" if errors else "passed"
        total = sum(broken.count or 1 for broken in self._broken.values())
        return SchemaValidation(status, errors, total, self._rows, self._table.name)

    def counted(self, issue: MergedIssue) -> MergedIssue:
        """``issue`` with the number of rows over all batches."""
        broken = self._broken.get(issue.rule)
        if broken is None or broken.count is None or issue.count is None:
            return issue
        return dataclasses.replace(issue, count=broken.count)

    def _open_ledgers(self, columns: Iterable[object]) -> None:
        there = {str(name) for name in columns}
        for name, key in contract_keys(self._table, there).items():
            self._keys[name] = KeyLedger(*key, rows_named=self._most)
        for rule in self._table.row_rules:
            if isinstance(rule, OneValuePerRule) and there.issuperset(rule.columns):
                self._values[rule.name] = ValueLedger(rule.key, rule.value)

    def _decide_over_all_rows(self) -> None:
        for name, ledger in self._keys.items():
            found = ledger.result()
            self._put(name, ledger.labels(found, self._most), len(found.repeated))
        for name, positions in self._contradicting.items():
            self._put(name, self._contradicting_labels.get(name, ()), len(positions))

    def _put(self, name: str, labels: Iterable[Hashable], count: int) -> None:
        rule = find_rule(self._table, name)
        if not count or rule is None:
            return
        failure = RuleFailure(", ".join(rule.columns), name, describe_failure(rule), "", None, rule.critical)
        first = [dataclasses.replace(failure, index=label) for label in labels]
        self._broken[name] = _BrokenRule(first or [failure], count)

    def _note(self, failure: RuleFailure) -> None:
        broken = self._broken.setdefault(failure.rule, _BrokenRule())
        if len(broken.first) < self._most:
            broken.first.append(failure)
        broken.count = None if failure.index is None or broken.count is None else broken.count + 1


class _Passes:
    """Gives the batches as often as they are asked for; whole passes are held to the schema as well."""

    def __init__(self, rows: ContractRows, config: DataQualityConfig, on_rows: OnRows) -> None:
        self._rows, self._settings, self._on_rows = rows, config.batches, on_rows
        self._tally: SchemaTally | None = None

    def frames(self) -> AsyncIterator[pd.DataFrame]:
        """The batches from the first."""
        return self._tallied() if self._tally is None else self._batches()

    async def schema(self) -> tuple[SchemaTally, SchemaValidation]:
        """What the schema says of all batches."""
        if self._tally is None:
            async for _ in self._tallied():
                continue
        tally = self._tally
        assert tally is not None
        if await asyncio.to_thread(lambda: tally.needs_second_pass):
            async for frame in self._batches():
                await asyncio.to_thread(tally.compare, frame)
        return tally, await asyncio.to_thread(tally.result)

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
    tally, schema = await passes.schema()
    return await asyncio.to_thread(
        combine, rows.table, schema, quality, rows_named=config.batches.rows_named, counted=tally.counted
    )
