"""How do several workers, here or on other machines, share one study, so that each trial is run once?"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

from src.errors import HPOError
from src.execution.executor import Executor, Outcome
from src.mlops.optuna.limits import check_budget
from src.mlops.optuna.shared_rows import rows_on_disk
from src.mlops.optuna.shared_study import (
    WITHDRAWN,
    Assignment,
    ValidationTask,
    WorkerReport,
    WorkerTask,
    begun_trials,
    end_turns,
    fail_abandoned,
    fail_trials_of,
    opened_study,
    turn,
    work,
)
from src.mlops.optuna.storage import StorageAddress, close_storage, reachable, storage_address
from src.mlops.optuna.summary import STOPPED, finished_trials

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

__all__ = ["OnTrial", "ValidationTask", "WorkerReport", "WorkerTask", "rows_on_disk", "run_workers"]

OnTrial = Callable[["FrozenTrial"], Awaitable[None]]
# Seconds between two looks at what has finished.
_POLL_S = 0.2


async def run_workers(
    *,
    executor: Executor,
    storage_url: str,
    study_name: str,
    n_trials: int,
    task: WorkerTask,
    timeout_s: float | None = None,
    on_trial: OnTrial | None = None,
) -> list[Outcome]:
    """Run ``n_trials`` further trials of a study on all workers of ``executor``; how each worker ended.

    Exactly so many are begun, those of killed workers, which become FAIL, among them; fewer only where a limit of
    the configuration or ``timeout_s`` (for the whole search) says so. A killed worker is replaced. The ``value`` of
    an outcome is a WorkerReport; a worker that fails, say because it does not reach the storage, is not replaced.
    ``on_trial`` is told every trial that finishes; what it raises ends the search. A cancelled search ends the
    workers of this machine, elsewhere they stop after their trial; the study can be resumed.

    Raises HPOError for a study that is unknown or in memory, for too many trials, and when every worker failed;
    ServiceOutage when the storage does not answer.
    """
    study = await asyncio.to_thread(opened_study, storage_url, study_name)
    address, search = storage_address(storage_url), uuid4().hex
    try:
        begun, finished = await asyncio.to_thread(_before, study, address)
        check_budget(n_trials, begun, task.config.limits)
        first = Assignment(storage_url, study_name, task, search, 0, begun + n_trials)
        places = min(executor.workers, n_trials)
        working = asyncio.ensure_future(_in_places(executor, study, address, first, places, timeout_s))
        try:
            if on_trial is not None:
                await _follow(study, address, working, on_trial, finished)
            outcomes = await working
        except BaseException as error:
            working.cancel()
            await _whatever_happens(_withdraw(study, address, search, working), error)
            raise
        await asyncio.to_thread(_conclude, study, address, outcomes)
    finally:
        end_turns(address, study_name)
        close_storage(study._storage)
    return outcomes


async def _in_places(
    executor: Executor, study: Study, address: StorageAddress, first: Assignment, places: int, timeout_s: float | None
) -> list[Outcome]:
    numbers = itertools.count()
    deadline = None if timeout_s is None else time.monotonic() + timeout_s

    def next_worker() -> Assignment:
        # A limit of nothing ends the worker after one trial.
        left = None if deadline is None else max(deadline - time.monotonic(), 1e-3)
        return replace(first, worker=next(numbers), timeout_s=left)

    async def one_place() -> list[Outcome]:
        """One worker, and another in its place as long as they are killed over trials and some are left."""
        ended: list[Outcome] = []
        while True:
            assignment = next_worker()
            async for outcome in executor.run(work, [assignment]):
                ended.append(replace(outcome, index=assignment.worker))
            if not ended[-1].worker_lost:
                return ended
            had_begun = await asyncio.to_thread(fail_trials_of, study, address, assignment.token)
            if not had_begun or await asyncio.to_thread(_begun, study, address) >= first.last:
                return ended

    running = [asyncio.ensure_future(one_place()) for _ in range(places)]
    try:
        ended = await asyncio.gather(*running)
    finally:
        for place in running:
            place.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    return sorted(itertools.chain.from_iterable(ended), key=lambda outcome: outcome.index)


async def _follow(
    study: Study, address: StorageAddress, working: asyncio.Future[list[Outcome]], on_trial: OnTrial, told: set[int]
) -> None:
    """Tell each trial once, after it has finished, until the workers are done."""
    over = False
    while not over:
        await asyncio.wait({working}, timeout=_POLL_S)
        over = working.done()
        for trial in await asyncio.to_thread(_finished, study, address):
            if trial.number not in told:
                told.add(trial.number)
                await on_trial(trial)


async def _withdraw(study: Study, address: StorageAddress, search: str, working: asyncio.Future[list[Outcome]]) -> None:
    """No worker begins another trial, wherever it is; those of dead processes here are FAIL."""

    def close() -> None:
        with reachable(address):
            study.set_user_attr(WITHDRAWN, search)
            with turn(address, study.study_name):
                fail_abandoned(study)

    await asyncio.wait({working})
    await asyncio.to_thread(close)


async def _whatever_happens(ending: Awaitable[None], error: BaseException) -> None:
    """Finish ``ending`` though this task be cancelled again; what goes wrong is noted on ``error``."""
    work_left = asyncio.ensure_future(ending)
    while not work_left.done():
        try:
            await asyncio.wait({work_left})
        except asyncio.CancelledError:
            continue
    if (problem := work_left.exception()) is not None:
        error.add_note(f"the search was not closed: {type(problem).__name__}: {problem}")


def _before(study: Study, address: StorageAddress) -> tuple[int, set[int]]:
    """How many trials were begun before the search, and the numbers of those that have finished."""
    with reachable(address), turn(address, study.study_name):
        fail_abandoned(study)
        return begun_trials(study), {trial.number for trial in finished_trials(study)}


def _begun(study: Study, address: StorageAddress) -> int:
    with reachable(address):
        return begun_trials(study)


def _finished(study: Study, address: StorageAddress) -> list[FrozenTrial]:
    with reachable(address):
        return finished_trials(study)


def _conclude(study: Study, address: StorageAddress, outcomes: Sequence[Outcome]) -> None:
    """Keep with the study why it ended. Raises HPOError when no worker came to its end."""
    reports = [outcome.value for outcome in outcomes if outcome.ok]
    if not reports and not any(outcome.worker_lost for outcome in outcomes):
        causes = sorted({f"{outcome.error_type}: {outcome.error_message}" for outcome in outcomes})
        raise HPOError(f"no worker could run the study {study.study_name}: {'; '.join(causes)}")
    limits = [report.stopped_because for report in reports if report.stopped_because != "trials"]
    with reachable(address):
        study.set_user_attr(STOPPED, limits[0] if limits else "trials")
