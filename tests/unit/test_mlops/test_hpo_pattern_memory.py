"""Is what earlier searches taught found again, only where it applies, in memory and in PostgreSQL alike?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.domain.modelling import ProblemType
from src.errors import ContractViolation, HPOError
from src.mlops.hpo_pattern_memory import (
    HPOPattern,
    HPOPatternMemory,
    InMemoryPatterns,
    PatternQuery,
    PatternStore,
    PostgresPatterns,
    RunnerUp,
    query_of,
    runners_up,
)
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import WarmStartSettings
from src.mlops.optuna.results import TrialRecord
from src.storage.database import Database
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.postgres_gateway import PostgresGateway
from tests.shared_database import cloned_database

pytestmark = pytest.mark.integration
NOW = datetime(2026, 5, 1, tzinfo=UTC)
SPACE = {
    "num_leaves": {"type": "int", "low": 4, "high": 64},
    "learning_rate": {"type": "float", "low": 0.01, "high": 0.3, "log": True},
}


@pytest.fixture(scope="module")
def patterns_url(postgres_dsn: str, template_database: str) -> Iterator[str]:
    with cloned_database(postgres_dsn, template_database, "hpo_patterns") as url:
        yield url


@pytest.fixture
async def postgres(patterns_url: str) -> AsyncIterator[PostgresPatterns]:
    async with Database.open(patterns_url) as database:
        await database.execute("DELETE FROM ml_hpo_patterns")
        yield PostgresPatterns(HPOPatternRepository(PostgresGateway(database)))


@pytest.fixture(params=["memory", "postgres"])
def store(request: pytest.FixtureRequest) -> PatternStore:
    made: PatternStore = InMemoryPatterns() if request.param == "memory" else request.getfixturevalue("postgres")
    return made


@pytest.fixture
def memory(store: PatternStore) -> HPOPatternMemory:
    return HPOPatternMemory(store, WarmStartSettings(min_similarity=0.7, max_import_trials=3), clock=lambda: NOW)


def query(**values: Any) -> PatternQuery:
    return PatternQuery(**_problem() | values)


def pattern(**values: Any) -> HPOPattern:
    found = {"direction": "maximize", "best_params": {"num_leaves": 12, "learning_rate": 0.1}, "best_value": 0.8}
    return HPOPattern(**_problem() | found | {"created_at": NOW} | values)


def _problem() -> dict[str, Any]:
    return {
        "algorithm_name": "lightgbm",
        "problem_type": ProblemType.BINARY,
        "metric": "roc_auc",
        "search_space": SPACE,
        "n_samples": 1_000,
        "n_features": 20,
        "n_classes": 2,
        "class_balance": 0.3,
        "feature_types": {"continuous": 15, "binary": 5},
    }


async def test_a_pattern_is_read_back_as_it_was_stored(memory: HPOPatternMemory) -> None:
    near = (RunnerUp({"num_leaves": 20, "learning_rate": 0.05}, 0.79), RunnerUp({"num_leaves": 9}, 0.7))
    stored = pattern(study_name="e2i_churn", target_scale=None, runners_up=near)
    assert await memory.store_hpo_pattern(stored) == stored.pattern_id
    (found,) = await memory.find_similar_patterns(query())
    assert found.pattern == stored
    assert found.similarity == pytest.approx(1.0)


async def test_the_most_alike_problems_come_first_up_to_the_limit(memory: HPOPatternMemory) -> None:
    sizes = [10**6, 1_500, 30_000, 1_000]
    for n_samples in sizes:
        await memory.store_hpo_pattern(pattern(n_samples=n_samples))
    found = await memory.find_similar_patterns(query(), limit=3)
    assert [similar.pattern.n_samples for similar in found] == [1_000, 1_500, 30_000]
    assert [similar.similarity for similar in found] == sorted((s.similarity for s in found), reverse=True)


@pytest.mark.parametrize(
    "change",
    [{"metric": "f1"}, {"algorithm_name": "xgboost"}, {"problem_type": ProblemType.REGRESSION}],
    ids=["metric", "algorithm", "problem type"],
)
async def test_another_metric_algorithm_or_problem_teaches_nothing(
    memory: HPOPatternMemory, change: dict[str, Any]
) -> None:
    await memory.store_hpo_pattern(pattern(**change))
    assert await memory.find_similar_patterns(query()) == []
    assert await memory.get_warmstart(query(), min_similarity=0.0) == []


async def test_an_unlike_problem_is_refused_at_the_configured_threshold(memory: HPOPatternMemory) -> None:
    unlike = pattern(n_samples=10**6, n_features=400, class_balance=0.01, feature_types={"whole": 3})
    await memory.store_hpo_pattern(unlike)
    assert await memory.get_warmstart(query()) == []
    (found,) = await memory.get_warmstart(query(), min_similarity=0.0)
    assert found.pattern_id == unlike.pattern_id
    assert found.similarity < 0.35


async def test_similarity_equal_to_the_threshold_passes_and_above_it_does_not(memory: HPOPatternMemory) -> None:
    await memory.store_hpo_pattern(pattern(n_samples=10_000))
    (similar,) = await memory.find_similar_patterns(query())
    assert len(await memory.get_warmstart(query(), min_similarity=similar.similarity)) == 1
    assert await memory.get_warmstart(query(), min_similarity=np.nextafter(similar.similarity, 1.0)) == []


async def test_warm_starts_are_several_the_most_alike_first_and_no_more_than_configured(
    memory: HPOPatternMemory,
) -> None:
    for leaves, n_samples in [(10, 1_400), (20, 1_000), (30, 1_200), (40, 1_300)]:
        await memory.store_hpo_pattern(pattern(best_params={"num_leaves": leaves}, n_samples=n_samples))
    starts = await memory.get_warmstart(query())
    assert [start.params for start in starts] == [{"num_leaves": 20}, {"num_leaves": 30}, {"num_leaves": 40}]
    assert starts[0].best_value == 0.8


async def test_what_was_tried_on_like_problems_is_told_in_the_order_of_the_warm_starts(
    memory: HPOPatternMemory,
) -> None:
    for leaves, n_samples in [(10, 2_000), (40, 1_000)]:
        after = (RunnerUp({"num_leaves": 500, "max_bin": 63}, 0.7), RunnerUp({"num_leaves": leaves + 2}, 0.6))
        await memory.store_hpo_pattern(
            pattern(best_params={"num_leaves": leaves}, n_samples=n_samples, runners_up=after)
        )
    await memory.store_hpo_pattern(pattern(metric="log_loss"))
    found = await memory.get_earlier_searches(query())
    assert [search.trials for search in found] == [
        (({"num_leaves": leaves}, 0.8), ({"num_leaves": 64}, 0.7), ({"num_leaves": leaves + 2}, 0.6))
        for leaves in (40, 10)
    ]
    starts = await memory.get_warmstart(query())
    assert [(one.pattern_id, one.similarity) for one in found] == [(one.pattern_id, one.similarity) for one in starts]
    assert [start.params for start in await memory.get_warmstart(query(), most=1)] == [{"num_leaves": 40}]


async def test_an_unlike_problem_tells_nothing_and_no_more_searches_than_configured_do(store: PatternStore) -> None:
    memory = HPOPatternMemory(store, WarmStartSettings(max_searches=2))
    for n_samples in (1_000, 1_100, 1_200):
        await memory.store_hpo_pattern(pattern(n_samples=n_samples))
    unlike = query(n_samples=5_000_000, n_features=900, class_balance=0.01, feature_types={"whole": 900})
    assert len(await memory.get_earlier_searches(query())) == 2
    assert await memory.get_earlier_searches(unlike) == []
    assert len(await memory.get_earlier_searches(unlike, min_similarity=0.0)) == 2


async def test_of_problems_that_are_the_same_the_one_met_last_is_tried_first(memory: HPOPatternMemory) -> None:
    for days, n_samples, leaves in [(30, 1_000, 10), (2, 1_010, 20), (1, 1_500, 30)]:
        await memory.store_hpo_pattern(
            pattern(best_params={"num_leaves": leaves}, n_samples=n_samples, created_at=NOW - timedelta(days=days))
        )
    assert [start.params["num_leaves"] for start in await memory.get_warmstart(query())] == [20, 10, 30]


@pytest.mark.parametrize(
    ("direction", "values"), [("maximize", [0.9, 0.8, 0.7, 0.6]), ("minimize", [0.1, 0.2, 0.3, 0.4])]
)
def test_runners_up_are_the_next_best_that_differ(direction: Any, values: list[float]) -> None:
    trials = [TrialRecord(0, "PRUNED", None, {"C": 9.0}), TrialRecord(1, "FAIL", None, {"C": 8.0})]
    trials += [TrialRecord(2 + n, "COMPLETE", value / 10, {"C": float(value)}) for n, value in enumerate(range(11))]
    trials.append(TrialRecord(13, "COMPLETE", 0.85, {"C": 9.0 + 1e-9}))
    best = {"C": 10.0 if direction == "maximize" else 0.0}
    assert [known.value for known in runners_up(trials, direction, best, 4)] == values


async def test_values_are_moved_into_the_space_and_foreign_ones_left_out(memory: HPOPatternMemory) -> None:
    await memory.store_hpo_pattern(pattern(best_params={"num_leaves": 500, "learning_rate": 0.001, "max_bin": 63}))
    (start,) = await memory.get_warmstart(query())
    assert start.params == {"num_leaves": 64, "learning_rate": 0.01}


async def test_what_becomes_equal_is_tried_once_and_what_has_no_value_left_never(memory: HPOPatternMemory) -> None:
    for params in ({"num_leaves": 500}, {"num_leaves": 400}, {"max_bin": 63}):
        await memory.store_hpo_pattern(pattern(best_params=params))
    assert [start.params for start in await memory.get_warmstart(query())] == [{"num_leaves": 64}]


async def test_warm_starts_switched_off_import_nothing(store: PatternStore) -> None:
    memory = HPOPatternMemory(store, WarmStartSettings(enabled=False))
    await memory.store_hpo_pattern(pattern())
    assert await memory.get_warmstart(query()) == []
    assert await memory.get_earlier_searches(query()) == []


async def test_threshold_and_number_come_from_the_configuration(store: PatternStore) -> None:
    settings = HPOPatternMemory(store).settings
    assert (settings.enabled, settings.min_similarity, settings.max_import_trials) == (True, 0.7, 20)


async def test_the_mean_improvement_is_that_of_all_recorded_values(memory: HPOPatternMemory) -> None:
    identity = await memory.store_hpo_pattern(pattern())
    gains = np.random.default_rng(3).normal(size=6).tolist()
    for number, gain in enumerate(gains, start=1):
        assert await memory.record_warmstart_outcome(identity, gain) == pytest.approx(np.mean(gains[:number]))
    (found,) = await memory.find_similar_patterns(query())
    assert found.pattern.times_used_as_warmstart == 6
    assert found.pattern.warmstart_improvement_avg == pytest.approx(np.mean(gains))
    assert found.pattern.last_used_at is not None


async def test_outcomes_recorded_at_once_are_all_counted(memory: HPOPatternMemory) -> None:
    identity = await memory.store_hpo_pattern(pattern())
    await asyncio.gather(*(memory.record_warmstart_outcome(identity, float(gain)) for gain in range(8)))
    stats = await memory.get_pattern_stats()
    assert (stats.uses, stats.mean_improvement) == (8, pytest.approx(3.5))


@pytest.mark.parametrize("improvement", [float("nan"), float("inf")])
async def test_an_unmeasured_improvement_is_refused(memory: HPOPatternMemory, improvement: float) -> None:
    identity = await memory.store_hpo_pattern(pattern())
    with pytest.raises(HPOError, match="was not measured"):
        await memory.record_warmstart_outcome(identity, improvement)
    assert (await memory.get_pattern_stats()).uses == 0


async def test_an_outcome_of_an_unknown_pattern_is_an_error(memory: HPOPatternMemory) -> None:
    with pytest.raises(ContractViolation, match="no pattern"):
        await memory.record_warmstart_outcome(str(uuid4()), 0.1)


async def test_stats_weigh_every_use_the_same(memory: HPOPatternMemory) -> None:
    assert (await memory.get_pattern_stats()).mean_improvement is None
    often, once, never = pattern(), pattern(), pattern(algorithm_name="ridge")
    for stored in (often, once, never):
        await memory.store_hpo_pattern(stored)
    for identity, gain in [(often, 0.1), (often, 0.2), (often, 0.3), (once, 1.0)]:
        await memory.record_warmstart_outcome(identity.pattern_id, gain)
    stats = await memory.get_pattern_stats()
    assert (stats.patterns, stats.by_algorithm, stats.used, stats.uses) == (3, {"lightgbm": 2, "ridge": 1}, 2, 4)
    assert stats.mean_improvement == pytest.approx(0.4)


async def test_cleanup_forgets_what_was_neither_made_nor_used_lately(memory: HPOPatternMemory) -> None:
    old, used, young = (
        pattern(created_at=NOW - timedelta(days=91)),
        pattern(created_at=NOW - timedelta(days=400)),
        pattern(created_at=NOW - timedelta(days=89)),
    )
    for stored in (old, used, young):
        await memory.store_hpo_pattern(stored)
    await memory.record_warmstart_outcome(used.pattern_id, 0.1)
    rehearsed = await memory.cleanup_old_patterns(90, dry_run=True)
    assert (rehearsed.pattern_ids, (await memory.get_pattern_stats()).patterns) == ((old.pattern_id,), 3)
    assert (await memory.cleanup_old_patterns(90)).pattern_ids == (old.pattern_id,)
    left = {similar.pattern.pattern_id for similar in await memory.find_similar_patterns(query())}
    assert left == {used.pattern_id, young.pattern_id}
    assert (await memory.cleanup_old_patterns(90)).pattern_ids == ()


@pytest.mark.parametrize(
    "values",
    [
        {"n_samples": 0},
        {"n_features": 0},
        {"n_classes": 1},
        {"class_balance": 1.5},
        {"target_scale": 0.0},
        {"best_value": float("nan")},
    ],
)
def test_a_pattern_that_cannot_be_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(HPOError, match=next(iter(values)) if "best_value" not in values else "best value"):
        pattern(**values)


counts = st.dictionaries(st.sampled_from(["continuous", "whole", "binary"]), st.integers(0, 40), min_size=1)
problems = st.fixed_dictionaries(
    {
        "n_samples": st.integers(1, 10**7),
        "n_features": st.integers(1, 10**4),
        "class_balance": st.none() | st.floats(0, 0.5, allow_subnormal=False),
        "target_scale": st.none() | st.floats(1e-3, 1e3),
        "feature_types": st.none() | counts,
        "search_space": st.dictionaries(st.sampled_from(["depth", "rate", "leaves"]), st.just({"type": "int"})),
    }
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=problems, asked=problems)
def test_both_stores_find_the_same_similarity(patterns_url: str, known: dict[str, Any], asked: dict[str, Any]) -> None:
    async def similarities() -> list[float]:
        stored, wanted = pattern(**known), query(**asked)
        async with Database.open(patterns_url) as database:
            await database.execute("DELETE FROM ml_hpo_patterns")
            stores: list[PatternStore] = [
                InMemoryPatterns(),
                PostgresPatterns(HPOPatternRepository(PostgresGateway(database))),
            ]
            found = []
            for one in stores:
                await one.add(stored)
                found += await one.similar(wanted, min_similarity=0.0, limit=5)
        return [similar.similarity for similar in found]

    first, second = asyncio.run(similarities())
    assert first == pytest.approx(second, abs=1e-12)
    assert -1e-12 <= first <= 1 + 1e-12


def test_a_query_describes_its_training_rows() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=100), "b": rng.integers(0, 9, 100).astype(float), "c": [0.0, 1.0] * 50})
    y = pd.Series([1] * 20 + [0] * 80)
    made = query_of("lightgbm", ProblemType.BINARY, "roc_auc", SPACE, Labelled(X, y))
    assert (made.n_samples, made.n_features, made.n_classes, made.class_balance) == (100, 3, 2, pytest.approx(0.2))
    assert made.feature_types == {"binary": 1, "continuous": 1, "whole": 1}
    assert made.target_scale is None
    numbers = query_of("ridge", ProblemType.REGRESSION, "neg_rmse", {}, Labelled(X, X["a"]))
    assert (numbers.n_classes, numbers.class_balance) == (None, None)
    assert numbers.target_scale == pytest.approx(X["a"].std())
