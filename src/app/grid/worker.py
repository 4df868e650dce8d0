"""How does a process that works on a grid answer one cell after the other?"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any

from src.app.effects import OUTAGES, answer_effect
from src.app.grid.panel_memory import PanelMemory
from src.app.questions import EffectQuestion
from src.app.session import CatalogueDatasets, Session, open_session
from src.errors import E2IError, ServiceOutage


@dataclass(frozen=True, slots=True)
class CellTask:
    """One cell for a worker; ``grid_id`` is the trace that its run stands in."""

    grid_id: str
    number: int
    question: EffectQuestion
    declared: Mapping[str, Any]
    understood: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CellAnswer:
    """The run that answered a cell, or the refusal: its type and words."""

    number: int
    run_id: str | None = None
    reason_type: str | None = None
    reason: str | None = None


class Worker:
    """An open session on an event loop of its own, for one thread."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        self.session: Session | None = None

    def answer(self, task: CellTask) -> CellAnswer:
        """Answer a cell. What goes wrong other than by refusal leaves unchanged."""
        return self._runner.run(self._answer(task))

    def close(self) -> None:
        """Close session and loop."""
        self._runner.run(self._open.aclose())
        self._runner.close()

    async def _answer(self, task: CellTask) -> CellAnswer:
        if self.session is None:
            opened = await self._open.enter_async_context(open_session())
            memory = PanelMemory(opened.database)
            self.session = replace(opened, catalogue=memory, datasets=CatalogueDatasets(memory))
        try:
            answer = await answer_effect(
                self.session,
                task.question,
                declared=task.declared,
                understood=task.understood,
                trace_id=task.grid_id,
                keep_answer=False,
            )
        except (*OUTAGES, ServiceOutage):
            raise
        except E2IError as refusal:
            return CellAnswer(task.number, reason_type=type(refusal).__name__, reason=str(refusal))
        return CellAnswer(task.number, run_id=answer.run.run_id)


_own = threading.local()


def answer_cell(task: CellTask) -> CellAnswer:
    """Answer one cell with the worker of this thread, which is opened for the first and lives as long as the process.

    The database and the folder of datasets are those of the process's environment.
    """
    if not hasattr(_own, "worker"):
        _own.worker = Worker()
        if threading.current_thread() is threading.main_thread():
            atexit.register(end_worker)
    worker: Worker = _own.worker
    return worker.answer(task)


def end_worker() -> None:
    """Close the worker of this thread, if it has one."""
    if hasattr(_own, "worker"):
        _own.worker.close()
        del _own.worker
