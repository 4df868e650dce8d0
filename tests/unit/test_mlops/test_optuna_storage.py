"""Are studies where the configuration says, and can another process go on with them?"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from src.domain.modelling import ProblemType
from src.errors import ConfigError, HPOError, ServiceOutage
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.storage import open_storage, storage_address
from src.mlops.optuna.summary import OWNER
from src.mlops.optuna_optimizer import OptunaOptimizer, StudySubject
from src.mlops.processes import this_process
from src.settings import PROJECT_ROOT, var_dir
from tests.mlflow_store import closed_port
from tests.unit.test_mlops.tuning import C_ONLY, optimizer, parabola, tuned, two_classes

NAMES_ITSELF = "from src.mlops.processes import this_process; print(this_process())"

# A search that says when its third trial runs and then never ends.
HANGING = """
import asyncio, sys, time
from tests.unit.test_mlops.tuning import optimizer, parabola

def objective(trial):
    value = parabola(trial)
    if trial.number == 2:
        print("running", flush=True)
        time.sleep(600)
    return value

async def main():
    tuner = optimizer(storage_url=sys.argv[1])
    study = await tuner.create_study("killed", load_if_exists=True)
    await tuner.optimize(study, objective, n_trials=9)

asyncio.run(main())
"""


def test_a_path_below_var_lies_in_the_folder_for_generated_files() -> None:
    assert storage_address("sqlite:///var/studies/o.db").file == var_dir() / "studies" / "o.db"
    assert storage_address("sqlite:///o.db").file == PROJECT_ROOT / "o.db"
    assert storage_address("sqlite:////srv/o.db").file == Path("/srv/o.db")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://root:hidden@db/x", "begins with 'mysql'"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "or memory"),
        ("postgresql:///x", "not a PostgreSQL URL"),
    ],
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        OptunaOptimizer("x", url)
    assert "hidden" not in str(caught.value)


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    port = closed_port()
    tuner = OptunaOptimizer("x", f"postgresql://e2i:hidden@127.0.0.1:{port}/studies")
    with pytest.raises(ServiceOutage) as caught:
        await tuner.create_study()
    said = str(caught.value)
    assert f"the study storage postgresql://127.0.0.1:{port}/studies does not answer" in said
    assert said.endswith("or set OPTUNA_STORAGE_URL")
    assert "hidden" not in said
    assert "hidden" not in repr(storage_address(tuner.storage_url))


async def test_a_folder_that_cannot_be_made_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder", "utf-8")
    with pytest.raises(ServiceOutage, match="cannot be used"):
        await OptunaOptimizer("x", f"sqlite:///{tmp_path}/file/o.db").create_study()


async def test_studies_in_memory_are_gone_with_their_optimizer() -> None:
    first, second = optimizer(), optimizer()
    study = await first.create_study()
    assert (await first.load_study(study.study_name)).study_name == study.study_name
    with pytest.raises(HPOError, match="in memory; there is: none|in memory; there is none at all"):
        await second.load_study(study.study_name)


async def test_another_optimizer_goes_on_with_new_values_up_to_the_number_asked_for(tmp_path: Path) -> None:
    url, rows = f"sqlite:///{tmp_path}/o.db", two_classes(120)
    first, some = await tuned(rows, n_trials=4, optimizer=optimizer(storage_url=url))
    tuner = optimizer(storage_url=url)
    second, trials = await tuned(rows, n_trials=7, optimizer=tuner, resume_study=first.study_name)
    assert (second.study_name, second.trials.total) == (first.study_name, 7)
    assert trials[:4] == some
    # A resumed sampler that began with its first seed again would propose the same values.
    assert len({trial.params["C"] for trial in trials}) == 7
    again, _ = await tuned(rows, n_trials=7, optimizer=tuner, resume_study=first.study_name)
    assert again.trials.total == 7


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"metric": "pr_auc"}, "its metric is roc_auc, not pr_auc"),
        ({"algorithm": "ridge", "space": {"alpha": {"type": "float", "low": 1, "high": 2}}}, "its algorithm is"),
        ({"space": {"C": {"type": "float", "low": 1.0, "high": 2.0}}}, "its search_space is others"),
        ({"fixed_params": {"max_iter": 50}}, "its fixed_params is others"),
        ({"metric": "log_loss"}, "is to maximize, not to minimize"),
        ({"balanced": True}, "its balanced is False, not True"),
        ({"early_stopping_rounds": None}, "its early_stopping_rounds is 30, not None"),
        ({"random_state": 1}, "its random_state is 42, not 1; start a new one"),
    ],
)
async def test_a_study_is_not_resumed_for_something_else(changes: dict[str, object], problem: str) -> None:
    tuner, rows = optimizer(), two_classes(120)
    first, _ = await tuned(rows, n_trials=1, optimizer=tuner)
    with pytest.raises(HPOError, match=problem):
        await tuned(rows, n_trials=2, optimizer=tuner, resume_study=first.study_name, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changed", ["training values", "training target", "validation values", "validation target", "name"]
)
async def test_a_study_is_not_resumed_on_other_rows(changed: str) -> None:
    tuner, rows = optimizer(), two_classes(120)
    first, _ = await tuned(rows, n_trials=1, optimizer=tuner)
    part, _, what = changed.partition(" ")
    others = [Labelled(split.X.copy(), split.y.copy()) for split in rows]
    if part == "name":
        others = [Labelled(split.X.rename(columns={"f0": "other"}), split.y) for split in others]
    elif what == "values":
        others[part == "validation"].X.iloc[3, 2] += 1e-9
    else:
        others[part == "validation"].y.iloc[3] ^= 1
    with pytest.raises(HPOError, match="cannot be resumed: its training and validation rows are others; start a new"):
        await tuned((others[0], others[1]), n_trials=2, optimizer=tuner, resume_study=first.study_name)


async def test_the_same_rows_numbered_anew_are_the_same_rows() -> None:
    tuner, rows = optimizer(), two_classes(120)
    first, _ = await tuned(rows, n_trials=1, optimizer=tuner)
    anew = [Labelled(split.X.set_axis(split.X.index + 7), split.y.set_axis(split.y.index + 7)) for split in rows]
    again, _ = await tuned((anew[0], anew[1]), n_trials=2, optimizer=tuner, resume_study=first.study_name)
    assert again.trials.total == 2


async def test_a_study_made_without_rows_is_not_resumed_on_some() -> None:
    tuner = optimizer()
    subject = StudySubject.of("logistic_regression", ProblemType.BINARY, "roc_auc", C_ONLY, {})
    study = await tuner.create_study(subject=subject)
    with pytest.raises(HPOError, match="rows are others"):
        await tuned(two_classes(120), n_trials=2, optimizer=tuner, resume_study=study.study_name)


async def test_trials_of_a_dead_process_count_towards_the_number_asked_for() -> None:
    tuner, rows = optimizer(), two_classes(120)
    first, _ = await tuned(rows, n_trials=2, optimizer=tuner)
    left = (await tuner.load_study(first.study_name)).ask()
    child = subprocess.run([sys.executable, "-c", NAMES_ITSELF], cwd=PROJECT_ROOT, capture_output=True, check=True)
    left.set_user_attr(OWNER, child.stdout.decode().strip())
    summary, trials = await tuned(rows, n_trials=5, optimizer=tuner, resume_study=first.study_name)
    assert (summary.trials.total, summary.trials.failed) == (5, 1)
    assert [trial.number for trial in trials] == list(range(5))


async def test_an_unknown_study_is_refused_with_the_nearest_names() -> None:
    tuner = optimizer()
    study = await tuner.create_study("churn")
    with pytest.raises(HPOError, match=f"did you mean '{study.study_name}'"):
        await tuned(two_classes(120), optimizer=tuner, resume_study=study.study_name[:-2])


async def test_a_killed_search_is_resumed_and_costs_its_running_trial(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/o.db"
    child = subprocess.Popen([sys.executable, "-c", HANGING, url], cwd=PROJECT_ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert (await asyncio.to_thread(child.stdout.readline)).strip() == "running"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
    tuner = optimizer(storage_url=url)
    study = await tuner.create_study("killed", load_if_exists=True)
    summary = await tuner.optimize(study, parabola, n_trials=2)
    trials = await tuner.get_optimization_history(study)
    assert [trial.state for trial in trials] == ["COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert trials[2].error == "the process that ran it ended"
    assert (summary.trials.completed, summary.trials.failed) == (4, 1)


async def test_a_trial_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    tuner = optimizer()
    study = await tuner.create_study()
    running = study.ask()
    running.set_user_attr(OWNER, this_process())
    await tuner.optimize(study, parabola, n_trials=1)
    assert study.trials[running.number].state is optuna.trial.TrialState.RUNNING


@pytest.mark.integration
async def test_a_study_lives_in_postgresql(empty_database_url: str) -> None:
    """Opened by four at once while it is empty: the tables are made once."""
    tuners = [optimizer(storage_url=empty_database_url) for _ in range(4)]
    studies = await asyncio.gather(*(tuner.create_study("shared", load_if_exists=True) for tuner in tuners))
    assert {study.study_name for study in studies} == {"shared"}
    await tuners[0].optimize(studies[0], parabola, n_trials=2)
    summary = await tuners[1].optimize(await tuners[1].load_study("shared"), parabola, n_trials=2)
    assert summary.trials.completed == 4
    for tuner in tuners:
        await tuner.aclose()


def test_running_trials_give_signs_of_life(tmp_path: Path) -> None:
    backend = open_storage(f"sqlite:///{tmp_path}/o.db", heartbeat_s=7)
    assert backend.heartbeat_interval == 7  # type: ignore[attr-defined]
    assert backend.grace_period == 21  # type: ignore[attr-defined]
