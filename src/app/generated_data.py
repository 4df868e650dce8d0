"""How does generated data, with its truth beside it, become a dataset and rows of the contract tables?"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.storage.catalogue import Catalogue, register_stored
from src.storage.database import Database
from src.storage.datasets import StoredTable, datasets_dir, store_table
from src.storage.loading import load_tables
from src.storage.partial_files import PartialFile, working_folder
from src.storage.records import DatasetRecord, Json
from src.storage.rejections import LoadReport
from src.storage.tabular import TableContent, read_table

PANEL_NAME = "hcp_month_panel"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class GeneratedData:
    """A registered dataset, the file with its truth, and what was loaded into tables (panel only)."""

    record: DatasetRecord
    truth_path: Path
    loads: dict[str, LoadReport]


async def register_synthetic(
    catalogue: Catalogue,
    process: str,
    n_rows: int,
    random_state: int,
    *,
    outcome: str = "continuous",
    out_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> GeneratedData:
    """Generate a process, store it, and enter it under the name of the process with its declared knowledge.

    The truth goes to ``<dataset_id>.truth.json`` in the dataset folder. With ``out_dir`` the
    generated files are kept there as well. The same arguments give the same dataset. Raises as
    ``synthetic.generate``.
    """
    from src.synthetic.generation import generate
    from src.synthetic.spec import declared

    with _folder(out_dir) as folder:
        made = await asyncio.to_thread(
            generate,
            process,
            n_rows,
            random_state,
            out_dir=folder,
            outcome=outcome,
            on_progress=_step(on_progress, "generating"),
        )
        stored = await asyncio.to_thread(_store_parts, made.parts)
    source = f"synthetic:{process} rows={n_rows} random_state={random_state} outcome={outcome}"
    return await _enter(catalogue, stored, process, source, declared(made.spec), made.truth.to_dict())


async def register_panel(
    catalogue: Catalogue,
    db: Database,
    n_hcps: int,
    random_state: int,
    *,
    load: bool = False,
    replace_rows: bool = False,
    out_dir: Path | None = None,
    on_progress: Progress | None = None,
) -> GeneratedData:
    """Generate the HCP-month panel and enter it as ``hcp_month_panel``; with ``load`` also load its eight tables.

    Loading the same generation again changes nothing. Another generation is refused where its keys
    are taken (LoadRejected), unless ``replace_rows``: then all rows of the eight tables are
    replaced in one transaction. The panel is entered only when the tables are loaded.
    """
    from src.synthetic.panel.generation import generate_panel
    from src.synthetic.panel.knowledge import panel_declared

    with _folder(out_dir) as folder:
        made = await asyncio.to_thread(
            generate_panel, n_hcps, random_state, out_dir=folder, on_progress=_step(on_progress, "generating")
        )
        stored = await asyncio.to_thread(_store_parts, made.parts)
    loads: dict[str, LoadReport] = {}
    if load:
        sources = {name: [frame] for name, frame in made.tables.items()}
        loading = _counter(on_progress, len(sources))
        try:
            loads = await load_tables(sources, db=db, replace_rows=replace_rows, on_table=loading)
        except BaseException:
            if stored.is_new:
                stored.path.unlink(missing_ok=True)
            raise
    source = f"synthetic:panel hcps={n_hcps} random_state={random_state}"
    entered = await _enter(catalogue, stored, PANEL_NAME, source, panel_declared(), made.truth.to_dict())
    return GeneratedData(entered.record, entered.truth_path, loads)


def truth_path(record: DatasetRecord) -> Path:
    """Where the truth of a generated dataset is kept."""
    return datasets_dir() / f"{record.dataset_id}.truth.json"


def read_truth(record: DatasetRecord) -> Json:
    """The truth document of a generated dataset; FileNotFoundError for any other."""
    document: Json = json.loads(truth_path(record).read_text(encoding="utf-8"))
    return document


async def _enter(
    catalogue: Catalogue, stored: StoredTable, name: str, source: str, declared: Json, truth: Json
) -> GeneratedData:
    target = stored.path.parent / f"{stored.dataset_id}.truth.json"
    with PartialFile(stored.path.parent) as partial:
        partial.handle.write(json.dumps(truth, indent=2, ensure_ascii=False, allow_nan=False).encode())
        partial.commit(target)
    record = await register_stored(catalogue, stored, name=name, kind="synthetic", source=source, declared=declared)
    return GeneratedData(record, target, {})


def _store_parts(parts: Sequence[Path]) -> StoredTable:
    first = read_table(parts[0])

    def batches() -> Iterator[Any]:
        for part in parts:
            yield from read_table(part).batches

    return store_table(TableContent(first.schema, batches(), ()))


@contextmanager
def _folder(out_dir: Path | None) -> Iterator[Path]:
    if out_dir is not None:
        yield out_dir
        return
    with working_folder(datasets_dir()) as folder:
        yield folder / "generated"


def _step(on_progress: Progress | None, step: str) -> Callable[[int, int], None] | None:
    if on_progress is None:
        return None
    report = on_progress
    return lambda done, total: report(step, done, total)


def _counter(on_progress: Progress | None, total: int) -> Callable[[str], None] | None:
    if on_progress is None:
        return None
    report, names = on_progress, list[str]()

    def loading(name: str) -> None:
        names.append(name)
        report(f"loading {name}", len(names), total)

    return loading
