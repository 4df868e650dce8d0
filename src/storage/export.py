"""How do rows leave as a CSV or Parquet file that is whole or not there?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from src.errors import ContractViolation, DataUnavailable
from src.storage.partial_files import PartialFile, remove_abandoned

SUFFIXES = (".csv", ".parquet")


def check_target(out: Path, *, force: bool) -> None:
    """Raise ContractViolation unless ``out`` is a .csv or .parquet path that may be written."""
    if out.suffix not in SUFFIXES:
        raise ContractViolation(f"{out}: an export is named {' or '.join(SUFFIXES)}")
    if not out.parent.is_dir():
        raise DataUnavailable(f"{out.parent}: no such folder")
    if out.is_dir() or (out.exists() and not force):
        raise ContractViolation(f"{out}: is already there; give --force to replace it")


async def write_export(batches: AsyncIterator[Any], schema: Any, out: Path, *, force: bool = False) -> int:
    """Write record batches of ``schema`` to ``out`` and return the number of rows.

    In CSV a missing value is an empty field and an empty text is ``""``; lists are JSON. The file
    appears only when complete; a killed process leaves nothing that the next export does not remove.
    """
    check_target(out, force=force)
    remove_abandoned(out.parent)
    rows = 0
    with PartialFile(out.parent) as partial:
        with _writer(partial.handle, schema, out.suffix) as writer:
            async for batch in batches:
                rows += len(batch)
                plain = _plain_lists(batch) if out.suffix == ".csv" else batch
                writer.write_batch(plain.replace_schema_metadata(None))
        partial.commit(out)
    return rows


def _writer(handle: Any, schema: Any, suffix: str) -> Any:
    import pyarrow.parquet as pq
    from pyarrow import csv

    if suffix == ".parquet":
        return pq.ParquetWriter(handle, schema, compression="zstd")
    return csv.CSVWriter(handle, _csv_schema(schema))


def _csv_schema(schema: Any) -> Any:
    import pyarrow as pa

    return pa.schema([pa.field(f.name, pa.string() if pa.types.is_list(f.type) else f.type) for f in schema])


def _plain_lists(batch: Any) -> Any:
    import pyarrow as pa

    columns = [
        pa.array([None if item is None else json.dumps(item) for item in column.to_pylist()], pa.string())
        if pa.types.is_list(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=_csv_schema(batch.schema))
