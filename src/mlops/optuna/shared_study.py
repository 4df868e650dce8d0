"""What does one of several workers on a study do? It takes a turn, begins a trial, gives the turn back, and trains."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

from src.errors import HPOError, ServiceOutage
from src.mlops.optuna.configuration import OptunaConfig
from src.mlops.optuna.factories import seed_of
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.limits import StopRules
from src.mlops.optuna.objectives import Fitting, ValidationObjective, ended_by
from src.mlops.optuna.shared_rows import load_rows
from src.mlops.optuna.storage import StorageAddress, close_storage, open_storage, reachable, storage_address
from src.mlops.optuna.summary import OWNER
from src.mlops.optuna.transfer import equip
from src.mlops.optuna.trials import fail_dead_trials, guarded
from src.mlops.processes import this_process

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import Trial

    from src.mlops.optuna.trials import Objective

# Attribute of a trial: the worker it was given to. Attribute of a study: the search that takes no further trial.
TAKEN_BY, WITHDRAWN = "taken_by", "withdrawn"
# Between the seeds of two workers: the same one would draw the same first trials.
_APART = 104_729


class WorkerTask(Protocol):
    """What the workers try: picklable, and made into an objective where it is used."""

    @property
    def config(self) -> OptunaConfig:
        """Sampler, pruner and limits."""
        ...

    @property
    def random_state(self) -> int:
        """Seed of the first worker's sampler; the others' are derived from it."""
        ...

    def objective(self) -> Objective:
        """What a trial does. Called once by each worker, before its first trial."""
        ...


@dataclass(frozen=True, slots=True)
class ValidationTask:
    """Trains on the rows in the file ``data`` (see ``rows_on_disk``), which every worker must reach."""

    data: str
    fitting: Fitting
    config: OptunaConfig
    random_state: int = 42

    def objective(self) -> Objective:
        """Raises DataUnavailable when the file is not there."""
        train, validation = load_rows(self.data)
        return ValidationObjective(self.fitting, train, validation)


@dataclass(frozen=True, slots=True)
class Assignment:
    """A place in a search. ``last``: begun trials of the study at which no other is begun; ``timeout_s`` from now."""

    storage_url: str = field(repr=False)
    study_name: str
    task: WorkerTask
    search: str
    worker: int
    last: int
    timeout_s: float | None = None

    @property
    def token(self) -> str:
        """What the worker's trials are marked with."""
        return f"{self.search}/{self.worker}"


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """What one worker did. ``stopped_because``: trials (none is left), timeout, no_improvement, memory, withdrawn."""

    trials: int
    stopped_because: str


def work(assignment: Assignment) -> WorkerReport:
    """Run trials until none is left or a limit is reached.

    Raises ServiceOutage when the storage is lost, and what making the objective raises.
    """
    config, address = assignment.task.config, storage_address(assignment.storage_url)
    rules = StopRules(config.limits, timeout_s=assignment.timeout_s)
    objective = guarded(ended_by(assignment.task.objective(), rules.over))
    study = opened_study(assignment.storage_url, assignment.study_name)
    trials = 0
    try:
        with reachable(address):
            _equip(study, assignment)
            while rules.reason is None:
                if (over := _one_trial(study, address, assignment, objective, rules)) is not None:
                    return WorkerReport(trials, over)
                trials += 1
    finally:
        close_storage(study._storage)
    return WorkerReport(trials, rules.reason)


def opened_study(storage_url: str, study_name: str) -> Study:
    """The study, with connections of its own. Raises HPOError, ServiceOutage."""
    optuna, address = load_optuna(), storage_address(storage_url)
    if address.kind == "memory":
        raise HPOError("a study in memory belongs to one process; set OPTUNA_STORAGE_URL to share it among workers")
    storage = open_storage(storage_url)
    with reachable(address):
        try:
            study: Study = optuna.load_study(
                study_name=study_name,
                storage=storage,
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
            )
        except KeyError as error:
            close_storage(storage)
            raise HPOError(f"no study '{study_name}' in {address.shown}") from error
    return study


def begun_trials(study: Study) -> int:
    """Trials that somebody began, whatever became of them."""
    return sum(trial.state.name != "WAITING" for trial in study.get_trials(deepcopy=False))


@contextmanager
def turn(address: StorageAddress, study_name: str) -> Iterator[None]:
    """Alone among all processes that take turns on this study; a process that dies gives its turn back.

    Raises ServiceOutage when the database does not answer.
    """
    if address.kind == "sqlite":
        with _locked(_turn_file(address, study_name)):
            yield
        return
    import psycopg

    plain = urlunsplit(urlsplit(address.url)._replace(scheme="postgresql"))
    key = int.from_bytes(hashlib.sha256(f"optuna:{study_name}".encode()).digest()[:8], "big", signed=True)
    try:
        connection = psycopg.connect(plain)
        # Held by the transaction: a pooler may give every transaction another session.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
    except psycopg.Error as error:
        raise ServiceOutage(f"the study storage {address.shown} does not answer ({type(error).__name__})") from error
    with connection:
        yield


def end_turns(address: StorageAddress, study_name: str) -> None:
    """Remove what the turns on a study needed, unless somebody has one: another search goes on."""
    if address.kind != "sqlite":
        return
    path = _turn_file(address, study_name)
    with suppress(FileNotFoundError, BlockingIOError), path.open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_file(lock, path):
            path.unlink()


def _turn_file(address: StorageAddress, study_name: str) -> Path:
    digest = hashlib.sha256(study_name.encode()).hexdigest()[:16]
    return address.file.with_name(f"{address.file.name}.{digest}.turn")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # One that was removed while we waited for it keeps nobody else out.
            if _is_file(lock, path):
                yield
                return


def _is_file(file: IO[str], path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(file.fileno()), there)


def _equip(study: Study, assignment: Assignment) -> None:
    task = assignment.task
    seed = (seed_of(task.random_state, begun_trials(study)) + _APART * assignment.worker) % 2**32
    equip(study, task.config, seed)


def _one_trial(
    study: Study, address: StorageAddress, assignment: Assignment, objective: Objective, rules: StopRules
) -> str | None:
    """Begin and run a trial; or why there is none to begin."""
    with ExitStack() as waiting:
        waiting.enter_context(turn(address, study.study_name))
        if study.user_attrs.get(WITHDRAWN) == assignment.search:
            return "withdrawn"
        if begun_trials(study) >= assignment.last:
            return "trials"

        def run(trial: Trial) -> float:
            trial.set_user_attr(OWNER, this_process())
            trial.set_user_attr(TAKEN_BY, assignment.token)
            # Begun and marked: the next worker counts it.
            waiting.close()
            return objective(trial)

        study.optimize(run, n_trials=1, catch=(Exception,), callbacks=[rules])
    return None


def fail_trials_of(study: Study, address: StorageAddress, token: str) -> bool:
    """End, as FAIL, the trial that a dead worker left running; whether it had begun any."""
    with reachable(address), turn(address, study.study_name):
        abandoned = fail_abandoned(study, token)
        taken = any(trial.user_attrs.get(TAKEN_BY) == token for trial in study.get_trials(deepcopy=False))
    return bool(abandoned) or taken


def fail_abandoned(study: Study, token: str | None = None) -> int:
    """End the running trials that nobody runs: those of the worker ``token``, of processes of this machine that are
    gone, and of workers that died in their turn. Only for the one whose turn it is; returns how many.
    """
    fail, running = load_optuna().trial.TrialState.FAIL, load_optuna().trial.TrialState.RUNNING
    left = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(running,))
        if OWNER not in trial.user_attrs or (token is not None and trial.user_attrs.get(TAKEN_BY) == token)
    ]
    for trial in left:
        study.tell(trial.number, state=fail, skip_if_finished=True)
    return len(left) + fail_dead_trials(study)
