"""How do the rows of a file get into a contract table: all of them, or none and a list of what is wrong?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psycopg
from psycopg import sql

from src.contracts.checking import check_frame
from src.contracts.model import TableContract
from src.contracts.tables import TABLES, get_table
from src.errors import ContractViolation
from src.storage.contract_chunks import ContractChunks, Source, open_chunks
from src.storage.csv_blocks import OnFraction
from src.storage.database import Database, Session
from src.storage.partial_files import PartialFile, remove_abandoned
from src.storage.rejections import LoadRejected, LoadReport, RejectedRow, RejectionLog
from src.storage.staging import Staging

if TYPE_CHECKING:
    import pandas as pd

MAX_REPORTED = 1_000


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load.

    ``skip_rejected`` loads the rows that keep the contract although others do not. ``rejects``
    receives every broken rule as CSV (line, column, value, rule). ``max_reported`` bounds the
    report in memory.
    """

    encoding: str = "utf-8"
    skip_rejected: bool = False
    rejects: Path | None = None
    max_reported: int = MAX_REPORTED


OnTable = Callable[[str], None]


async def load_table(
    source: Source,
    table: str,
    *,
    db: Database,
    options: LoadOptions | None = None,
    on_progress: OnFraction | None = None,
) -> LoadReport:
    """Stream a CSV or Parquet file, or frames, into contract table ``table`` in one transaction.

    Rows are read as the contract's types, checked chunk by chunk, copied to a staging table, and
    published at the end; memory is bounded by the chunk. ``on_progress(rows, share of the file)``.
    Raises LoadRejected (a RowsRejected with ``report``) when a row breaks the contract and
    ``skip_rejected`` is off, UnreadableFile, ContractViolation (unknown table, required column
    missing); the table is then as it was. A killed process leaves nothing either.
    """
    chosen = options or LoadOptions()
    contract = get_table(table)
    chunks = await asyncio.to_thread(open_chunks, source, contract, encoding=chosen.encoding, on_progress=on_progress)
    with _rejects_file(chosen.rejects) as keep:
        log = RejectionLog(chosen.max_reported, keep.handle if keep else None)
        try:
            async with db.transaction() as session:
                report = await _publish(await _stage(session, contract, chunks, log), chosen)
        finally:
            if keep and log.total:
                keep.commit(chosen.rejects or keep.path)
    return report


async def load_tables(
    sources: Mapping[str, Source], *, db: Database, replace_rows: bool = False, on_table: OnTable | None = None
) -> dict[str, LoadReport]:
    """Load several contract tables in one transaction, parents first; what each load did, by name.

    When every row of every table is already there with the same values nothing is written
    (``rows_loaded`` is 0). With ``replace_rows`` all rows of these tables are deleted first, unless
    nothing would change. Raises as ``load_table``.
    """
    contracts = sorted(map(get_table, sources), key=_load_order().index)
    options = LoadOptions()
    async with db.transaction() as session:
        staged = []
        for contract in contracts:
            if on_table is not None:
                on_table(contract.name)
            chunks = await asyncio.to_thread(open_chunks, sources[contract.name], contract)
            staged.append(await _stage(session, contract, chunks, RejectionLog(options.max_reported)))
        if not any(part.log.total for part in staged) and await _all_there(staged):
            return {part.table.name: part.report(0, 0) for part in staged}
        if replace_rows:
            for part in reversed(staged):
                await session.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(part.table.name)))
        return {part.table.name: await _publish(part, options) for part in staged}


@dataclass
class _Staged:
    """Rows of one table that passed every check a chunk allows, waiting to be published."""

    table: TableContract
    staging: Staging
    log: RejectionLog
    ignored: tuple[str, ...]
    started: float
    rows_read: int = 0
    rows_broken: int = 0

    def report(self, rows_loaded: int, rows_refused: int) -> LoadReport:
        return LoadReport(
            table=self.table.name,
            rows_read=self.rows_read,
            rows_loaded=rows_loaded,
            rejected=self.log.in_line_order(),
            rejected_total=self.log.total,
            rows_rejected=self.rows_broken + rows_refused,
            ignored_columns=self.ignored,
            seconds=time.monotonic() - self.started,
        )


async def _stage(session: Session, table: TableContract, chunks: ContractChunks, log: RejectionLog) -> _Staged:
    staged = _Staged(table, Staging(session, table, chunks.columns), log, chunks.ignored, time.monotonic())
    await staged.staging.create()
    while (frame := await asyncio.to_thread(next, chunks.frames, None)) is not None:
        good, rejected = await asyncio.to_thread(_check, table, frame)
        staged.rows_read += len(frame)
        staged.rows_broken += len(frame) - len(good)
        for row in rejected:
            log.add(row)
        try:
            await staged.staging.add(good)
        except psycopg.DataError as error:
            lines = f"lines {frame.index[0]} to {frame.index[-1]}"
            raise ContractViolation(
                f"{table.name}: {lines} hold what PostgreSQL cannot store ({_reason(error)})"
            ) from error
    return staged


def _check(table: TableContract, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[RejectedRow]]:
    """The coerced rows of ``frame`` that keep the contract, and what is wrong with the others."""
    checked = check_frame(table, frame)
    broken = set()
    rejected = []
    for failure in checked.failures:
        if not isinstance(failure.index, int | np.integer):
            raise ContractViolation(f"table '{table.name}': {failure.message}")
        broken.add(failure.index)
        rejected.append(RejectedRow(int(failure.index), failure.column, failure.value, failure.message))
    return (checked.frame.drop(index=list(broken)) if broken else checked.frame), rejected


async def _publish(staged: _Staged, options: LoadOptions) -> LoadReport:
    refused = 0
    error = await staged.staging.publish()
    if error is not None:
        refused = await _refuse(staged, error)
    report = staged.report(0, refused)
    if report.rejected_total and not options.skip_rejected:
        raise LoadRejected(report)
    if error is not None:
        again = await staged.staging.publish()
        if again is not None:
            raise ContractViolation(f"{staged.table.name}: {_reason(again)}") from again
    return staged.report(report.rows_read - report.rows_rejected, refused)


async def _refuse(staged: _Staged, error: psycopg.IntegrityError) -> int:
    if not await staged.staging.refuse_broken():
        raise ContractViolation(f"{staged.table.name}: {_reason(error)}") from error
    refused = await staged.staging.refused_rows()
    async for row in staged.staging.refusals():
        staged.log.add(row)
    return refused


async def _all_there(staged: list[_Staged]) -> bool:
    for part in staged:
        if not await part.staging.already_there():
            return False
    return True


def _load_order() -> list[TableContract]:
    """Tables that others refer to come first."""
    parents = {key.parent for table in TABLES.values() for key in table.foreign_keys}
    return sorted(TABLES.values(), key=lambda table: table.name not in parents)


def _reason(error: psycopg.Error) -> str:
    # The detail is left out: it quotes values.
    return " ".join((error.diag.message_primary or type(error).__name__).split())


@contextmanager
def _rejects_file(path: Path | None) -> Iterator[PartialFile | None]:
    if path is None:
        yield None
        return
    if path.is_dir():
        raise ContractViolation(f"{path}: is a folder; name a file for the rejected rows")
    remove_abandoned(path.parent)
    with PartialFile(path.parent) as partial:
        yield partial
