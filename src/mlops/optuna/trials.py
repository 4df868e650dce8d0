"""How is one trial run, so that every end of it is known: a value, a pruning, a reason for its failure?"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from src.errors import HPOError
from src.mlops.mlflow.values import without_credentials
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.summary import ERROR, OWNER

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

    # Trains with the trial's parameters; returns the metric, raises optuna.TrialPruned when told to stop.
    Objective: TypeAlias = Callable[[Trial], float]


class NotFinite(HPOError):
    """An objective gave NaN or an infinite value; such a trial fails."""


def guarded(objective: Objective) -> Objective:
    """``objective`` for ``Study.optimize(…, catch=(Exception,))``: the trial keeps who runs it and why it failed.

    NaN and infinite values are failures: nothing is better than infinity, so one such trial would win for ever.
    """
    pruned = load_optuna().TrialPruned

    def run(trial: Trial) -> float:
        trial.set_user_attr(OWNER, this_process())
        try:
            value = float(objective(trial))
            if not math.isfinite(value):
                raise NotFinite(f"the objective gave {value}")
        except pruned:
            raise
        except Exception as error:
            trial.set_user_attr(ERROR, _reason(error))
            raise
        return value

    return run


def fail_dead_trials(study: Study) -> int:
    """End, as FAIL, the running trials of this machine's processes that are gone; returns how many.

    Those of other machines end when their signs of life have stopped for long enough.
    """
    fail, running = load_optuna().trial.TrialState.FAIL, load_optuna().trial.TrialState.RUNNING
    dead = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(running,))
        if not _may_live(trial.user_attrs.get(OWNER, ""))
    ]
    for trial in dead:
        study.tell(trial.number, state=fail, skip_if_finished=True)
    return len(dead)


def this_process() -> str:
    """Host, process id and the process's start, which tells it from a later one of the same id."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _may_live(owner: str) -> bool:
    host, _, process = owner.partition("/")
    if not process or host != socket.gethostname():
        return True
    pid, _, started = process.partition("/")
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks; empty where there is no /proc, and for a process that is gone."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    after_name = line.rpartition(")")[2].split()
    # A zombie waits for its parent and runs nothing.
    return "" if after_name[0] == "Z" else after_name[19]


def _reason(error: BaseException) -> str:
    # A trial sees matrices of numbers and codes of classes, so that no library can quote a person in its message.
    lines = str(error).strip().splitlines()
    said = without_credentials(lines[0])[:200] if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
