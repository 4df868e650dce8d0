"""May the rows of a table or file be used? Validated by every layer, kept as a report, told to who should know."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from src.app.contract_rows import ContractRows, check_split, file_rows, gather, named_table, table_rows
from src.app.large_tables import validate_large
from src.app.tracing import traced_database
from src.app.validated import (
    GREAT_EXPECTATIONS,
    PANDERA,
    BrokenRule,
    Validated,
    is_usual,
    rule_name,
    rule_words,
)
from src.contracts.model import TableContract
from src.contracts.tables import get_table
from src.errors import ContractViolation
from src.mlops.pandera_schemas import GEPanderaValidator
from src.mlops.quality.alerts import DataQualityAlerter
from src.mlops.quality.combined import CombinedValidation, MergedIssue
from src.mlops.quality.configuration import DataQualityConfig, load_data_quality_config
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from src.storage.postgres_gateway import PostgresGateway
from src.storage.quality_reports import QualityReportRepository

if TYPE_CHECKING:
    from src.storage.database import Database

Report = Callable[[str, float], None]
_LAYERS = {"schema": PANDERA, "ge": GREAT_EXPECTATIONS}
CONTRACT_RULE = "contract_rule"
UNMEASURED = QualityScores(None, None, None, None, None, None)
# Reading is the smaller part of the work.
_READ_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class ValidationRequest:
    """``target`` is a contract table or a file; a file needs the contract ``table`` its rows must fit."""

    target: str
    table: str | None = None
    split: str | None = None
    store: bool = True
    encoding: str = "utf-8"


async def validate_data(
    request: ValidationRequest,
    *,
    config: DataQualityConfig | None = None,
    on_progress: Report = lambda step, share: None,
) -> Validated:
    """Validate, keep the report in the database (while ``store``) and send an alert where one is due.

    A file that is not stored needs no database. Raises ContractViolation for an unknown table, split or
    combination, UnreadableFile, ConfigError, DatabaseUnavailable and MigrationError.
    """
    named, table = _contract(request)
    check_split(table, request.split)
    chosen = config or load_data_quality_config()
    async with _database(needed=named is not None or request.store) as database:
        if named is not None:
            assert database is not None
            rows = table_rows(database, table, request.split)
        else:
            rows = file_rows(Path(request.target), table, request.split, encoding=request.encoding)
        found = await _validated(rows, request.split, chosen, on_progress)
        # Told before it is stored: whoever is to know of bad data must know even if the database refuses the report.
        told = await DataQualityAlerter(chosen.alerting).send_alert(found.result)
        found = dataclasses.replace(found, alerted=told)
        if request.store and database is not None:
            await QualityReportRepository(PostgresGateway(database)).add(found.result)
            found = dataclasses.replace(found, stored=True)
    return found


def _contract(request: ValidationRequest) -> tuple[TableContract | None, TableContract]:
    """The table that is read (None: a file), and the contract."""
    named = named_table(request.target)
    if named is None:
        if request.table is None:
            raise ContractViolation(f"{request.target}: say with --table which contract table the rows must fit")
        return None, get_table(request.table)
    if request.table is not None and get_table(request.table) is not named:
        raise ContractViolation(f"table {named.name} is held to its own contract: leave out --table")
    return named, named


@asynccontextmanager
async def _database(*, needed: bool) -> AsyncIterator[Database | None]:
    if not needed:
        yield None
        return
    async with traced_database() as database:
        yield database


async def _validated(
    rows: ContractRows, split: str | None, config: DataQualityConfig, on_progress: Report
) -> Validated:
    """Rows that fit one batch go through both layers whole; more of them batch by batch."""

    def reading(done: int, share: float) -> None:
        on_progress(f"{done:,} rows read", _READ_SHARE * share)

    frame = await gather(rows, config.batches.rows, reading)
    if frame is None:
        combined = await validate_large(
            rows, split, config, lambda done, share: on_progress(f"{done:,} rows validated", share)
        )
    else:
        on_progress(f"{len(frame):,} rows", _READ_SHARE)
        both = GEPanderaValidator(fast_fail=False, config=config)
        combined = await both.validate(frame, rows.table.name, split=split)
    return from_combined(rows, combined, config, split)


def from_combined(
    rows: ContractRows, combined: CombinedValidation, config: DataQualityConfig, split: str | None = None
) -> Validated:
    """What both layers found about the same frame, as one result: what fails one layer fails the whole."""
    quality = combined.quality if combined.quality is not None else _not_run(rows.table, combined, split)
    reason = (combined.schema.reason,) if combined.schema.reason else ()
    return Validated(
        source=rows.source,
        labels=rows.labels,
        result=_with_schema(quality, combined),
        layers={PANDERA: combined.schema.status, GREAT_EXPECTATIONS: combined.ge_status.replace("_", " ")},
        broken=tuple(_broken(rows.table, issue, quality) for issue in combined.issues),
        weights=config.weights,
        thresholds=config.thresholds,
        notes=(*rows.notes, *(f"{PANDERA}: {text}" for text in reason)),
    )


def _not_run(table: TableContract, combined: CombinedValidation, split: str | None) -> DataQualityResult:
    """The result where the schema gave no verdict, and with it no frame that Great Expectations could read."""
    return DataQualityResult(
        id=str(uuid.uuid4()),
        suite_name=table.suite_name,
        table_name=table.name,
        run_at=datetime.now(UTC),
        overall_status=QualityStatus.SKIPPED,
        expectations=Counts(0, 0, 0),
        success_rate=None,
        failed_expectations=(),
        scores=UNMEASURED,
        validation_ms=0.0,
        data_split=split,
        reason=combined.schema.reason,
    )


def _with_schema(quality: DataQualityResult, combined: CombinedValidation) -> DataQualityResult:
    """The result with the rules that only the schema can check; without a schema that ran nothing passes."""
    if combined.schema.passed:
        return quality
    if combined.schema.status in ("skipped", "error") and quality.overall_status is not QualityStatus.FAILED:
        return dataclasses.replace(quality, overall_status=QualityStatus.SKIPPED, reason=combined.schema.reason)
    only = tuple(_as_expectation(issue) for issue in combined.issues if issue.layers == ("schema",))
    counted = quality.expectations
    counts = Counts(counted.evaluated + len(only), counted.passed, counted.failed + len(only))
    return dataclasses.replace(
        quality,
        overall_status=QualityStatus.FAILED,
        reason=None,
        expectations=counts,
        success_rate=counts.passed / counts.evaluated if counts.evaluated else None,
        failed_expectations=(*quality.failed_expectations, *only),
    )


def _as_expectation(issue: MergedIssue) -> FailedExpectation:
    return FailedExpectation(
        id=f"{issue.table}.{issue.rule}",
        type=CONTRACT_RULE,
        kwargs={},
        columns=tuple(issue.column.split(", ")),
        observed="",
        critical=issue.critical,
        count=issue.count,
        rows=issue.rows,
    )


def _broken(table: TableContract, issue: MergedIssue, quality: DataQualityResult) -> BrokenRule:
    behind = [failed for failed in quality.failed_expectations if rule_name(failed) == issue.rule]
    usual = bool(behind) and is_usual(behind[0])
    return BrokenRule(
        rule=issue.rule,
        column=issue.column,
        words=rule_words(table, behind[0]) if behind else issue.message,
        critical=issue.critical,
        layers=tuple(_LAYERS[layer] for layer in issue.layers),
        count=issue.count,
        rows=issue.rows,
        usual=usual,
        observed=behind[0].observed if usual else "",
        error=next((failed.error for failed in behind if failed.error), None),
    )
