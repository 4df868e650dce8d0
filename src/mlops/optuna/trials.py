"""How is one trial run, so that every end of it is known: a value, a pruning, a reason for its failure?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from src.errors import HPOError
from src.mlops.mlflow.values import without_credentials
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.summary import ERROR, OWNER
from src.mlops.processes import is_gone, this_process

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
        if is_gone(trial.user_attrs.get(OWNER, ""))
    ]
    for trial in dead:
        study.tell(trial.number, state=fail, skip_if_finished=True)
    return len(dead)


def _reason(error: BaseException) -> str:
    # A trial sees matrices of numbers and codes of classes, so that no library can quote a person in its message.
    lines = str(error).strip().splitlines()
    said = without_credentials(lines[0])[:200] if lines else ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
