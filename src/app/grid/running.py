"""How is a grid answered, cell by cell over several processes, and taken up again where it stopped?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from src.app.grid.cells import Cell, HeldPlan, cells_of, grid_digest, values_of
from src.app.grid.grid_file import GridFile, read_grid_file
from src.app.grid.results import GridResult, grid_result
from src.app.grid.worker import CellAnswer, CellTask, answer_cell
from src.app.provenance import code_version
from src.app.registration.carrying_out import data_notes
from src.app.session import Session
from src.causal_engine.experiment.multiplicity import Adjustment
from src.domain.guards import Guards
from src.errors import ContractViolation
from src.execution.executor import Executor, Outcome
from src.mlops.tracing.ids import uuid7
from src.storage.effect_grids import CellRecord, GridRecord, GridRepository
from src.storage.records import DatasetRecord
from src.storage.registrations import PlanRepository

COMPLETED = "completed"
Report = Callable[[str, float], None]
OpenExecutor = Callable[[int], AbstractAsyncContextManager[Executor]]


@dataclass(frozen=True, slots=True)
class Order:
    """A grid file, how many processes answer it, and for whom."""

    file: Path
    guards: Guards
    workers: int = 1
    plan: str | None = None
    role: str = "analyst"


async def run_grid(
    session: Session,
    order: Order,
    executor: OpenExecutor,
    *,
    adjustment: Adjustment = Adjustment.BH,
    on_progress: Report = lambda *_: None,
) -> GridResult:
    """Answer every cell of a grid that has no answer yet.

    Each cell is a run like that of any effect. A grid with the same questions, data and code that is there already is
    taken up where it stopped, and told again where it is complete; a refused cell is asked no second time. A cell that
    fails costs that cell only. Everything is checked before anything is written; raises what ``cells_of`` raises, and
    ContractViolation where another process works on this grid.
    """
    asked = read_grid_file(order.file)
    async with session.dataset_for(asked.question(asked.treatments[0], asked.outcomes[0])) as staged:
        held = await _held(session, order.plan or asked.plan)
        values = await values_of(asked, session.catalogue, staged.record, guards=order.guards, role=order.role)
        cells = cells_of(asked, staged.record, values, guards=order.guards, role=order.role, held=held)
        dataset = await staged.commit()
    grids = GridRepository(session.database)
    digest = grid_digest(cells, dataset, asked.level)
    async with session.claim(f"grid/{digest}") as mine:
        if not mine:
            raise ContractViolation("another process is working on this very grid; wait for it to end")
        grid = await grids.of_digest(digest) or await _begun(grids, asked, cells, dataset, digest)
        if grid.status != COMPLETED:
            await _answer(grids, grid, cells, order.workers, executor, on_progress)
    return await grid_result(grids, grid.grid_id, adjustment)


async def _held(session: Session, plan_id: str | None) -> HeldPlan | None:
    if plan_id is None:
        return None
    plan = await PlanRepository(session.database).get(plan_id)
    return HeldPlan(plan, await data_notes(session, plan))


async def _begun(
    grids: GridRepository, asked: GridFile, cells: Sequence[Cell], dataset: DatasetRecord, digest: str
) -> GridRecord:
    document: dict[str, Any] = {
        "title": asked.title or f"effects on {dataset.name}",
        "dataset": dataset.name,
        "data_sha256": dataset.content_sha256,
        "code_version": code_version(),
        "level": asked.level,
        "by": list(asked.by),
        "cells": [cell.name for cell in cells],
    }
    grid = GridRecord(str(uuid7()), digest, document, dataset.dataset_id, len(cells), "running", datetime.now(UTC))
    await grids.begin(grid)
    return grid


async def _answer(
    grids: GridRepository,
    grid: GridRecord,
    cells: Sequence[Cell],
    workers: int,
    executor: OpenExecutor,
    on_progress: Report,
) -> None:
    ended = {number: cell for number, cell in (await grids.cells(grid.grid_id)).items() if cell.status != "failed"}
    open_cells = [cell for cell in cells if cell.number not in ended]
    tasks = [_task(grid.grid_id, cell) for cell in open_cells]
    done, failed = len(ended), 0
    if tasks:
        async with executor(workers) as processes:
            async for outcome in processes.run(answer_cell, tasks):
                record = _record(open_cells[outcome.index], outcome)
                await grids.add_cell(grid.grid_id, record)
                done, failed = done + 1, failed + (record.status == "failed")
                on_progress(f"{done:,} of {len(cells):,} cells", done / len(cells))
    await grids.end(grid.grid_id, "partial" if failed else COMPLETED, datetime.now(UTC))


def _task(grid_id: str, cell: Cell) -> CellTask:
    understood = {**cell.understood, "grid": {"grid_id": grid_id, "cell": cell.number}}
    return CellTask(grid_id, cell.number, cell.question, dict(cell.declared), understood)


def _record(cell: Cell, outcome: Outcome) -> CellRecord:
    if not outcome.ok:
        return CellRecord(cell.number, "failed", None, outcome.error_type, outcome.error_message or "no message")
    answered: CellAnswer = outcome.value
    if answered.run_id is None:
        return CellRecord(cell.number, "refused", None, answered.reason_type, answered.reason)
    return CellRecord(cell.number, "answered", answered.run_id)
