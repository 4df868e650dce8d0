"""Where do the rows to validate come from: a table of the database or a file, in frames of bounded size?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.contracts.enums import DataSplit
from src.contracts.model import TableContract
from src.contracts.tables import ALIASES, TABLES, get_table
from src.errors import ContractViolation, nearest_names
from src.mlops.quality.frames import LINE
from src.storage.contract_chunks import open_chunks
from src.storage.database import Database
from src.storage.gateway import Op
from src.storage.table_rows import count_rows, stream_table

if TYPE_CHECKING:
    import pandas as pd

TABLE_PREFIX = "table:"
SPLIT_COLUMN = "data_split"
FILE_ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".pq", ".gz", ".bz2", ".zst")

OnRows = Callable[[int, float], None]


@dataclass(frozen=True)
class ContractRows:
    """Rows meant for ``table``. ``frames`` opens them from the start, each time it is called.

    Frames hold columns of the contract only; their index is what ``labels`` says.
    """

    table: TableContract
    source: str
    labels: str
    columns: tuple[str, ...]
    frames: Callable[[OnRows], AsyncIterator[pd.DataFrame]]
    notes: tuple[str, ...] = ()


def named_table(target: str) -> TableContract | None:
    """The contract table ``target`` means, or None when it is a file.

    Raises ContractViolation, with the nearest names, for what is neither.
    """
    name = target.removeprefix(TABLE_PREFIX)
    if name in TABLES or name in ALIASES or target != name:
        return get_table(name)
    path = Path(target)
    if path.is_file() or path.suffix.lower() in FILE_ENDINGS or len(path.parts) > 1:
        return None
    raise ContractViolation(f"there is no table or file '{target}'; {nearest_names(target, TABLES)}")


def check_split(table: TableContract, split: str | None) -> None:
    """Raises ContractViolation for an unknown split, or when the table is not split."""
    if split is None:
        return
    if split not in list(DataSplit):
        raise ContractViolation(f"there is no split '{split}'; use {', '.join(DataSplit)}")
    if SPLIT_COLUMN not in table.column_names:
        raise ContractViolation(f"table '{table.name}' has no column {SPLIT_COLUMN}: leave out --split")


def table_rows(database: Database, table: TableContract, split: str | None) -> ContractRows:
    """Rows of a database table, labelled by primary key."""
    conditions = [(SPLIT_COLUMN, Op.EQ, split)] if split is not None else []

    async def frames(on_rows: OnRows) -> AsyncIterator[pd.DataFrame]:
        done, total = 0, await count_rows(database, table)
        async for batch in stream_table(database, table, table.column_names, conditions):
            frame = batch.to_pandas(date_as_object=False)
            done += len(frame)
            on_rows(done, done / total if total else 1.0)
            yield frame.set_axis(frame[table.primary_key].to_numpy(), axis=0).rename_axis(table.primary_key)

    return ContractRows(table, f"table {table.name} of the database", table.primary_key, table.column_names, frames)


def file_rows(path: Path, table: TableContract, split: str | None, *, encoding: str = "utf-8") -> ContractRows:
    """Rows of a CSV or Parquet file, labelled by line (1 is the header).

    Raises UnreadableFile, and ContractViolation when not one column is of the contract.
    """
    first = open_chunks(path, table, encoding=encoding, all_required=False)
    if not first.columns:
        raise ContractViolation(f"{path}: not one column is of table '{table.name}'; {_columns(table)}")
    if split is not None and SPLIT_COLUMN not in first.columns:
        raise ContractViolation(f"{path}: there is no column {SPLIT_COLUMN}: leave out --split")

    def chunks(on_rows: OnRows) -> Iterator[pd.DataFrame]:
        share = 0.0

        def seen(_: int, so_far: float) -> None:
            nonlocal share
            share = so_far

        opened = open_chunks(path, table, encoding=encoding, all_required=False, on_progress=seen)
        done = 0
        for frame in opened.frames:
            done += len(frame)
            on_rows(done, share)
            kept = frame if split is None else frame[frame[SPLIT_COLUMN].astype(str) == split]
            yield kept.rename_axis(LINE)

    ignored = (f"not in the contract, left out: {', '.join(first.ignored)}",) if first.ignored else ()
    return ContractRows(table, str(path), LINE, first.columns, lambda on_rows: _in_thread(chunks(on_rows)), ignored)


async def gather(rows: ContractRows, limit: int, on_rows: OnRows) -> pd.DataFrame | None:
    """All rows as one frame, or None when there are more than ``limit``."""
    import pandas as pd

    parts: list[pd.DataFrame] = []
    async for frame in rows.frames(on_rows):
        parts.append(frame)
        if sum(map(len, parts)) > limit:
            return None
    return pd.concat(parts) if parts else pd.DataFrame(columns=list(rows.columns))


async def in_batches(rows: ContractRows, size: int, on_rows: OnRows) -> AsyncIterator[pd.DataFrame]:
    """The rows in frames of about ``size`` rows: few large ones cost less to validate than many small ones."""
    import pandas as pd

    parts: list[pd.DataFrame] = []
    async for frame in rows.frames(on_rows):
        parts.append(frame)
        if sum(map(len, parts)) >= size:
            yield pd.concat(parts)
            parts = []
    if parts:
        yield pd.concat(parts)


async def _in_thread(frames: Iterator[pd.DataFrame]) -> AsyncIterator[pd.DataFrame]:
    while (frame := await asyncio.to_thread(next, frames, None)) is not None:
        yield frame


def _columns(table: TableContract) -> str:
    required = [column.name for column in table.columns if column.required]
    return f"it needs {', '.join(required)}"
