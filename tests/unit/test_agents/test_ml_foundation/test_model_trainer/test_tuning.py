"""How does a search begin with what earlier ones taught, and what does it leave for the next one?"""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from src.agents.ml_foundation.model_trainer.tuning import improvements, time_limit
from src.mlops.hpo_pattern_memory import HPOPatternMemory, InMemoryPatterns
from src.mlops.optuna.configuration import OptunaConfig, WarmStartSettings
from src.mlops.optuna.results import HPOSummary, TrialCounts, TrialRecord, WarmStart
from src.mlops.optuna_optimizer import OptunaOptimizer
from src.settings import PROJECT_ROOT

from .parts import BOOSTED, LOGISTIC, World, journeys, request, world


def memory(**settings: Any) -> tuple[HPOPatternMemory, InMemoryPatterns]:
    """A memory of this process."""
    store = InMemoryPatterns()
    return HPOPatternMemory(store, WarmStartSettings(**settings)), store


# What a warm start is worth -------------------------------------------------------------------------


def searched(*trials: TrialRecord, starts: int = 1, direction: Any = "maximize") -> tuple[HPOSummary, Any]:
    """A search that began with ``starts`` patterns, all alike."""
    known = tuple(WarmStart(f"pattern {i}", 0.9, {"C": 1.0}, 0.8) for i in range(starts))
    counts = TrialCounts(len(trials), 0, 0)
    summary = HPOSummary(True, {"C": 1.0}, 0.8, 0, "roc_auc", direction, counts, 1.0, "study", warmstart=known)
    return summary, trials


def trial(number: int, value: float | None, *, C: float = 1.0, **other: Any) -> TrialRecord:
    return TrialRecord(number, "COMPLETE" if value is not None else "PRUNED", value, {"C": C}, **other)


@pytest.mark.parametrize(
    ("summary", "worth"),
    [
        (searched(trial(0, 0.8), trial(1, 0.7)), {"pattern 0": 0.1}),
        (searched(trial(0, 0.3), trial(1, 0.5), direction="minimize"), {"pattern 0": 0.2}),
        (searched(trial(0, 0.6), trial(1, 0.7)), {"pattern 0": -0.1}),
        (searched(trial(0, 0.8), trial(1, 0.9), trial(2, 0.7), starts=2), {"pattern 0": 0.1, "pattern 1": 0.2}),
        (searched(trial(0, 0.8), trial(1, None, intermediate_values={1: 0.5, 3: 0.6})), {"pattern 0": 0.2}),
        (searched(trial(0, 0.8), TrialRecord(1, "FAIL", None, {})), {}),
        (searched(trial(0, None), trial(1, 0.7)), {}),
        (searched(trial(0, 0.8, C=2.0), trial(1, 0.7)), {}),
        (searched(trial(0, 0.8)), {}),
        (searched(trial(0, 0.8), trial(1, 0.7), starts=0), {}),
    ],
)
def test_a_warm_start_is_worth_what_it_gains_over_the_defaults(
    summary: tuple[HPOSummary, Any], worth: dict[str, float]
) -> None:
    assert improvements(*summary) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("asked", "budget", "limit"), [(None, None, None), (30.0, 10.0, 30.0), (None, 100.0, 90.0), (5.0, None, 5.0)]
)
def test_a_search_that_nobody_limits_ends_before_its_budget(
    asked: float | None, budget: float | None, limit: float | None
) -> None:
    assert time_limit(request(hpo_timeout_s=asked), budget) == limit


# The memory -----------------------------------------------------------------------------------------


async def test_what_a_search_found_is_remembered_with_its_study() -> None:
    patterns, store = memory()
    result = await world(patterns=patterns).run()
    (kept,) = await store.patterns()
    assert result.hpo is not None
    assert result.hpo.pattern_id == kept.pattern_id
    assert (kept.best_params, kept.best_value, kept.study_name) == (
        result.hpo.best_params, result.hpo.best_value, result.hpo.study_name,
    )  # fmt: skip
    assert (kept.n_samples, kept.n_features, kept.n_classes) == (180, len(result.feature_names), 2)


async def test_the_next_search_tries_it_first_and_its_worth_is_recorded() -> None:
    patterns, store = memory()
    first = await world(patterns=patterns).run(hpo_trials=4)
    around = world(journeys(seed=6), patterns=patterns)
    second = await around.run(hpo_trials=4)
    assert first.hpo is not None
    assert second.hpo is not None
    (start,) = second.hpo.warmstart
    assert (start.pattern_id, dict(start.params)) == (first.hpo.pattern_id, first.hpo.best_params)
    ((_, trials),) = around.tables[2].kept.values()
    assert trials[0]["params"] == first.hpo.best_params
    used = next(kept for kept in await store.patterns() if kept.pattern_id == start.pattern_id)
    assert used.times_used_as_warmstart == 1
    assert used.warmstart_improvement_avg == pytest.approx(trials[0]["value"] - trials[1]["value"])


@pytest.mark.parametrize("changes", [{"metric": "log_loss"}, {"candidate": BOOSTED}])
async def test_a_search_of_another_kind_gets_no_warm_start(changes: dict[str, Any]) -> None:
    patterns, _ = memory(min_similarity=0.0)
    await world(patterns=patterns).run()
    result = await world(patterns=patterns).run(**changes)
    assert result.hpo is not None
    assert result.hpo.warmstart == ()


async def test_a_search_that_fails_teaches_nothing() -> None:
    patterns, store = memory()
    broken = dataclasses.replace(LOGISTIC, search_space={"C": {"type": "categorical", "choices": [-1.0]}})
    result = await world(patterns=patterns).run(candidate=broken, hpo_trials=1)
    assert result.error is not None
    assert await store.patterns() == []


# Studies that go on ---------------------------------------------------------------------------------


def on_disk(around: World, folder: Path) -> World:
    """The same with studies in a file."""
    config = OptunaConfig(n_startup_trials=2, storage_url=f"sqlite:///{folder / 'studies.db'}")
    around.changes["optimizer"] = lambda name: OptunaOptimizer(name, None, around.connector, config=config)
    return around


def with_studies_of(optimizer: OptunaOptimizer, **parts: Any) -> World:
    """A world whose studies are those of ``optimizer``."""
    return world(optimizer=lambda _: optimizer, **parts)


async def test_a_study_goes_on_where_it_stopped() -> None:
    patterns, store = memory()
    optimizer = world().optimizer("exp")
    first = await with_studies_of(optimizer, patterns=patterns).run(hpo_trials=2)
    assert first.hpo is not None
    around = with_studies_of(optimizer, patterns=patterns)
    second = await around.run(hpo_trials=5, resume_study=first.hpo.study_name)
    assert second.hpo is not None
    assert (second.hpo.study_name, second.hpo.trials.total) == (first.hpo.study_name, 5)
    assert len([told for told in around.told if "trial" in told]) == 3
    third = await with_studies_of(optimizer, patterns=patterns).run(hpo_trials=5, resume_study=first.hpo.study_name)
    assert third.hpo is not None
    assert (third.hpo.trials.total, third.hpo.pattern_id) == (5, None)
    assert third.metrics == second.metrics
    assert len(await store.patterns()) == 2


@pytest.mark.parametrize(
    ("resumed", "said"),
    [("e2i_nothing", "no study 'e2i_nothing'"), (None, "its metric is roc_auc, not pr_auc")],
)
async def test_a_study_that_is_not_there_or_another_is_refused(resumed: str | None, said: str) -> None:
    optimizer = world().optimizer("exp")
    first = await with_studies_of(optimizer).run(hpo_trials=1)
    assert first.hpo is not None
    result = await with_studies_of(optimizer).run(metric="pr_auc", resume_study=resumed or first.hpo.study_name)
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("HPOError", "tune_hyperparameters")
    assert said in result.error.message


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.unit.test_agents.test_ml_foundation.test_model_trainer.parts import world
from tests.unit.test_agents.test_ml_foundation.test_model_trainer.test_tuning import on_disk

around = on_disk(world(), Path(sys.argv[1]))
around.hooks.append(lambda told: os.kill(os.getpid(), signal.SIGKILL) if "trial 3" in told else None)
asyncio.run(around.run(hpo_trials=8))
"""


@pytest.mark.slow
async def test_a_study_whose_process_was_killed_is_resumed(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=PROJECT_ROOT,
        capture_output=True,
        env=os.environ,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    optimizer = OptunaOptimizer("exp", f"sqlite:///{tmp_path / 'studies.db'}")
    import optuna

    (name,) = optuna.get_all_study_names(optimizer.storage_url)
    around = on_disk(world(), tmp_path)
    result = await around.run(hpo_trials=8, resume_study=name)
    assert result.error is None
    assert result.hpo is not None
    assert result.hpo.study_name == name
    assert result.hpo.trials.total == 8
    ((study, trials),) = around.tables[2].kept.values()
    assert [one["trial_number"] for one in trials] == list(range(8))
    assert study["n_completed"] + study["n_pruned"] >= 7
    assert around.row["status"] == "completed"


@pytest.mark.slow
async def test_workers_share_one_study(tmp_path: Path) -> None:
    around = on_disk(world(), tmp_path)
    result = await around.run(hpo_trials=6, workers=2)
    assert result.error is None
    assert result.hpo is not None
    assert (result.hpo.trials.completed, result.hpo.trials.failed) == (6, 0)
    ((_, trials),) = around.tables[2].kept.values()
    assert [one["trial_number"] for one in trials] == list(range(6))
    assert result.hpo.best_value == pytest.approx(max(one["value"] for one in trials))
    assert result.metrics["validation"]["roc_auc"] == result.hpo.best_value
