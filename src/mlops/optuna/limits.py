"""When does a search end before its trials are used up?"""

from __future__ import annotations

import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from src.errors import HPOError
from src.mlops.optuna.configuration import LimitSettings
from src.mlops.optuna.summary import finished_trials

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial


class StopRules:
    """A callback of ``Study.optimize``: after each trial it decides whether another one begins.

    ``reason`` is timeout, no_improvement, memory or cancelled, and None while none of them applied. A running
    trial may ask ``over`` whether it is to break off.
    """

    def __init__(
        self,
        limits: LimitSettings,
        *,
        timeout_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        memory_mb: Callable[[], float] | None = None,
    ) -> None:
        """``timeout_s`` shortens ``limits.max_seconds``, from now on. Raises HPOError unless it is positive."""
        if timeout_s is not None and not timeout_s > 0:
            raise HPOError(f"a search needs a positive timeout in seconds, not {timeout_s:g}")
        self.reason: str | None = None
        self._limits = limits
        self._clock = clock
        self._memory_mb = memory_mb or resident_mb
        self._deadline = clock() + min(limits.max_seconds, timeout_s or limits.max_seconds)
        self._cancelled = threading.Event()

    def cancel(self) -> None:
        """End after the running trial, which need not go on."""
        self._cancelled.set()

    def over(self) -> bool:
        """Whether the time is up or the search was cancelled."""
        return self._cancelled.is_set() or self._clock() >= self._deadline

    def __call__(self, study: Study, trial: FrozenTrial) -> None:
        """Stop the study when a limit is reached."""
        if self.reason is None:
            self.reason = self._reached(study)
        if self.reason is not None:
            study.stop()

    def _reached(self, study: Study) -> str | None:
        if self._cancelled.is_set():
            return "cancelled"
        if self._clock() >= self._deadline:
            return "timeout"
        if self._memory_mb() > self._limits.max_memory_mb:
            return "memory"
        if trials_without_improvement(study) >= self._limits.stop_after_no_improvement:
            return "no_improvement"
        return None


def check_budget(n_trials: int, finished: int, limits: LimitSettings) -> None:
    """Raise HPOError for a number of further trials that is no number or more than a study may have."""
    if n_trials < 1:
        raise HPOError(f"a search needs at least one trial, not {n_trials}")
    if finished + n_trials > limits.max_trials:
        raise HPOError(
            f"{finished + n_trials} trials are more than a study may have: "
            f"limits.max_trials in config/optuna_config.yaml is {limits.max_trials}"
        )


def trials_without_improvement(study: Study) -> int:
    """Trials completed or pruned after the best one; 0 as long as none was completed."""
    ended = [trial for trial in finished_trials(study) if trial.state.name != "FAIL"]
    if not any(trial.state.name == "COMPLETE" for trial in ended):
        return 0
    best = study.best_trial.number
    return sum(trial.number > best for trial in ended)


def resident_mb() -> float:
    """Memory of this process in MB (10⁶ bytes); where the system does not tell, the most it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    return pages * resource.getpagesize() / 1e6
