"""Generate rows of a process, chunk by chunk, with the truth about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.errors import ContractViolation
from src.synthetic.library import get_process
from src.synthetic.model import SEGMENTS, Draw, Outcomes, Process, emit_outcomes
from src.synthetic.spec import OUTCOME_KINDS, ProcessSpec, declared
from src.synthetic.streams import CHUNK_ROWS, Streams
from src.synthetic.tabular import PartWriter, fresh_folder, month_dates, text_ids, text_labels, write_json
from src.synthetic.truth import GroundTruth, TruthSums

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

MAX_ROWS = 10_000_000
MAX_ROWS_IN_MEMORY = 2_000_000
FIRST_MONTH = "2022-01"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SyntheticDataset:
    """Generated rows, in memory (``frame``) or as Parquet ``parts``, with truth and declared knowledge.

    ``side`` holds y0, y1, true_cate and unit_id per row (or ``side_parts``): truth no analysis may see.
    """

    frame: pd.DataFrame | None
    parts: tuple[Path, ...]
    truth: GroundTruth
    spec: ProcessSpec
    side: pd.DataFrame | None = None
    side_parts: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Chunk:
    """One chunk as Arrow tables: what analysts see, and the truth per row."""

    data: pa.Table
    side: pa.Table


def generate(
    process: str,
    n_rows: int,
    random_state: int,
    *,
    out_dir: Path | str | None = None,
    outcome: str = "continuous",
    on_progress: Progress | None = None,
) -> SyntheticDataset:
    """Generate ``n_rows`` rows of ``process`` with realised truth.

    With ``out_dir`` (new or empty) rows go to ``data/part-*.parquet``, truth per row to
    ``truth/part-*.parquet``, and ``truth.json`` and ``declared.json`` beside them; the folder
    appears only when complete. The same arguments give the same bytes; more rows begin with the
    same rows. ``on_progress(rows done, rows in all)`` is called after each chunk.
    Raises ContractViolation: unknown process or outcome, rows outside 1–10,000,000 (2,000,000
    without ``out_dir``), negative random state, ``out_dir`` not empty.
    """
    chosen = get_process(process)
    _check(n_rows, random_state, outcome, in_memory=out_dir is None)
    sums = TruthSums(chosen)
    chunks = _chunks(chosen, n_rows, random_state, outcome, sums, on_progress)
    if out_dir is not None:
        return _to_parquet(chosen, chunks, sums, (n_rows, random_state, outcome), Path(out_dir))
    import pyarrow as pa

    made = list(chunks)
    return SyntheticDataset(
        frame=pa.concat_tables([chunk.data for chunk in made]).to_pandas(),
        parts=(),
        truth=sums.finish(n_rows, random_state, outcome),
        spec=chosen.spec,
        side=pa.concat_tables([chunk.side for chunk in made]).to_pandas(),
    )


def check_random_state(random_state: int) -> None:
    """ContractViolation unless ``random_state`` is a whole number ≥ 0."""
    if not isinstance(random_state, int | np.integer) or isinstance(random_state, bool) or random_state < 0:
        raise ContractViolation(f"random_state must be a whole number of at least 0, not {random_state!r}")


def _check(n_rows: int, random_state: int, outcome: str, *, in_memory: bool) -> None:
    if not isinstance(n_rows, int | np.integer) or isinstance(n_rows, bool) or not 1 <= n_rows <= MAX_ROWS:
        raise ContractViolation(f"rows must be a whole number from 1 to {MAX_ROWS:,}, not {n_rows!r}")
    if in_memory and n_rows > MAX_ROWS_IN_MEMORY:
        raise ContractViolation(f"more than {MAX_ROWS_IN_MEMORY:,} rows do not go into memory; name an output folder")
    if outcome not in OUTCOME_KINDS:
        raise ContractViolation(f"outcome must be {' or '.join(OUTCOME_KINDS)}, not {outcome!r}")
    check_random_state(random_state)


def _to_parquet(
    process: Process, chunks: Iterator[Chunk], sums: TruthSums, arguments: tuple[int, int, str], out_dir: Path
) -> SyntheticDataset:
    with fresh_folder(out_dir) as folder:
        data, side = PartWriter(folder / "data"), PartWriter(folder / "truth")
        try:
            for chunk in chunks:
                data.write(chunk.data)
                side.write(chunk.side)
        finally:
            data.close()
            side.close()
        truth = sums.finish(*arguments)
        write_json(folder / "truth.json", truth.to_dict())
        write_json(folder / "declared.json", declared(process.spec))
    return SyntheticDataset(
        frame=None,
        parts=tuple(out_dir / "data" / path.name for path in data.paths),
        truth=truth,
        spec=process.spec,
        side_parts=tuple(out_dir / "truth" / path.name for path in side.paths),
    )


def _chunks(
    process: Process, n_rows: int, random_state: int, outcome: str, sums: TruthSums, on_progress: Progress | None
) -> Iterator[Chunk]:
    for number, first in enumerate(range(0, n_rows, CHUNK_ROWS)):
        rows = min(CHUNK_ROWS, n_rows - first)
        streams = Streams(random_state, process.name, number)
        draw = process.draw(streams, rows)
        outcomes = emit_outcomes(draw, outcome, process.threshold)
        sums.add(draw, outcomes)
        yield _tables(process, streams, draw, outcomes, first, outcome)
        if on_progress is not None:
            on_progress(first + rows, n_rows)


def _tables(process: Process, streams: Streams, draw: Draw, outcomes: Outcomes, first: int, outcome: str) -> Chunk:
    import pyarrow as pa

    rows = len(outcomes.observed)
    numbers = np.arange(first, first + rows, dtype=np.int64) if draw.units is None else draw.units
    emitted = draw.treated if draw.emitted_treatment is None else draw.emitted_treatment
    kind = np.int64 if outcome == "binary" else np.float64
    keys = {"unit_id": text_ids("u_", numbers, 9)}
    if draw.months is not None:
        keys["month"] = month_dates(draw.months, FIRST_MONTH)
    covariates = {name: pa.array(values) for name, values in draw.columns.items()}
    if "severity_segment" in draw.columns:
        covariates["severity_segment"] = text_labels(np.asarray(draw.columns["severity_segment"]), SEGMENTS)
    after = process.aftermath(streams, emitted, outcomes.observed) if process.aftermath else {}
    data = {
        **keys,
        "treatment": pa.array(emitted.astype(np.int64)),
        "outcome": pa.array(outcomes.observed.astype(kind)),
        **covariates,
        **{name: pa.array(values) for name, values in after.items()},
    }
    side = {**keys, "y0": outcomes.y0.astype(kind), "y1": outcomes.y1.astype(kind), "true_cate": outcomes.cate}
    return Chunk(pa.table(data), pa.table(side))
