"""How does a search run beside the event loop, be followed trial by trial, and be cancelled without losing one?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from src.mlops.optuna.limits import StopRules
from src.mlops.optuna.objectives import ended_by
from src.mlops.optuna.results import TrialRecord
from src.mlops.optuna.storage import StorageAddress, reachable
from src.mlops.optuna.summary import direction_of, trial_record
from src.mlops.optuna.trials import guarded

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from src.mlops.optuna.trials import Objective

StudyCallback = Callable[["Study", "FrozenTrial"], None]


@dataclass(frozen=True, slots=True)
class TrialProgress:
    """After a trial: how many of the ``planned`` ones are ``done``, the best value so far, and the trial itself."""

    done: int
    planned: int
    best_value: float | None
    trial: TrialRecord


OnProgress = Callable[[TrialProgress], None]


@dataclass(frozen=True)
class Search:
    """A study with what is still to be tried on it; ``done`` of the ``planned`` trials have ended before."""

    study: Study
    objective: Objective
    n_trials: int
    n_jobs: int
    rules: StopRules
    address: StorageAddress
    callbacks: Sequence[StudyCallback] = ()
    on_progress: OnProgress | None = None
    record: Callable[[TrialRecord, FrozenTrial], Awaitable[None]] | None = None
    done: int = 0

    async def run(self) -> None:
        """Run the trials in a thread. A cancellation takes effect when the running trial has ended, which it does at
        its next report, and is recorded.

        What ``on_progress`` raises ends the search and leaves unchanged. Raises ServiceOutage when the storage
        fails.
        """
        following = asyncio.ensure_future(self._follow())
        try:
            await asyncio.shield(following)
        except asyncio.CancelledError:
            self.rules.cancel()
            await _ended(following)
            raise

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Queue[FrozenTrial | None] = asyncio.Queue()

        def after_trial(study: Study, trial: FrozenTrial) -> None:
            loop.call_soon_threadsafe(ended.put_nowait, trial)

        trying = asyncio.ensure_future(asyncio.to_thread(self._try, after_trial))
        trying.add_done_callback(lambda _: ended.put_nowait(None))
        best, done = await asyncio.to_thread(_best_value, self.study), self.done
        try:
            while (trial := await ended.get()) is not None:
                done += 1
                best = self._better(best, trial)
                await self._tell(trial, done, best)
        finally:
            self.rules.cancel()
            await asyncio.wait({trying})
        trying.result()

    async def _tell(self, trial: FrozenTrial, done: int, best: float | None) -> None:
        told = trial_record(trial)
        if self.on_progress is not None:
            self.on_progress(TrialProgress(done, self.done + self.n_trials, best, told))
        if self.record is not None:
            await self.record(told, trial)

    def _try(self, after_trial: StudyCallback) -> None:
        with reachable(self.address):
            self.study.optimize(
                guarded(ended_by(self.objective, self.rules.over)),
                n_trials=self.n_trials,
                n_jobs=self.n_jobs,
                catch=(Exception,),
                callbacks=[*self.callbacks, after_trial, self.rules],
            )

    def _better(self, best: float | None, trial: FrozenTrial) -> float | None:
        if trial.state.name != "COMPLETE" or trial.value is None:
            return best
        if best is None:
            return trial.value
        return min(best, trial.value) if direction_of(self.study) == "minimize" else max(best, trial.value)


def _best_value(study: Study) -> float | None:
    complete = [trial for trial in study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE"]
    return float(study.best_value) if complete else None


async def _ended(work: asyncio.Future[Any]) -> None:
    """Wait for ``work`` however often the waiting is cancelled; its own exception is seen and dropped."""
    while not work.done():
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            continue
    if not work.cancelled():
        work.exception()
