"""Is a table fit to be used? Suites run by Great Expectations, judged, kept, told and stored."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, Unpack

from src.contracts.checking import FrameCheck
from src.contracts.coercion import coerce_frame
from src.contracts.expectations import ExpectationDeclaration
from src.contracts.model import TableContract
from src.contracts.tables import ALIASES, TABLES
from src.domain.alerts import AlertSeverity
from src.errors import ContractViolation, DataQualityCheckpointError, nearest_names
from src.mlops.quality.configuration import DataQualityConfig, Thresholds, load_data_quality_config
from src.mlops.quality.engine import missing
from src.mlops.quality.findings import (
    Findings,
    broken_positions,
    failed_expectation,
    misread,
    outcomes_of,
    type_failures,
)
from src.mlops.quality.frames import at_positions, readable, row_labels
from src.mlops.quality.reading import Reading, read, reading_of
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from src.mlops.quality.scores import ScoreTally
from src.mlops.quality.streaming import BatchedValidation, is_by_batch
from src.mlops.quality.suites import ExpectationSuite, ExpectationSuiteBuilder

if TYPE_CHECKING:
    import pandas as pd

HISTORY_KEPT = 1_000
NO_EXPECTATIONS = "the suite has no expectations"
_UNMEASURED = QualityScores(None, None, None, None, None, None)
_END: Any = object()

Frames = Iterable["pd.DataFrame"] | AsyncIterable["pd.DataFrame"]


class Scope(TypedDict, total=False):
    """What a frame is, as its result will say."""

    data_split: str | None
    brand: str | None
    region: str | None
    training_run_id: str | None


class Alerter(Protocol):
    """Whoever is told of results."""

    def determine_severity(self, result: DataQualityResult) -> AlertSeverity:
        """How urgent a result is."""
        ...

    async def send_alert(self, result: DataQualityResult) -> bool:
        """Tell of it; False when nobody was told."""
        ...


class ReportStore(Protocol):
    """Wherever results are kept."""

    async def add(self, result: DataQualityResult) -> Any:
        """Keep ``result``."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table; ``labels`` and ``reading`` where they are known already."""

    frame: pd.DataFrame
    labels: pd.Index | None = None
    reading: Reading | None = None


class DataQualityValidator:
    """Validates frames of contract tables; results of a kind for any size.

    ``config`` is read from ``config/data_quality.yaml`` when it is None; ``alerter`` is by default the one
    the configuration describes; ``clock`` gives the time in UTC. Suites are this object's own.

    Every validation takes a table, the name of a suite, or a suite; it reads the frame as the contract
    says and judges by ``Thresholds``: one critical failure is ``failed`` at any rate, otherwise the share
    of expectations that hold decides. Expectations about what is usual (``ExpectationSuite.statistical``)
    count in that share, but alone they take it to ``warning`` at worst. Raises ContractViolation for an
    unknown table or suite and for frames without usable column names; bad values never raise.

    ``brand``, ``region``, ``data_split`` and ``training_run_id`` say in the result what the frame is.
    """

    def __init__(
        self,
        alerter: Alerter | None = None,
        config: DataQualityConfig | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.config = config if config is not None else load_data_quality_config()
        self._alerter = alerter
        self._clock = clock
        self._suites: dict[str, ExpectationSuite] = {}
        self._history: deque[DataQualityResult] = deque(maxlen=HISTORY_KEPT)

    def register_suite(self, suite: ExpectationSuite) -> None:
        """Know ``suite`` by its name; under the name of a table's own suite it replaces that one, here only."""
        self._suites[suite.name] = suite.copy()

    def get_suite(self, name_or_table: str, present: Iterable[str] | None = None) -> ExpectationSuite:
        """A registered suite, or that of a table's contract for a frame with the columns ``present``.

        ContractViolation, with the nearest names, when there is neither.
        """
        tables = {table.suite_name: name for name, table in TABLES.items()}
        table_name = ALIASES.get(name_or_table, tables.get(name_or_table, name_or_table))
        suite_name = TABLES[table_name].suite_name if table_name in TABLES else name_or_table
        if suite_name in self._suites:
            return self._suites[suite_name].copy()
        if table_name in TABLES:
            columns = None if present is None else frozenset(present)
            return ExpectationSuiteBuilder.contract_suite(table_name, columns, self.config)
        known = (*self._suites, *TABLES, *tables)
        raise ContractViolation(f"no suite or table '{name_or_table}'; {nearest_names(name_or_table, known)}")

    async def validate(
        self,
        df: pd.DataFrame,
        suite_or_table: str | ExpectationSuite,
        *,
        check: FrameCheck | None = None,
        **scope: Unpack[Scope],
    ) -> DataQualityResult:
        """Validate one frame; one larger than ``batches.rows`` is looked at in slices, with the same result.

        What cannot be put together from slices is asked of the whole frame.
        ``check`` is what ``contracts.checking.check_frame`` said of ``df``, where that is already known.
        """
        began = time.perf_counter()
        frame = readable(df, self._suite(suite_or_table).table)
        suite = self._suite(suite_or_table, frame.columns)
        if check is not None and len(check.frame) != len(frame):
            raise ValueError(f"the check is of {len(check.frame)} rows, the frame has {len(frame)}")
        if (reason := await asyncio.to_thread(_why_not, suite)) is not None:
            return self._skipped(suite, reason, began, scope)
        if len(frame) <= self.config.batches.rows:
            findings = await asyncio.to_thread(self._whole, frame, suite, check)
        else:
            findings = await self._in_slices(frame, suite, check)
        return self._result(suite, findings, began, scope)

    async def validate_batches(
        self,
        frames_factory: Callable[[], Frames],
        suite_or_table: str | ExpectationSuite,
        **scope: Unpack[Scope],
    ) -> DataQualityResult:
        """Validate a table that comes in frames, with the result of one run over all of it.

        ``frames_factory`` is called again when rows look repeated, and must then give the same rows
        (DataUnavailable otherwise); all frames have the same columns (ContractViolation otherwise). A row
        is called by its label, or by its position in the table where a frame has a default index.
        """
        began = time.perf_counter()
        anything = self._suite(suite_or_table)
        if (reason := await asyncio.to_thread(_why_not, anything)) is not None:
            return self._skipped(anything, reason, began, scope)

        async def parts() -> AsyncIterator[Part]:
            async for frame in _each(frames_factory()):
                yield Part(readable(frame, anything.table))

        findings = await self._by_parts(parts, suite_or_table)
        return self._result(anything, findings, began, scope)

    async def validate_splits(
        self, splits: Mapping[str, pd.DataFrame], suite_or_table: str | ExpectationSuite, **scope: Unpack[Scope]
    ) -> dict[str, DataQualityResult]:
        """Validate the frame of each split by itself."""
        results = {}
        for split, frame in splits.items():
            of_split: Scope = {**scope, "data_split": split}
            results[split] = await self.validate(frame, suite_or_table, **of_split)
        return results

    async def run_checkpoint(
        self, df: pd.DataFrame, suite_or_table: str | ExpectationSuite, **scope: Unpack[Scope]
    ) -> DataQualityResult:
        """Validate, remember, and raise DataQualityCheckpointError when the data is blocked or was not validated."""
        result = await self.validate(df, suite_or_table, **scope)
        self._history.append(result)
        if result.blocking or result.overall_status is QualityStatus.SKIPPED:
            raise DataQualityCheckpointError(result)
        return result

    async def validate_with_alerts(
        self, df: pd.DataFrame, suite_or_table: str | ExpectationSuite, **scope: Unpack[Scope]
    ) -> DataQualityResult:
        """Validate and tell whoever is to be told."""
        result = await self.validate(df, suite_or_table, **scope)
        await self.alerter.send_alert(result)
        return result

    async def validate_and_store(
        self,
        df: pd.DataFrame,
        suite_or_table: str | ExpectationSuite,
        store: ReportStore,
        **scope: Unpack[Scope],
    ) -> DataQualityResult:
        """Validate and keep the result in ``store``, whose errors are the caller's."""
        result = await self.validate(df, suite_or_table, **scope)
        await store.add(result)
        return result

    @property
    def alerter(self) -> Alerter:
        """Who is told."""
        if self._alerter is None:
            from src.mlops.quality.alerts import DataQualityAlerter

            self._alerter = DataQualityAlerter(self.config.alerting)
        return self._alerter

    def get_checkpoint_history(self, table_name: str | None = None) -> tuple[DataQualityResult, ...]:
        """Results of the last checkpoints, oldest first; of one table or of all."""
        return tuple(result for result in self._history if table_name in (None, result.table_name))

    def clear_checkpoint_history(self) -> None:
        """Forget them."""
        self._history.clear()

    def _suite(self, suite_or_table: str | ExpectationSuite, present: Iterable[str] | None = None) -> ExpectationSuite:
        if isinstance(suite_or_table, ExpectationSuite):
            return suite_or_table.copy()
        return self.get_suite(suite_or_table, present)

    def _whole(self, frame: pd.DataFrame, suite: ExpectationSuite, check: FrameCheck | None) -> Findings:
        table, labels = suite.table, row_labels(frame, suite.table)
        known = reading_of(check) if check is not None else read(table, frame)
        declarations, most = suite.for_rows(len(frame)).expectations, self.config.batches.rows_named
        failed = self._failed(table, known.frame, labels, declarations)
        types = type_failures(table, misread(table, known, labels, most), len(frame))
        tally = ScoreTally(table, known.frame.columns, self._clock())
        tally.add(known)
        return Findings((*types, *failed), len(declarations) + len(types), tally.scores(), len(frame))

    def _failed(
        self,
        table: TableContract,
        frame: pd.DataFrame,
        labels: pd.Index,
        declarations: Sequence[ExpectationDeclaration],
    ) -> list[FailedExpectation]:
        """What does not hold of ``frame``, read by the contract, whose rows are called ``labels``."""
        outcomes = outcomes_of(table, frame, declarations)
        failed = []
        for one in declarations:
            outcome = outcomes[one.id]
            if not outcome.holds:
                broken = broken_positions(frame, one, outcome)
                rows = tuple(labels.take(broken[: self.config.batches.rows_named]).tolist())
                failed.append(failed_expectation(table, one, outcome, rows, len(broken) or None, of_rows=len(frame)))
        return failed

    async def _in_slices(self, frame: pd.DataFrame, suite: ExpectationSuite, check: FrameCheck | None) -> Findings:
        whole = [one for one in suite.for_rows(len(frame)).expectations if not is_by_batch(one)]
        by_batch = replace(suite, expectations=tuple(one for one in suite.expectations if is_by_batch(one)))
        parts = await asyncio.to_thread(self._cut, frame, suite, check)
        found = await self._by_parts(parts, by_batch)
        if not whole:
            return found
        table, labels = suite.table, row_labels(frame, suite.table)
        read_frame = check.frame if check is not None else await asyncio.to_thread(coerce_frame, table, frame)
        more = await asyncio.to_thread(self._failed, table, at_positions(read_frame), labels, whole)
        return replace(found, failed=(*found.failed, *more), evaluated=found.evaluated + len(whole))

    def _cut(
        self, frame: pd.DataFrame, suite: ExpectationSuite, check: FrameCheck | None
    ) -> Callable[[], AsyncIterator[Part]]:
        """A frame as parts of ``batches.rows`` rows."""
        rows, labels = self.config.batches.rows, row_labels(frame, suite.table)
        readings = list(reading_of(check).slices(rows)) if check is not None else None

        async def parts() -> AsyncIterator[Part]:
            for number, start in enumerate(range(0, len(frame), rows)):
                part = slice(start, start + rows)
                yield Part(frame.iloc[part], labels[part], readings[number] if readings else None)

        return parts

    async def _by_parts(
        self, parts: Callable[[], AsyncIterator[Part]], suite_or_table: str | ExpectationSuite
    ) -> Findings:
        run: BatchedValidation | None = None
        empty = None
        async for part in parts():
            if len(part.frame) == 0:
                empty = part
                continue
            if run is None:
                run = await asyncio.to_thread(self._start, part, suite_or_table)
            await asyncio.to_thread(_take, run, part)
        if run is None:
            part = empty or _nothing()
            run = await asyncio.to_thread(self._start, part, suite_or_table)
            await asyncio.to_thread(_take, run, part)
        if await asyncio.to_thread(lambda: run.needs_second_pass):
            async for part in parts():
                await asyncio.to_thread(_compare, run, part)
        return await asyncio.to_thread(run.finish)

    def _start(self, part: Part, suite_or_table: str | ExpectationSuite) -> BatchedValidation:
        columns = [str(name) for name in part.frame.columns]
        suite = self._suite(suite_or_table, columns)
        return BatchedValidation(suite, columns, self._clock(), self.config.batches.rows_named)

    def _result(self, suite: ExpectationSuite, findings: Findings, began: float, scope: Scope) -> DataQualityResult:
        failed = len(findings.failed)
        return DataQualityResult(
            id=str(uuid.uuid4()),
            suite_name=suite.name,
            table_name=suite.table_name,
            run_at=self._clock(),
            overall_status=judge(suite, findings, self.config.thresholds),
            expectations=Counts(findings.evaluated, findings.evaluated - failed, failed),
            success_rate=_rate(failed, findings.evaluated),
            failed_expectations=findings.failed,
            scores=findings.scores,
            validation_ms=(time.perf_counter() - began) * 1_000,
            rows_validated=findings.rows,
            approximate=findings.approximate,
            **scope,
        )

    def _skipped(self, suite: ExpectationSuite, reason: str, began: float, scope: Scope) -> DataQualityResult:
        return DataQualityResult(
            id=str(uuid.uuid4()),
            suite_name=suite.name,
            table_name=suite.table_name,
            run_at=self._clock(),
            overall_status=QualityStatus.SKIPPED,
            expectations=Counts(0, 0, 0),
            success_rate=None,
            failed_expectations=(),
            scores=_UNMEASURED,
            validation_ms=(time.perf_counter() - began) * 1_000,
            reason=reason,
            **scope,
        )


def judge(suite: ExpectationSuite, findings: Findings, thresholds: Thresholds) -> QualityStatus:
    """Failed on a critical failure; else by the share that holds, where what is unusual alone only warns."""
    if any(failure.critical for failure in findings.failed):
        return QualityStatus.FAILED
    usual = {one.id for one in suite.for_rows(findings.rows).expectations if one.id in suite.statistical}
    firm = [failure for failure in findings.failed if failure.id not in usual]
    rate = _rate(len(findings.failed), findings.evaluated) or 0.0
    firm_rate = _rate(len(firm), findings.evaluated - len(usual))
    if rate >= thresholds.passed:
        return QualityStatus.PASSED
    if rate >= thresholds.warning or firm_rate is None or firm_rate >= thresholds.warning:
        return QualityStatus.WARNING
    return QualityStatus.FAILED


def _rate(failed: int, evaluated: int) -> float | None:
    return 1 - failed / evaluated if evaluated else None


def _why_not(suite: ExpectationSuite) -> str | None:
    return missing() if suite.expectations else NO_EXPECTATIONS


def _take(run: BatchedValidation, part: Part) -> None:
    labels = part.labels if part.labels is not None else row_labels(part.frame, run.table, run.rows)
    run.add(part.reading or read(run.table, part.frame, each_row_alone=True), labels)


def _compare(run: BatchedValidation, part: Part) -> None:
    labels = part.labels if part.labels is not None else row_labels(part.frame, run.table, run.compared)
    keys = at_positions(part.reading.frame if part.reading else part.frame)[list(run.key_columns)]
    run.compare(coerce_frame(run.table, keys), labels)


def _nothing() -> Part:
    import pandas as pd

    return Part(pd.DataFrame())


async def _each(frames: Frames) -> AsyncIterator[pd.DataFrame]:
    """Frames one by one; an ordinary iterator, which may read files, is stepped outside the event loop."""
    if isinstance(frames, AsyncIterable):
        async for frame in frames:
            yield frame
        return
    steps: Iterator[pd.DataFrame] = iter(frames)
    while (frame := await asyncio.to_thread(next, steps, _END)) is not _END:
        yield frame
