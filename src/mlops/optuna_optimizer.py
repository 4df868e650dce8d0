"""Which hyperparameters are best? Searches that prune while they train, survive their process and keep every trial."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from src.domain.modelling import Direction, ProblemType
from src.errors import HPOError, nearest_names
from src.mlops.mlflow.values import without_prefix
from src.mlops.modelling.families import get_model_class
from src.mlops.modelling.metrics import DIRECTIONS
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import OptunaConfig, load_optuna_config
from src.mlops.optuna.factories import PrunerFactory, SamplerFactory, method_name, seed_of
from src.mlops.optuna.first_trials import begin, enqueue_warmstarts
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.limits import StopRules, check_budget
from src.mlops.optuna.objectives import (
    EARLY_STOPPING_ROUNDS,
    CrossValidationObjective,
    ValidationObjective,
    cross_validation,
    fitting_of,
)
from src.mlops.optuna.results import EarlierSearch, HPOSummary, SaveReport, TrialRecord, WarmStart
from src.mlops.optuna.search import OnProgress, Search, StudyCallback, TrialProgress
from src.mlops.optuna.shared_rows import sweep_rows
from src.mlops.optuna.spaces import RawSpace, suggest_from_search_space
from src.mlops.optuna.storage import close_storage, open_storage, reachable, storage_address
from src.mlops.optuna.subjects import refuse_another_search, subject_of_search
from src.mlops.optuna.summary import (
    METHODS,
    PATTERN,
    RESOURCE,
    STOPPED,
    SUBJECT,
    StudySubject,
    finished_trials,
    history,
    rows_to_keep,
    subject_of,
    summarize,
    trial_record,
)
from src.mlops.optuna.transfer import equip
from src.mlops.optuna.trial_runs import TrialRuns, trial_runs
from src.mlops.optuna.trials import fail_dead_trials

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import BaseTrial, FrozenTrial

    from src.mlops.mlflow_connector import MLflowConnector
    from src.mlops.optuna.trials import Objective

__all__ = [
    "HPOSummary",
    "OptunaOptimizer",
    "PrunerFactory",
    "SamplerFactory",
    "SaveReport",
    "StudySubject",
    "TrialProgress",
    "TrialRecord",
    "WarmStart",
    "get_model_class",
    "load_optuna_config",
    "open_search",
    "run_hyperparameter_optimization",
    "subject_of_search",
]


class StudyRepository(Protocol):
    """Keeps studies in ``ml_hpo_studies`` and ``ml_hpo_trials``."""

    async def save_study(self, study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
        """Store a study with its trials, in place of what is stored of it; returns its id."""
        ...


class OptunaOptimizer:
    """Searches for hyperparameters in one experiment. Arguments win over the file, the file over the defaults.

    Nothing is opened before the first study. Blocking work runs in threads. ``aclose`` gives back connections.
    """

    def __init__(
        self,
        experiment_id: str,
        storage_url: str | None = None,
        mlflow_connector: MLflowConnector | None = None,
        config_path: Path | str | None = None,
        config: OptunaConfig | Mapping[str, Any] | None = None,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``experiment_id`` is the experiment's name; ``config`` a whole configuration, or keys put over the file.

        Raises ConfigError for an unknown key or an address that is none, HPOError for an empty name.
        """
        if not experiment_id.strip():
            raise HPOError("an optimizer needs the name of an experiment")
        whole = config if isinstance(config, OptunaConfig) else load_optuna_config(config_path).optuna
        changes = dict(config) if isinstance(config, Mapping) else {}
        if storage_url is not None:
            changes["storage_url"] = storage_url
        self.config = whole.changed(**changes) if changes else whole
        self.experiment_id = experiment_id
        self.last_runs: TrialRuns | None = None
        self._address = storage_address(self.config.storage_url)
        self._connector = mlflow_connector
        self._now = now
        self._opening = asyncio.Lock()
        self._storage: BaseStorage | None = None

    @property
    def storage_url(self) -> str:
        """Where the studies are, as other processes open it; may hold a password."""
        return self.config.storage_url

    async def aclose(self) -> None:
        """Give back the connections to the storage."""
        if self._storage is not None:
            await asyncio.to_thread(close_storage, self._storage)

    async def create_study(
        self,
        study_name: str = "study",
        direction: Direction = "maximize",
        sampler: str | BaseSampler | None = None,
        pruner: str | BasePruner | None = None,
        load_if_exists: bool = False,
        *,
        subject: StudySubject | None = None,
    ) -> Study:
        """A new study ``e2i_<experiment>_<study_name>_<utc>``.

        With ``load_if_exists`` the name is used as it is: the study of that name goes on, or begins. Samplers and
        pruners are given by name (default: the configuration's) or made. Raises HPOError, also for a study that
        was made for something else, and ServiceOutage when the storage cannot be reached.
        """
        if direction not in ("minimize", "maximize"):
            raise HPOError(f"a study is to minimize or to maximize, not '{direction}'")
        name = study_name if load_if_exists else self._unique_name(study_name)
        storage = await self._opened()
        study = await asyncio.to_thread(self._begun, storage, name, direction, load_if_exists)
        return await asyncio.to_thread(self._equipped, study, direction, sampler, pruner, subject)

    async def load_study(self, study_name: str) -> Study:
        """The study of exactly that name. Raises HPOError with the nearest names, ServiceOutage."""
        storage = await self._opened()
        return await asyncio.to_thread(self._loaded, storage, study_name)

    async def optimize(
        self,
        study: Study,
        objective: Objective,
        n_trials: int | None = None,
        timeout: float | None = None,
        n_jobs: int | None = None,
        callbacks: Sequence[StudyCallback] = (),
        on_progress: OnProgress | None = None,
        warmstart: Sequence[WarmStart] = (),
        *,
        parent_run_id: str | None = None,
    ) -> HPOSummary:
        """Try up to ``n_trials`` more, for at most ``timeout`` seconds; the summary is of the whole study.

        Past bests are tried first, in the order given. A trial that raises, or gives NaN or infinity, is FAIL and
        the search goes on. Each trial becomes a run below ``parent_run_id`` or below a run of the study; the store
        being away changes nothing else (``last_runs`` counts what it took). A cancellation waits for the running
        trial, which breaks off at its next report, as it does when the time is up, and leaves a study that can be
        resumed. Raises HPOError when no trial gave a value, ServiceOutage
        when the storage is lost.
        """
        before = await asyncio.to_thread(self._prepared, study, warmstart)
        planned = n_trials if n_trials is not None else self.config.n_trials
        check_budget(planned, before, self.config.limits)
        rules = StopRules(self.config.limits, timeout_s=timeout if timeout is not None else self.config.timeout_seconds)
        async with self._recorded(study, parent_run_id) as runs:
            search = Search(
                study=study,
                objective=objective,
                n_trials=planned,
                n_jobs=n_jobs or self.config.n_jobs,
                rules=rules,
                address=self._address,
                callbacks=callbacks,
                on_progress=on_progress,
                record=None if runs is None else _recording(runs, study),
                done=before,
            )
            await search.run()
            return await asyncio.to_thread(self._concluded, study, rules)

    async def log_trials(self, study: Study, parent_run_id: str | None = None) -> TrialRuns | None:
        """Record all trials of a study that others ran, as ``optimize`` does for its own; None when not wanted."""
        async with self._recorded(study, parent_run_id) as runs:
            if runs is not None:
                record = _recording(runs, study)
                for trial in await asyncio.to_thread(self._reading, study, finished_trials):
                    await record(trial_record(trial), trial)
        return runs

    async def summarize(self, study: Study) -> HPOSummary:
        """The study as it stands. Raises HPOError, with the distinct causes, when no trial gave a value."""
        return await asyncio.to_thread(self._reading, study, summarize)

    async def get_optimization_history(self, study: Study) -> tuple[TrialRecord, ...]:
        """Every finished trial, in order."""
        return await asyncio.to_thread(self._reading, study, history)

    async def save_to_database(
        self,
        study: Study,
        repository: StudyRepository,
        *,
        experiment_row: str | None = None,
        broken_off: bool = False,
    ) -> SaveReport:
        """Store the study and its trials; ``experiment_row`` is the id in ``ml_experiments``. Raises HPOError.

        A search that was ``broken_off`` counts as failed, whatever it found, until it goes on and ends.
        """
        row, trials = await asyncio.to_thread(rows_to_keep, study, experiment_row)
        if broken_off:
            row |= {"status": "failed", "error_message": "the search was broken off; it can be resumed by its name"}
        return SaveReport(await repository.save_study(row, trials), len(trials))

    @staticmethod
    def suggest_from_search_space(trial: BaseTrial, space: RawSpace) -> dict[str, Any]:
        """One value of every parameter, chosen by the trial's sampler. Raises HPOError for a bad space."""
        return suggest_from_search_space(trial, space)

    @staticmethod
    def create_validation_objective(
        algorithm: str,
        problem_type: ProblemType,
        search_space: RawSpace,
        train: Labelled,
        validation: Labelled,
        *,
        metric: str,
        **options: Any,
    ) -> ValidationObjective:
        """Trains on ``train``, reports each round's ``metric`` on ``validation``, gives that of the final model.

        ``options`` are fields of ``Fitting``: fixed_params, balanced, random_state, early_stopping_rounds,
        max_reports. Raises HPOError, ContractViolation.
        """
        return ValidationObjective(
            fitting_of(algorithm, problem_type, search_space, metric, **options), train, validation
        )

    @staticmethod
    def create_cv_objective(
        algorithm: str,
        problem_type: ProblemType,
        search_space: RawSpace,
        data: Labelled,
        *,
        metric: str,
        folds: int = 5,
        **options: Any,
    ) -> CrossValidationObjective:
        """The mean over (stratified) folds, the mean so far being reported after each; otherwise as above."""
        fitting = fitting_of(algorithm, problem_type, search_space, metric, **options)
        return cross_validation(fitting, data, folds)

    async def _opened(self) -> BaseStorage:
        async with self._opening:
            if self._storage is None:
                self._storage = await asyncio.to_thread(open_storage, self.config.storage_url)
            return self._storage

    def _unique_name(self, study_name: str) -> str:
        experiment = without_prefix(_plain(self.experiment_id), "e2i")
        return f"e2i_{experiment}_{_plain(study_name)}_{self._now():%Y%m%dT%H%M%S%fZ}"

    def _begun(self, storage: BaseStorage, name: str, direction: Direction, load_if_exists: bool) -> Study:
        optuna = load_optuna()
        with reachable(self._address):
            try:
                study: Study = optuna.create_study(
                    study_name=name,
                    storage=storage,
                    sampler=optuna.samplers.RandomSampler(seed=0),
                    direction=direction,
                    load_if_exists=load_if_exists,
                )
            except optuna.exceptions.DuplicatedStudyError as error:
                raise HPOError(f"there is a study {name} already; resume it or choose another name") from error
        return study

    def _equipped(
        self,
        study: Study,
        direction: Direction,
        sampler: str | BaseSampler | None,
        pruner: str | BasePruner | None,
        subject: StudySubject | None,
    ) -> Study:
        with reachable(self._address):
            refuse_another_search(study, direction, subject)
            study.sampler = self._sampler(sampler, len(study.get_trials(deepcopy=False)))
            study.pruner = self._pruner(pruner)
            if subject is not None and subject_of(study) is None:
                study.set_user_attr(SUBJECT, asdict(subject))
            study.set_user_attr(METHODS, [method_name(study.sampler), method_name(study.pruner)])
        return study

    def _loaded(self, storage: BaseStorage, name: str) -> Study:
        optuna = load_optuna()
        with reachable(self._address):
            names = optuna.get_all_study_names(storage)
            if name not in names:
                raise HPOError(f"no study '{name}' in {self._address.shown}; {nearest_names(name, names)}")
            study: Study = optuna.load_study(
                study_name=name,
                storage=storage,
                sampler=optuna.samplers.RandomSampler(seed=0),
                pruner=optuna.pruners.NopPruner(),
            )
            equip(study, self.config, seed_of(self.config.random_state, len(study.get_trials(deepcopy=False))))
        return study

    def _sampler(self, wanted: str | BaseSampler | None, trials_before: int) -> BaseSampler:
        if wanted is not None and not isinstance(wanted, str):
            return wanted
        seed = seed_of(self.config.random_state, trials_before)
        return SamplerFactory.create(wanted or self.config.default_sampler, self.config, random_state=seed)

    def _pruner(self, wanted: str | BasePruner | None) -> BasePruner:
        if wanted is not None and not isinstance(wanted, str):
            return wanted
        return PrunerFactory.create(wanted or self.config.default_pruner, self.config)

    def _resumable(self, study: Study, subject: StudySubject) -> None:
        with reachable(self._address):
            refuse_another_search(study, DIRECTIONS[subject.metric], subject)
            fail_dead_trials(study)

    def _prepared(self, study: Study, warmstart: Sequence[WarmStart]) -> int:
        """Bring the study into order before its next trial; how many have ended."""
        with reachable(self._address):
            fail_dead_trials(study)
            enqueue_warmstarts(study, warmstart, self.config)
            return len(finished_trials(study))

    def _concluded(self, study: Study, rules: StopRules) -> HPOSummary:
        with reachable(self._address):
            study.set_user_attr(STOPPED, rules.reason or "trials")
            return summarize(study)

    def _reading(self, study: Study, read: Callable[[Study], Any]) -> Any:
        with reachable(self._address):
            return read(study)

    @asynccontextmanager
    async def _recorded(self, study: Study, parent_run_id: str | None) -> AsyncIterator[TrialRuns | None]:
        connector = self._connector
        if connector is None or not connector.enabled or not self.config.mlflow.log_trials:
            yield None
            return
        subject = await asyncio.to_thread(self._reading, study, subject_of)
        async with trial_runs(
            connector,
            self.experiment_id,
            study.study_name,
            parent_run_id=parent_run_id,
            metric=subject.metric if subject else "intermediate_value",
            param_prefix=self.config.mlflow.param_prefix,
        ) as runs:
            self.last_runs = runs
            yield runs


async def run_hyperparameter_optimization(
    *,
    experiment_id: str,
    algorithm: str,
    problem_type: ProblemType,
    search_space: RawSpace,
    train: Labelled,
    validation: Labelled,
    metric: str | None = None,
    n_trials: int,
    timeout_s: float | None = None,
    random_state: int = 42,
    fixed_params: Mapping[str, Any] | None = None,
    balanced: bool = False,
    warmstart: Sequence[WarmStart] = (),
    earlier: Sequence[EarlierSearch] = (),
    optimizer: OptunaOptimizer,
    parent_run_id: str | None = None,
    resume_study: str | None = None,
    on_progress: OnProgress | None = None,
    early_stopping_rounds: int | None = EARLY_STOPPING_ROUNDS,
) -> tuple[HPOSummary, tuple[TrialRecord, ...]]:
    """The best hyperparameters of an algorithm on these rows, and every trial.

    Warm starts are tried first, then the algorithm's defaults, then what the sampler proposes; what ``earlier``
    searches on like problems tried guides it. A resumed study is
    brought up to ``n_trials`` in all, on the same rows and with the same settings only. An empty space is one trial
    with the defaults. When the time is up, the running trial is broken off and counts as pruned. ``experiment_id``
    names the study. Raises HPOError, ContractViolation, ServiceOutage as the optimizer's methods do.
    """
    wanted = metric or optimizer.config.metrics.of(problem_type)
    common: dict[str, Any] = {
        "algorithm": algorithm,
        "problem_type": problem_type,
        "search_space": search_space,
        "train": train,
        "validation": validation,
        "metric": wanted,
        "fixed_params": dict(fixed_params or {}),
        "balanced": balanced,
        "random_state": random_state,
        "early_stopping_rounds": early_stopping_rounds,
    }
    subject = await subject_of_search(**common)
    objective = OptunaOptimizer.create_validation_objective(
        **common, max_reports=optimizer.config.pruners.hyperband.max_resource
    )
    name = "" if experiment_id == optimizer.experiment_id else experiment_id
    study = await open_search(optimizer, name, subject, resume_study, random_state, warmstart, earlier)
    done = len(await optimizer.get_optimization_history(study))
    left = (n_trials if subject.search_space else 1) - done
    if left < 1 and done:
        summary = await optimizer.summarize(study)
    else:
        summary = await optimizer.optimize(
            study, objective, left, timeout_s, on_progress=on_progress, parent_run_id=parent_run_id
        )
    return summary, await optimizer.get_optimization_history(study)


async def open_search(
    optimizer: OptunaOptimizer,
    name: str,
    subject: StudySubject,
    resume_study: str | None,
    random_state: int,
    warmstart: Sequence[WarmStart],
    earlier: Sequence[EarlierSearch] = (),
) -> Study:
    """The study for ``subject``: resumed, or new (``name`` and algorithm in its name) with its first trials queued.

    The first are the warm starts, then the algorithm's defaults. ``earlier`` searches are kept with it and guide it,
    and so do they when it is resumed. Trials that a dead process left running count as
    failed, and the rows it left on disk are deleted. Raises HPOError, ServiceOutage.
    """
    config = optimizer.config
    await asyncio.to_thread(sweep_rows)
    if resume_study is not None:
        study = await optimizer.load_study(resume_study)
        await asyncio.to_thread(optimizer._resumable, study, subject)
        before = len(await optimizer.get_optimization_history(study))
        await asyncio.to_thread(equip, study, config, seed_of(random_state, before))
        return study
    study = await optimizer.create_study(
        f"{_plain(name)}_{subject.algorithm}", DIRECTIONS[subject.metric], subject=subject
    )
    await asyncio.to_thread(begin, study, subject, warmstart, earlier, config, random_state)
    return study


def _recording(runs: TrialRuns, study: Study) -> Callable[[TrialRecord, FrozenTrial], Any]:
    async def record(told: TrialRecord, trial: FrozenTrial) -> None:
        known = {key: str(trial.user_attrs[key]) for key in (RESOURCE, PATTERN) if key in trial.user_attrs}
        await runs.record(told, {"study_name": study.study_name, **known})

    return record


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "_", name).strip("_")
