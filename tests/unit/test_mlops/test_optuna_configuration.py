"""Does every word of config/optuna_config.yaml change what a search does?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml

from src.domain.modelling import ProblemType
from src.errors import ConfigError, HPOError
from src.mlops.modelling.families import ALGORITHMS, default_params, parameter_names
from src.mlops.optuna.configuration import OPTUNA_FILE, OptunaConfig, load_optuna_config
from src.mlops.optuna.factories import PRUNERS, SAMPLERS, PrunerFactory, SamplerFactory, method_name
from src.mlops.optuna_optimizer import OptunaOptimizer
from tests.unit.test_mlops.tuning import optimizer, parabola, staircase, tuned, two_classes

SHIPPED = load_optuna_config(environ={}).optuna


def written(folder: Path, **changes: Any) -> Path:
    """The shipped file with keys replaced below ``optuna``."""
    raw = yaml.safe_load(OPTUNA_FILE.read_text("utf-8"))
    raw["optuna"].update(changes)
    file = folder / "optuna_config.yaml"
    file.write_text(yaml.safe_dump(raw), "utf-8")
    return file


def test_the_storage_is_the_variables_or_a_file_below_var() -> None:
    assert SHIPPED.storage_url == "sqlite:///var/optuna.db"
    given = load_optuna_config(environ={"OPTUNA_STORAGE_URL": "postgresql://e2i@db/optuna"})
    assert given.optuna.storage_url == "postgresql://e2i@db/optuna"


def test_the_shipped_file_says_what_is_specified() -> None:
    said = SHIPPED.model_dump(exclude={"search_spaces", "storage_url"})
    assert said == OptunaConfig().model_dump(exclude={"search_spaces", "storage_url"})
    assert (said["default_sampler"], said["default_pruner"], said["n_startup_trials"]) == ("tpe", "hyperband", 10)
    imported = {"enabled": True, "min_similarity": 0.7, "max_import_trials": 20}
    assert said["warmstart"] == imported | {"max_searches": 5, "remembered_trials": 40, "first_pruning_step": 27}


def test_an_argument_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = written(tmp_path, n_trials=7, n_startup_trials=3)
    made = OptunaOptimizer("x", "memory", config_path=file, config={"n_startup_trials": 4, "limits": {"max_trials": 9}})
    assert (made.config.storage_url, made.config.n_trials, made.config.n_startup_trials) == ("memory", 7, 4)
    # One key of a section leaves the others.
    assert made.config.limits.model_dump() == {**SHIPPED.limits.model_dump(), "max_trials": 9}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_trails": 5}, "n_trails: unknown key"),
        ({"limits": {"trials": 5}}, "limits.trials: unknown key"),
        ({"default_sampler": "grid"}, "default_sampler: Input should be 'tpe', 'random' or 'cmaes'"),
        ({"pruners": {"hyperband": {"min_resource": 200}}}, "min_resource must not exceed max_resource"),
        ({"search_spaces": {"ridge": {"alpha": {"type": "float", "low": 1}}}}, "float needs low and high"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_its_name(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        OptunaOptimizer("x", config=changes)
    merged = SHIPPED.model_dump() | changes
    file = tmp_path / "optuna_config.yaml"
    file.write_text(yaml.safe_dump({"optuna": merged}), "utf-8")
    with pytest.raises(ConfigError, match=message.split(":")[-1].strip()):
        load_optuna_config(file)


@pytest.mark.parametrize("name", SAMPLERS)
async def test_the_configured_sampler_proposes_the_trials(name: str) -> None:
    tuner = optimizer(default_sampler=name)
    study = await tuner.create_study()
    assert method_name(study.sampler) == name
    assert (await tuner.optimize(study, parabola, n_trials=12)).trials.completed == 12


@pytest.mark.parametrize("name", PRUNERS)
async def test_the_configured_pruner_decides(name: str) -> None:
    tuner = optimizer(default_pruner=name)
    study = await tuner.create_study()
    assert method_name(study.pruner) == name
    summary = await tuner.optimize(study, staircase(30), n_trials=15)
    assert (summary.trials.pruned > 0) is (name != "none")


@pytest.mark.parametrize(("make", "what"), [(SamplerFactory, "sampler"), (PrunerFactory, "pruner")])
def test_an_unknown_method_is_refused_with_the_nearest_names(make: Any, what: str) -> None:
    with pytest.raises(HPOError, match=f"no {what} 'hyperbandd'"):
        make.create("hyperbandd", SHIPPED)


def test_the_sampler_gets_its_settings() -> None:
    sampler: Any = SamplerFactory.create("tpe", SHIPPED.changed(n_startup_trials=4, multivariate=False))
    assert (sampler._n_startup_trials, sampler._multivariate) == (4, False)
    assert SamplerFactory.create("tpe", SHIPPED)._multivariate is True  # type: ignore[attr-defined]


async def test_trials_are_random_until_the_startup_trials_are_over() -> None:
    """Under every pruner: learning begins with the eleventh trial of the study, not of a bracket."""

    async def tried(**changes: Any) -> list[float]:
        tuner = optimizer(**changes)
        study = await tuner.create_study()
        await tuner.optimize(study, parabola, n_trials=12)
        return [trial.params["x"] for trial in await tuner.get_optimization_history(study)]

    random, ten, four = await tried(n_startup_trials=12), await tried(), await tried(n_startup_trials=4)
    assert ten[:10] == random[:10]
    assert ten[10] != random[10]
    assert four[:4] == random[:4]
    assert four[4] != random[4]


@pytest.mark.parametrize(
    ("section", "changes", "more"),
    [
        ("hyperband", {"min_resource": 30}, False),
        ("hyperband", {"reduction_factor": 2}, False),
        ("hyperband", {"max_resource": 3}, True),
        ("median", {"n_startup": 12}, False),
        ("median", {"n_warmup_steps": 25}, False),
        ("successive_halving", {"min_resource": 20}, False),
        ("successive_halving", {"reduction_factor": 10}, True),
    ],
)
async def test_the_pruners_settings_change_how_much_is_pruned(
    section: str, changes: dict[str, int], more: bool
) -> None:
    used = []
    for settings in ({}, changes):
        tuner = optimizer(default_pruner=section, pruners={section: settings}, limits={"stop_after_no_improvement": 99})
        used.append((await tuner.optimize(await tuner.create_study(), staircase(30), n_trials=15)).resource_used)
    assert used[1] != used[0]
    assert (used[1] < used[0]) is more


@pytest.mark.parametrize(
    ("changes", "expected"), [({"n_trials": 3}, "trials"), ({"n_trials": 99, "timeout_seconds": 0.01}, "timeout")]
)
async def test_trials_and_timeout_come_from_the_file_where_no_argument_says_otherwise(
    changes: dict[str, Any], expected: str
) -> None:
    tuner = optimizer(**changes)
    summary = await tuner.optimize(await tuner.create_study(), parabola)
    assert summary.stopped_because == expected
    assert summary.trials.total <= changes["n_trials"]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"stop_after_no_improvement": 2}, "no_improvement"),
        ({"max_memory_mb": 1}, "memory"),
        ({"max_seconds": 1e-9}, "timeout"),
    ],
)
async def test_each_limit_ends_a_search(limits: dict[str, Any], expected: str) -> None:
    tuner = optimizer(limits=limits)
    study = await tuner.create_study()
    for x in (2.0, 9.0, 8.0, 7.0):
        study.enqueue_trial({"x": x})
    summary = await tuner.optimize(study, parabola, n_trials=30)
    assert (summary.stopped_because, summary.trials.total) == (expected, 3 if expected == "no_improvement" else 1)


async def test_more_trials_than_a_study_may_have_are_refused() -> None:
    tuner = optimizer(limits={"max_trials": 5})
    study = await tuner.create_study()
    await tuner.optimize(study, parabola, n_trials=4)
    with pytest.raises(HPOError, match=r"6 trials are more .* limits\.max_trials .* is 5"):
        await tuner.optimize(study, parabola, n_trials=2)


@pytest.mark.parametrize(
    ("problem", "metric"),
    [(ProblemType.BINARY, "roc_auc"), (ProblemType.MULTICLASS, "f1_weighted"), (ProblemType.REGRESSION, "neg_rmse")],
)
def test_each_problem_has_its_metric(problem: ProblemType, metric: str) -> None:
    assert SHIPPED.metrics.of(problem) == metric


async def test_the_configured_metric_is_what_is_optimised() -> None:
    summary, _ = await tuned(two_classes(120), n_trials=2, optimizer=optimizer(metrics={"binary": "log_loss"}))
    assert (summary.metric, summary.direction) == ("log_loss", "minimize")


def test_effects_have_no_metric_to_search_by() -> None:
    with pytest.raises(HPOError, match="a true effect is never seen"):
        SHIPPED.metrics.of(ProblemType.EFFECT)


async def test_the_seed_decides_what_is_tried() -> None:
    async def first(seed: int) -> float:
        tuner = optimizer(random_state=seed)
        study = await tuner.create_study()
        await tuner.optimize(study, parabola, n_trials=1)
        return float(study.trials[0].params["x"])

    assert await first(1) == await first(1) != await first(2)


async def test_several_jobs_share_the_trials() -> None:
    import threading

    seen, meet = set(), threading.Barrier(2, timeout=20)

    def objective(trial: optuna.Trial) -> float:
        seen.add(threading.get_ident())
        meet.wait()
        return parabola(trial)

    tuner = optimizer(n_jobs=2)
    assert (await tuner.optimize(await tuner.create_study(), objective, n_trials=4)).trials.completed == 4
    assert len(seen) >= 2


@pytest.mark.parametrize("algorithm", sorted(SHIPPED.search_spaces))
def test_a_shipped_space_holds_parameters_that_the_algorithm_has_and_its_defaults(algorithm: str) -> None:
    space = SHIPPED.search_spaces[algorithm]
    for problem in ALGORITHMS[algorithm].problem_types:
        assert set(space) <= parameter_names(algorithm, problem)
    for name, value in default_params(algorithm).items():
        if name in space:
            assert space[name].nearest(value) == value


def test_every_algorithm_that_can_be_trained_has_a_space() -> None:
    trainable = {name for name, algorithm in ALGORITHMS.items() if algorithm.family != "causal"}
    assert set(SHIPPED.search_spaces) == trainable
    with pytest.raises(HPOError, match="no search space for 'xgbost'; did you mean 'xgboost'"):
        SHIPPED.search_space("xgbost")
