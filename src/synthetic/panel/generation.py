"""Generate the HCP-month panel, its truth and the eight tables recorded in the same world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from src.errors import ContractViolation
from src.synthetic.generation import check_random_state
from src.synthetic.panel.knowledge import panel_declared
from src.synthetic.panel.panel_table import panel_table
from src.synthetic.panel.simulation import World, simulate_chunk
from src.synthetic.panel.truth import PanelTruth, PanelTruthSums
from src.synthetic.panel.world import HCPS_PER_CHUNK, MONTHS
from src.synthetic.streams import Streams
from src.synthetic.tabular import PartWriter, fresh_folder, write_json

if TYPE_CHECKING:
    import pandas as pd

MIN_HCPS = 30
MAX_HCPS = 300_000
MAX_HCPS_IN_MEMORY = 50_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class PanelDataset:
    """The panel (``panel`` in memory, or ``parts`` on disk), the eight tables by name, and the truth."""

    panel: pd.DataFrame | None
    parts: tuple[Path, ...]
    tables: dict[str, pd.DataFrame]
    truth: PanelTruth


def hcps_for_rows(n_rows: int) -> int:
    """How many HCPs make at least ``n_rows`` HCP-months."""
    return -(-n_rows // MONTHS)


def generate_panel(
    n_hcps: int, random_state: int, *, out_dir: Path | str | None = None, on_progress: Progress | None = None
) -> PanelDataset:
    """Simulate ``n_hcps`` HCPs over 36 months (2022-01 to 2024-12), a third of them per brand.

    With ``out_dir`` (new or empty) the panel goes to ``data/part-*.parquet``, the tables to
    ``tables/NAME.parquet``, and ``truth.json`` and ``declared.json`` beside them. The same
    arguments give the same bytes; more HCPs begin with the same HCPs. The tables with patients
    cover the first 120 HCPs, a claims sample: every script of theirs is one event.
    Raises ContractViolation: HCPs outside 30–300,000 (50,000 without ``out_dir``), negative random
    state, ``out_dir`` not empty.
    """
    _check(n_hcps, random_state, in_memory=out_dir is None)
    sums = PanelTruthSums()
    worlds = _worlds(n_hcps, random_state, sums, on_progress)
    if out_dir is not None:
        return _to_parquet(worlds, sums, n_hcps, random_state, Path(out_dir))
    import pyarrow as pa

    from src.synthetic.panel.tables import TableSet

    tables = TableSet()
    pieces = []
    for world in worlds:
        pieces.append(panel_table(world))
        tables.add(world)
    truth = sums.finish(n_hcps, random_state)
    return PanelDataset(pa.concat_tables(pieces).to_pandas(), (), tables.finish(truth), truth)


def _check(n_hcps: int, random_state: int, *, in_memory: bool) -> None:
    if not isinstance(n_hcps, int | np.integer) or isinstance(n_hcps, bool) or not MIN_HCPS <= n_hcps <= MAX_HCPS:
        raise ContractViolation(f"the number of HCPs must be from {MIN_HCPS} to {MAX_HCPS:,}, not {n_hcps!r}")
    if in_memory and n_hcps > MAX_HCPS_IN_MEMORY:
        raise ContractViolation(f"more than {MAX_HCPS_IN_MEMORY:,} HCPs do not go into memory; name an output folder")
    check_random_state(random_state)


def _worlds(n_hcps: int, random_state: int, sums: PanelTruthSums, on_progress: Progress | None) -> Iterator[World]:
    for chunk, first in enumerate(range(0, n_hcps, HCPS_PER_CHUNK)):
        n = min(HCPS_PER_CHUNK, n_hcps - first)
        world = simulate_chunk(Streams(random_state, "panel", chunk), n)
        sums.add(world.hcps, world.promotion, world.model, n)
        yield world
        if on_progress is not None:
            on_progress((first + n) * MONTHS, n_hcps * MONTHS)


def _to_parquet(
    worlds: Iterator[World], sums: PanelTruthSums, n_hcps: int, random_state: int, out_dir: Path
) -> PanelDataset:
    from src.synthetic.panel.tables import TableSet, write_tables

    tables = TableSet()
    with fresh_folder(out_dir) as folder:
        data = PartWriter(folder / "data")
        try:
            for world in worlds:
                data.write(panel_table(world))
                tables.add(world)
        finally:
            data.close()
        truth = sums.finish(n_hcps, random_state)
        frames = tables.finish(truth)
        write_tables(frames, folder / "tables")
        write_json(folder / "truth.json", truth.to_dict())
        write_json(folder / "declared.json", panel_declared())
    return PanelDataset(None, tuple(out_dir / "data" / path.name for path in data.paths), frames, truth)
