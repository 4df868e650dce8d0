"""Do several workers on one study run every trial once, and does a killed one cost its trial only?"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import pytest_asyncio

from src.domain.modelling import ProblemType
from src.errors import DataUnavailable, HPOError, ServiceOutage
from src.execution.executor import Executor, Outcome, open_executor
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import LimitSettings, OptunaConfig
from src.mlops.optuna.library import load_optuna
from src.mlops.optuna.objectives import fitting_of
from src.mlops.optuna.shared_rows import load_rows, rows_on_disk, sweep_rows
from src.mlops.optuna.shared_study import end_turns, fail_trials_of, turn
from src.mlops.optuna.storage import close_storage, open_storage, storage_address
from src.mlops.optuna.summary import summarize, trial_record
from src.mlops.optuna.workers import ValidationTask, run_workers
from src.settings import PROJECT_ROOT
from tests.shared_database import cloned_database
from tests.unit.test_mlops.shared_tasks import Nothing, Parabola, Together, Waiting
from tests.unit.test_mlops.tuning import tuned, two_classes

pytestmark = pytest.mark.integration
shared_loop = pytest.mark.asyncio(loop_scope="module")
CONFIG = OptunaConfig(default_sampler="random", default_pruner="none")
WORKERS = 4


class Some:
    """An executor of which some workers are used."""

    def __init__(self, executor: Executor, workers: int) -> None:
        self._executor = executor
        self.workers = workers

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> AsyncIterator[Outcome]:
        return self._executor.run(function, arguments)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def everybody() -> AsyncIterator[Executor]:
    async with open_executor(WORKERS, scheduler="") as executor:
        yield executor


@pytest.fixture(scope="module")
def postgres_storage(postgres_dsn: str) -> Iterator[str]:
    with cloned_database(postgres_dsn, "template1", "shared_studies") as url:
        yield url


NewStudy = Callable[..., Any]


@pytest.fixture
def new_study() -> Iterator[NewStudy]:
    """Makes studies, and closes their storages."""
    made: list[Any] = []

    def create(storage_url: str, **options: Any) -> Any:
        storage = open_storage(storage_url)
        made.append(load_optuna().create_study(storage=storage, study_name=f"s_{uuid4().hex}", **options))
        return made[-1]

    yield create
    for study in made:
        close_storage(study._storage)


def states(study: Any) -> list[str]:
    return [trial.state.name for trial in sorted(study.get_trials(), key=lambda trial: trial.number)]


async def search(executor: Executor, storage_url: str, study: Any, n_trials: int, task: Any, **others: Any) -> Any:
    return await run_workers(
        executor=executor, storage_url=storage_url, study_name=study.study_name, n_trials=n_trials, task=task, **others
    )


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(WORKERS, marks=pytest.mark.slow)]
)
@shared_loop
async def test_every_trial_is_run_once_however_many_workers_there_are(
    new_study: NewStudy, everybody: Executor, postgres_storage: str, workers: int
) -> None:
    study = new_study(postgres_storage)
    study.enqueue_trial({"x": 0.3})
    outcomes = await search(Some(everybody, workers), postgres_storage, study, 8, Parabola(CONFIG))
    assert [trial.number for trial in study.get_trials()] == list(range(8))
    assert states(study) == ["COMPLETE"] * 8
    assert [outcome.index for outcome in outcomes] == list(range(workers))
    assert sum(outcome.value.trials for outcome in outcomes) == 8
    assert {outcome.value.stopped_because for outcome in outcomes} == {"trials"}
    assert (study.best_trial.number, study.best_value) == (0, 0.0)
    values = [trial.params["x"] for trial in study.get_trials()]
    assert len(set(values)) == 8


@shared_loop
async def test_workers_really_work_at_the_same_time(
    new_study: NewStudy, everybody: Executor, postgres_storage: str, tmp_path: Path
) -> None:
    study = new_study(postgres_storage)
    await search(everybody, postgres_storage, study, WORKERS, Together(CONFIG, str(tmp_path), WORKERS))
    assert len({file.read_text() for file in tmp_path.iterdir()}) == WORKERS
    assert states(study) == ["COMPLETE"] * WORKERS


@shared_loop
async def test_a_second_search_adds_exactly_its_own_trials(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    for _ in range(2):
        await search(Some(everybody, 2), postgres_storage, study, 3, Parabola(CONFIG))
    assert [trial.number for trial in study.get_trials()] == list(range(6))


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
@shared_loop
async def test_a_worker_killed_over_a_trial_costs_that_trial_only(
    new_study: NewStudy, everybody: Executor, postgres_storage: str, workers: int
) -> None:
    study = new_study(postgres_storage)
    outcomes = await search(Some(everybody, workers), postgres_storage, study, 6, Parabola(CONFIG, dies_at=(2,)))
    assert states(study) == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert [outcome.worker_lost for outcome in outcomes].count(True) == 1
    assert len(outcomes) == workers + 1
    assert trial_record(study.get_trials()[2]).error == "the process that ran it ended"


@pytest.mark.slow
@shared_loop
async def test_workers_that_all_die_end_the_search_with_its_trials(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    outcomes = await search(Some(everybody, 1), postgres_storage, study, 2, Parabola(CONFIG, dies_at=(0, 1)))
    assert states(study) == ["FAIL"] * 2
    assert [outcome.worker_lost for outcome in outcomes] == [True, True]


@shared_loop
async def test_a_trial_left_by_a_worker_that_died_in_its_turn_is_failed(
    new_study: NewStudy, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    with pytest.warns(UserWarning, match="Heartbeat"):
        study.ask()
    assert fail_trials_of(study, storage_address(postgres_storage), "nobody/0")
    assert states(study) == ["FAIL"]


@shared_loop
async def test_a_failing_trial_is_counted_and_the_search_goes_on(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    task = Parabola(CONFIG, raises_at=(1,), nan_at=(2,))
    await search(Some(everybody, 1), postgres_storage, study, 4, task)
    assert states(study) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert [trial_record(trial).error for trial in study.get_trials()[1:3]] == [
        "ValueError: no such luck",
        "NotFinite: the objective gave nan",
    ]
    assert study.best_trial.number in (0, 3)


@shared_loop
async def test_a_limit_of_the_configuration_ends_the_search_and_is_kept(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    study.enqueue_trial({"x": 0.3})
    config = CONFIG.model_copy(update={"limits": LimitSettings(stop_after_no_improvement=2)})
    (outcome,) = await search(Some(everybody, 1), postgres_storage, study, 30, Parabola(config))
    assert (outcome.value.trials, outcome.value.stopped_because) == (3, "no_improvement")
    assert summarize(study).stopped_because == "no_improvement"


@shared_loop
async def test_every_finished_trial_is_told_once(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study, told = new_study(postgres_storage), []
    await search(Some(everybody, 1), postgres_storage, study, 2, Parabola(CONFIG))

    async def remember(trial: Any) -> None:
        told.append((trial.number, trial.state.name))

    task = Parabola(CONFIG, raises_at=(3,))
    await search(Some(everybody, 2), postgres_storage, study, 4, task, on_trial=remember)
    assert sorted(told) == [(2, "COMPLETE"), (3, "FAIL"), (4, "COMPLETE"), (5, "COMPLETE")]


@pytest.mark.slow
@shared_loop
async def test_whoever_is_told_may_end_the_search(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)

    async def refuse(trial: Any) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await search(Some(everybody, 1), postgres_storage, study, 400, Parabola(CONFIG), on_trial=refuse)
    assert 0 < len(study.get_trials()) < 400
    assert set(states(study)) <= {"COMPLETE", "FAIL"}


@shared_loop
async def test_a_cancelled_search_can_go_on_later(
    new_study: NewStudy, everybody: Executor, postgres_storage: str, tmp_path: Path
) -> None:
    study = new_study(postgres_storage)
    running = asyncio.create_task(
        search(Some(everybody, 1), postgres_storage, study, 8, Waiting(CONFIG, str(tmp_path)))
    )
    while not list(tmp_path.iterdir()):
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await running
    assert getattr(caught.value, "__notes__", []) == []
    assert states(study) == ["FAIL"]
    await search(Some(everybody, 1), postgres_storage, study, 2, Parabola(CONFIG))
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]


@shared_loop
async def test_when_no_worker_can_work_the_cause_is_raised_and_no_trial_is_spent(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    with pytest.raises(HPOError, match="no worker could run .*: DataUnavailable: the rows are not there"):
        await search(Some(everybody, 2), postgres_storage, study, 3, Nothing(CONFIG))
    assert study.get_trials() == []


@pytest.mark.parametrize(
    ("storage_url", "error", "message"),
    [
        ("memory", HPOError, "belongs to one process"),
        ("postgresql://e2i:secret@127.0.0.1:9/none", ServiceOutage, "127.0.0.1:9"),
    ],
)
@shared_loop
async def test_a_storage_that_cannot_be_shared_is_refused(
    everybody: Executor, storage_url: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        await run_workers(
            executor=everybody, storage_url=storage_url, study_name="s", n_trials=1, task=Parabola(CONFIG)
        )
    assert "secret" not in str(caught.value)


@shared_loop
async def test_an_unknown_study_and_too_many_trials_are_refused(
    new_study: NewStudy, everybody: Executor, postgres_storage: str
) -> None:
    study = new_study(postgres_storage)
    with pytest.raises(HPOError, match="no study 'unheard of'"):
        await run_workers(
            executor=everybody,
            storage_url=postgres_storage,
            study_name="unheard of",
            n_trials=1,
            task=Parabola(CONFIG),
        )
    with pytest.raises(HPOError, match="limits.max_trials"):
        await search(everybody, postgres_storage, study, 501, Parabola(CONFIG))
    with pytest.raises(HPOError, match="at least one trial"):
        await search(everybody, postgres_storage, study, 0, Parabola(CONFIG))


@pytest.fixture(scope="module")
def splits() -> tuple[Labelled, Labelled]:
    rng = np.random.default_rng(5)
    X = pd.DataFrame(rng.normal(size=(240, 4)), columns=["a", "b", "c", "d"])
    y = pd.Series((X["a"] + X["b"] + rng.normal(scale=0.5, size=240) > 0).astype("int64"))
    return Labelled(X[:160], y[:160]), Labelled(X[160:], y[160:])


@shared_loop
async def test_a_model_is_tuned_on_rows_from_a_file(
    new_study: NewStudy, everybody: Executor, splits: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    storage_url = f"sqlite:///{tmp_path}/studies.db"
    study = new_study(storage_url, direction="maximize")
    space = {"C": {"type": "float", "low": 0.01, "high": 10.0, "log": True}}
    fitting = fitting_of("logistic_regression", ProblemType.BINARY, space, "roc_auc")
    with rows_on_disk(*splits) as path:
        assert os.stat(path).st_mode & 0o077 == 0
        await search(Some(everybody, 1), storage_url, study, 3, ValidationTask(str(path), fitting, CONFIG))
    assert not path.exists()
    assert list(tmp_path.glob("*.turn")) == []
    best = study.best_trial
    assert states(study) == ["COMPLETE"] * 3
    assert best.value == pytest.approx(fitting.value(best.params, *splits))


def test_rows_come_back_from_the_file_as_they_were(splits: tuple[Labelled, Labelled]) -> None:
    with rows_on_disk(*splits) as path:
        loaded = load_rows(path)
    for before, after in zip(splits, loaded, strict=True):
        pd.testing.assert_frame_equal(before.X.reset_index(drop=True), after.X)
        assert after.y.dtype == np.int64
        assert after.y.tolist() == before.y.tolist()
    with pytest.raises(DataUnavailable, match="E2I_VAR_DIR"):
        load_rows(path)


KILLED_WITH_ROWS = """
import sys, time
from pathlib import Path
from src.mlops.optuna.shared_rows import rows_on_disk
from tests.unit.test_mlops.tuning import two_classes

with rows_on_disk(*two_classes(30), folder=Path(sys.argv[1])) as path:
    print(path, flush=True)
    time.sleep(600)
"""


def test_rows_of_a_killed_process_are_deleted_by_the_next_search_and_those_in_use_are_not(
    splits: tuple[Labelled, Labelled], tmp_path: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED_WITH_ROWS, str(tmp_path)], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        path = Path(child.stdout.readline().strip())
        assert sweep_rows(tmp_path) == 0
        assert len(load_rows(path)) == 2
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert path.exists()
    with rows_on_disk(*splits, folder=tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]
        assert sweep_rows(tmp_path) == 0


async def test_the_next_search_sweeps_the_usual_folder() -> None:
    with rows_on_disk(*two_classes(30)) as path:
        content = path.read_bytes()
    path.write_bytes(content)
    await tuned(two_classes(120), n_trials=1)
    assert not path.exists()


def test_a_turn_that_somebody_waits_for_survives_the_end_of_another_search(tmp_path: Path) -> None:
    address, order = storage_address(f"sqlite:///{tmp_path}/o.db"), list[str]()

    def second() -> None:
        with turn(address, "s"):
            order.append("second")

    with turn(address, "s"):
        waiting = threading.Thread(target=second)
        waiting.start()
        end_turns(address, "s")  # somebody has a turn: nothing is removed
        assert len(list(tmp_path.glob("*.turn"))) == 1
        order.append("first")
    waiting.join()
    end_turns(address, "s")
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@shared_loop
async def test_a_dask_cluster_shares_a_study_too(new_study: NewStudy, postgres_storage: str) -> None:
    import distributed

    study = new_study(postgres_storage)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        silence_logs=60,
    ) as cluster:
        async with open_executor(scheduler=cluster.scheduler_address) as executor:
            outcomes = await search(executor, postgres_storage, study, 6, Parabola(CONFIG, dies_at=(3,)))
    assert states(study) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert sum(outcome.worker_lost for outcome in outcomes) == 1


@shared_loop
async def test_one_worker_finds_the_same_again(new_study: NewStudy, everybody: Executor, postgres_storage: str) -> None:
    found = []
    for _ in range(2):
        study = new_study(postgres_storage)
        await search(Some(everybody, 1), postgres_storage, study, 4, Parabola(CONFIG, random_state=2))
        found.append([trial.params for trial in study.get_trials()])
    assert found[0] == found[1]
