"""How do generated arrays become Arrow tables, and tables byte-identical Parquet files?"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from src.errors import ContractViolation
from src.synthetic.streams import IntArray

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_PER_PART = 1_000_000


def text_ids(prefix: str, numbers: IntArray, width: int) -> pa.Array:
    """Text keys ``prefix`` + zero-padded number, as an Arrow string array of shape (n,)."""
    import pyarrow as pa

    numbers = np.asarray(numbers, dtype=np.int64)
    length = len(prefix) + width
    characters = np.empty((len(numbers), length), dtype=np.uint8)
    characters[:, : len(prefix)] = np.frombuffer(prefix.encode("ascii"), dtype=np.uint8)
    rest = numbers.copy()
    for position in range(length - 1, len(prefix) - 1, -1):
        rest, digit = np.divmod(rest, 10)
        characters[:, position] = digit + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * length
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(characters.ravel()))


def text_labels(codes: IntArray, labels: tuple[str, ...]) -> pa.Array:
    """Text array with ``labels[code]`` for each code."""
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(labels)).dictionary_decode()


def month_dates(months: IntArray, start: str) -> pa.Array:
    """First day of the month that lies ``months`` after ``start`` ("2022-01"), as date32."""
    import pyarrow as pa

    days = (np.datetime64(start, "M") + months).astype("datetime64[D]")
    return pa.array(days.astype(np.int64).astype(np.int32), type=pa.int32()).cast(pa.date32())


class PartWriter:
    """Writes tables one after another to ``part-00000.parquet``, …: a row group per table, a million rows per file."""

    def __init__(self, folder: Path, rows_per_part: int = ROWS_PER_PART) -> None:
        self.paths: list[Path] = []
        self._folder = folder
        self._rows_per_part = rows_per_part
        self._rows = 0
        self._writer: Any = None
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, table: pa.Table) -> None:
        """Append the rows of ``table``."""
        import pyarrow.parquet as pq

        if self._writer is None or self._rows >= self._rows_per_part:
            self.close()
            self.paths.append(self._folder / f"part-{len(self.paths):05d}.parquet")
            self._writer, self._rows = pq.ParquetWriter(self.paths[-1], table.schema, compression="zstd"), 0
        self._writer.write_table(table, row_group_size=max(table.num_rows, 1))
        self._rows += table.num_rows

    def close(self) -> None:
        """Finish the file being written."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@contextmanager
def fresh_folder(out_dir: Path) -> Iterator[Path]:
    """A folder beside ``out_dir`` that becomes ``out_dir`` when the body succeeds, and vanishes when it fails.

    Raises ContractViolation when ``out_dir`` is a file or already holds something.
    """
    if out_dir.exists() and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise ContractViolation(f"'{out_dir}' is not an empty folder; name a new one")
    partial = out_dir.parent / f".{out_dir.name}.{os.getpid()}.partial"
    _remove_abandoned(out_dir)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _remove_abandoned(out_dir: Path) -> None:
    """Remove what generations into ``out_dir`` left behind whose process is gone (or is this one)."""
    for folder in out_dir.parent.glob(f".{out_dir.name}.*.partial"):
        process = folder.name.split(".")[-2]
        if process.isdigit() and (int(process) == os.getpid() or not _is_running(int(process))):
            shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write ``document`` with a stable layout."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
