"""How does a search begin with what earlier ones taught, and what does it leave for the next one?"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from src.agents.ml_foundation.model_trainer import tuning
from src.agents.ml_foundation.model_trainer.nodes.tune_hyperparameters import runs_missing
from src.agents.ml_foundation.model_trainer.services import Training
from src.agents.ml_foundation.model_trainer.tuning import improvements, time_limit
from src.errors import DatabaseUnavailable
from src.mlops.hpo_pattern_memory import HPOPattern, HPOPatternMemory, InMemoryPatterns
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import OptunaConfig, WarmStartSettings
from src.mlops.optuna.results import HPOSummary, TrialCounts, TrialRecord, WarmStart
from src.mlops.optuna.trial_runs import TrialRuns
from src.mlops.optuna_optimizer import OptunaOptimizer
from src.settings import PROJECT_ROOT

from .parts import BOOSTED, LOGISTIC, World, journeys, request, world


def memory(**settings: Any) -> tuple[HPOPatternMemory, InMemoryPatterns]:
    """A memory of this process."""
    store = InMemoryPatterns()
    return HPOPatternMemory(store, WarmStartSettings(**settings)), store


ROWS = Labelled(pd.DataFrame({"x": [1.0]}), pd.Series([0]))
TRAINED = Training(datetime.now(UTC), labelled={"train": ROWS, "validation": ROWS})

# What a warm start is worth -------------------------------------------------------------------------


def searched(*trials: TrialRecord, starts: int = 1, direction: Any = "maximize") -> tuple[HPOSummary, Any]:
    """A search that began with the bests of ``starts`` patterns, all alike."""
    known = tuple(WarmStart(f"pattern {i}", 0.9, {"C": 1.0}, 0.8) for i in range(starts))
    counts = TrialCounts(len(trials), 0, 0)
    summary = HPOSummary(True, {"C": 1.0}, 0.8, 0, "roc_auc", direction, counts, 1.0, "study", warmstart=known)
    return summary, trials


def trial(number: int, value: float | None, **other: Any) -> TrialRecord:
    return TrialRecord(number, "COMPLETE" if value is not None else "PRUNED", value, {"C": 1.0}, **other)


def start(number: int, value: float | None, **other: Any) -> TrialRecord:
    """The trial of pattern ``number``."""
    return trial(number, value, origin=f"warm_start:pattern {number}", **other)


def usual(number: int, value: float | None, **other: Any) -> TrialRecord:
    """The trial with the algorithm's defaults."""
    return trial(number, value, origin="defaults", defaults=True, **other)


@pytest.mark.parametrize(
    ("summary", "worth"),
    [
        (searched(start(0, 0.8), usual(1, 0.7)), {"pattern 0": 0.1}),
        (searched(start(0, 0.3), usual(1, 0.5), direction="minimize"), {"pattern 0": 0.2}),
        (searched(start(0, 0.6), usual(1, 0.7)), {"pattern 0": -0.1}),
        (searched(start(0, 0.8), start(1, 0.9), usual(2, 0.7), starts=2), {"pattern 0": 0.1, "pattern 1": 0.2}),
        (searched(start(0, 0.8), trial(1, 0.1), usual(2, 0.7)), {"pattern 0": 0.1}),
        (searched(start(0, 0.8, defaults=True), trial(1, 0.7)), {"pattern 0": 0.0}),
        (searched(start(0, 0.8), start(1, 0.7, defaults=True), starts=2), {"pattern 0": 0.1, "pattern 1": 0.0}),
        (searched(start(0, 0.8), usual(1, None, intermediate_values={1: 0.5, 3: 0.6})), {"pattern 0": 0.2}),
        (searched(start(0, 0.8), TrialRecord(1, "FAIL", None, {}, defaults=True)), {}),
        (searched(start(0, None), usual(1, 0.7)), {}),
        (searched(trial(0, 0.8), usual(1, 0.7)), {}),
        (searched(start(0, 0.8), trial(1, 0.7)), {}),
        (searched(start(0, 0.8), usual(1, 0.7), starts=0), {}),
    ],
)
def test_a_warm_start_is_worth_what_it_gains_over_the_defaults(
    summary: tuple[HPOSummary, Any], worth: dict[str, float]
) -> None:
    assert improvements(*summary) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("asked", "budget", "limit"),
    [(None, None, None), (30.0, 10.0, 9.0), (30.0, 100.0, 30.0), (None, 100.0, 90.0), (5.0, None, 5.0)],
)
def test_a_search_ends_before_the_budget_of_its_node_whatever_is_asked(
    asked: float | None, budget: float | None, limit: float | None
) -> None:
    assert time_limit(request(hpo_timeout_s=asked), budget) == limit


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ({"stored": 3}, []),
        ({"spooled": 3}, []),
        ({"lost": 2}, ["mlflow: 2 runs of trials were lost"]),
        ({"lost": 1, "refused": {4: "no", 2: "quota"}}, ["that of trial 2: quota", "mlflow: 1 runs of trials"]),
    ],
)
def test_runs_of_trials_that_are_nowhere_are_told(counted: dict[str, Any], said: list[str]) -> None:
    lines = runs_missing(TrialRuns(None, None, None, "roc_auc", "hp_", **counted))  # type: ignore[arg-type]
    assert [part in line for part, line in zip(said, lines, strict=True)] == [True] * len(said)
    assert runs_missing(None) == ()


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
    start = second.hpo.warmstart[0]
    assert start.pattern_id == first.hpo.pattern_id
    assert dict(start.params) == first.hpo.best_params
    ((_, trials),) = around.tables[2].kept.values()
    assert trials[0]["params"] == first.hpo.best_params
    used = next(kept for kept in await store.patterns() if kept.pattern_id == start.pattern_id)
    usual = next(trial for trial in trials if "defaults" in trial["attrs"])
    assert used.times_used_as_warmstart == 1
    assert used.warmstart_improvement_avg == pytest.approx(trials[0]["value"] - usual["value"])


async def test_all_that_a_search_tried_is_remembered_and_guides_the_next_one() -> None:
    patterns, store = memory(remembered_trials=4)
    around = world(patterns=patterns)
    await around.run(hpo_trials=6)
    (kept,) = await store.patterns()
    ((row, trials),) = around.tables[2].kept.values()
    ordered = sorted((one for one in trials if one["value"] is not None), key=lambda one: -one["value"])
    assert [known.value for known in kept.remembered] == [one["value"] for one in ordered[:4]]
    around = world(journeys(seed=6), patterns=patterns)
    await around.run(hpo_trials=6)
    ((next_row, _),) = around.tables[2].kept.values()
    assert (row["sampler_name"], next_row["sampler_name"]) == ("tpe", "transfer")


async def test_half_of_the_trials_are_left_to_look_for_something_better() -> None:
    patterns, store = memory()
    await world(patterns=patterns).run(hpo_trials=2)
    (kept,) = await store.patterns()
    for number, best in enumerate((0.02, 0.2, 20.0)):
        await store.add(dataclasses.replace(kept, pattern_id=f"other {number}", best_params={"C": best}))
    around = world(journeys(seed=7), patterns=patterns)
    result = await around.run(hpo_trials=4)
    assert result.hpo is not None
    ((_, trials),) = around.tables[2].kept.values()
    assert [sorted(one["attrs"]) for one in trials[:3]] == [["pattern_id", "resource_used"]] * 2 + [
        ["defaults", "resource_used"]
    ]
    assert len(result.hpo.warmstart) == 2


@pytest.mark.parametrize("changes", [{"metric": "log_loss"}, {"candidate": BOOSTED}])
async def test_a_search_of_another_kind_gets_no_warm_start(changes: dict[str, Any]) -> None:
    patterns, _ = memory(min_similarity=0.0)
    await world(patterns=patterns).run()
    result = await world(patterns=patterns).run(**changes)
    assert result.hpo is not None
    assert result.hpo.warmstart == ()


async def test_a_training_that_fails_after_its_search_teaches_nothing() -> None:
    patterns, store = memory()
    around = world(patterns=patterns)
    around.tables[1].failure = DatabaseUnavailable("PostgreSQL is away")
    result = await around.run()
    assert result.error is not None
    assert result.error.node == "save_checkpoint"
    assert await store.patterns() == []


async def test_a_memory_that_is_away_leaves_the_training_complete_and_is_named() -> None:
    class Away(InMemoryPatterns):
        async def add(self, pattern: HPOPattern) -> None:
            raise DatabaseUnavailable("PostgreSQL is away")

    around = world(patterns=HPOPatternMemory(Away(), WarmStartSettings()))
    result = await around.run()
    assert (result.error, around.row["status"], result.training_run_id) == (None, "completed", around.row["id"])
    assert "patterns: what the search taught could not be kept: PostgreSQL is away" in result.meta.degraded
    assert result.hpo is not None
    assert result.hpo.pattern_id is None


async def test_a_search_that_fails_teaches_nothing() -> None:
    patterns, store = memory()
    broken = dataclasses.replace(LOGISTIC, search_space={"C": {"type": "categorical", "choices": [-1.0]}})
    result = await world(patterns=patterns).run(candidate=broken, hpo_trials=1)
    assert result.error is not None
    assert await store.patterns() == []


# Rows for other processes ---------------------------------------------------------------------------


def held(entered: threading.Event, leave: threading.Event, told: list[Any]) -> Any:
    """Stands for ``rows_on_disk``: notes its thread and its end, and takes until ``leave`` is set."""

    @contextmanager
    def writing(*_: Any) -> Iterator[Path]:
        told.append(threading.get_ident())
        entered.set()
        leave.wait(30)
        try:
            yield Path("rows")
        finally:
            told.append("deleted")

    return writing


async def test_rows_for_workers_are_written_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave, told = threading.Event(), threading.Event(), list[Any]()
    leave.set()
    monkeypatch.setattr(tuning, "rows_on_disk", held(entered, leave, told))
    async with tuning.shared_rows(TRAINED) as rows:
        assert (rows, len(told)) == (Path("rows"), 1)
    assert told[0] != threading.get_ident()
    assert told[1:] == ["deleted"]


async def test_a_cancellation_while_rows_are_written_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, leave, told = threading.Event(), threading.Event(), list[Any]()
    monkeypatch.setattr(tuning, "rows_on_disk", held(entered, leave, told))

    async def use() -> None:
        async with tuning.shared_rows(TRAINED):
            told.append("used")

    task = asyncio.create_task(use())
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    await asyncio.sleep(0)
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told[1:] == ["deleted"]


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
