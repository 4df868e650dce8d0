"""Does a version move exactly along the path, on evidence and approval, and does the registry show it?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from src.errors import ModelNotFound
from src.mlops.mlflow.configuration import StageRules
from src.mlops.mlflow.promotion import Candidate, known_facts, refusals
from src.mlops.mlflow_connector import Evidence, MLflowConnector, ModelStage, ModelVersion, StageTransition, Waiver
from src.resilience.outcomes import Unavailable
from tests.mlflow_store import local_connector

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = Evidence(requests=5000, error_rate=0.001, p99_ms=80)
ALL_RULES = frozenset({"path", "min_hours", "min_requests", "max_error_rate", "max_p99_ms"})
NAME = "e2i_m"


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Registry:
    """One model in a store of its own, with a version per AUC asked for."""

    def __init__(self, connector: MLflowConnector, clock: Clock) -> None:
        self.connector = connector
        self.clock = clock

    async def version(self, auc: float | None = 0.9, samples: int = 5000, r2: float | None = None) -> int:
        measured = {name: value for name, value in (("auc", auc), ("test_r2", r2)) if value is not None}
        async with self.connector.start_run() as run:
            await run.log_metrics({"n_samples": samples} | measured)
            await run.log_model(Echo(), flavor="pyfunc")
        made = await self.connector.register_model(str(run.run_id), NAME)
        assert isinstance(made, ModelVersion)
        return made.version

    async def move(self, version: int, *stages: str, **options: Any) -> StageTransition:
        for stage in stages:
            moved = await self.connector.transition_model_stage(NAME, version, stage, **options)
            if not moved:
                return moved
        return moved

    async def to_production(self, version: int) -> StageTransition:
        assert await self.move(version, "staging", "shadow")
        self.clock.now += timedelta(hours=25)
        return await self.move(version, "production", approval="jane", evidence=GOOD)

    async def held(self, stage: str) -> int | None:
        found = await self.connector.get_latest_model_version(NAME, stage)
        assert not isinstance(found, Unavailable)
        return None if found is None else found.version

    async def read(self, version: int) -> ModelVersion:
        from src.mlops.mlflow import registry

        return await self.connector._calls.read(lambda client: registry.read_version(client, NAME, version))


class Echo:
    """The least that can be stored."""

    def predict(self, frame: Any) -> Any:
        return frame


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    clock = Clock()
    return Registry(local_connector(tmp_path, now=clock), clock)


async def test_the_whole_path_ends_in_production_and_the_registry_shows_it(registry: Registry) -> None:
    version = await registry.version()
    moved = await registry.to_production(version)
    assert moved
    assert (moved.from_stage, moved.to_stage) == (ModelStage.SHADOW, ModelStage.PRODUCTION)
    shown = await registry.read(version)
    assert shown.aliases == ("production",)
    assert shown.stage is ModelStage.PRODUCTION
    assert shown.tags["approved_by"] == "jane"
    assert shown.tags["stage_changed_at"] == "2026-03-02T13:00:00Z"
    assert shown.tags["evidence.requests"] == "5000"
    assert await registry.held("production") == version
    assert [await registry.held(stage) for stage in ("staging", "shadow")] == [None, None]


@pytest.mark.parametrize(
    ("at", "to", "allowed"),
    [
        ("development", "staging", True),
        ("development", "shadow", False),
        ("development", "production", False),
        ("development", "deprecated", False),
        ("development", "archived", True),
        ("staging", "shadow", True),
        ("staging", "development", False),
        ("staging", "production", False),
        ("staging", "archived", True),
        ("shadow", "staging", False),
        ("shadow", "archived", True),
        ("production", "deprecated", True),
        ("production", "archived", True),
        ("production", "staging", False),
        ("production", "production", False),
        ("deprecated", "archived", True),
        ("deprecated", "staging", False),
        ("archived", "development", False),
        ("archived", "staging", False),
    ],
)
def test_a_version_moves_along_the_path_only(at: str, to: str, allowed: bool) -> None:
    candidate = Candidate(ModelStage(at), NOW - timedelta(days=9), full(), None, was_champion=False)
    found = refusals(StageRules(), candidate, ModelStage(to), approval="jane", waiver=None, now=NOW)
    assert [refusal.rule for refusal in found if refusal.rule != "min_hours"] == ([] if allowed else ["path"])


def full(**changes: float | None) -> Evidence:
    known = {"auc": 0.9, "samples": 5000.0, "requests": 5000.0, "error_rate": 0.001, "p99_ms": 80.0}
    return Evidence(**{**known, **changes})  # type: ignore[arg-type]


def regression(r2: float, **changes: float | None) -> Evidence:
    return full(auc=None, r2=r2, **changes)


@pytest.mark.parametrize(
    ("to", "known", "rule"),
    [
        ("staging", full(auc=0.69), "min_auc"),
        ("staging", full(auc=None), "min_auc"),
        ("staging", full(samples=999), "min_samples"),
        ("shadow", full(auc=0.74), "min_auc"),
        ("production", full(auc=0.79), "min_auc"),
        ("production", full(auc=0.85), "champion_ratio"),
        ("production", full(requests=999), "min_requests"),
        ("production", full(requests=None), "min_requests"),
        ("production", full(error_rate=0.02), "max_error_rate"),
        ("production", full(p99_ms=151), "max_p99_ms"),
        ("production", full(error_rate=float("nan")), "max_error_rate"),
        ("staging", regression(0.0), "min_r2"),
        ("shadow", regression(-0.2), "min_r2"),
        ("production", regression(float("nan")), "min_r2"),
        ("staging", regression(0.1, samples=999), "min_samples"),
        ("production", full(hours=23.0), "min_hours"),
        ("production", full(hours=24.5), "min_hours"),
    ],
)
def test_each_rule_refuses_alone_and_passes_on_good_evidence(to: str, known: Evidence, rule: str) -> None:
    before = {"staging": "development", "shadow": "staging", "production": "shadow"}[to]

    champion = 0.92 if rule == "champion_ratio" else None

    def found(evidence: Evidence) -> list[str]:
        candidate = Candidate(ModelStage(before), NOW - timedelta(hours=24), evidence, champion, was_champion=False)
        return [r.rule for r in refusals(StageRules(), candidate, ModelStage(to), approval="j", waiver=None, now=NOW)]

    assert found(known) == [rule]
    assert found(full()) == []


@pytest.mark.parametrize(("stage", "to"), [("development", "staging"), ("staging", "shadow"), ("shadow", "production")])
def test_a_regression_that_is_better_than_the_mean_needs_no_auc(stage: str, to: str) -> None:
    candidate = Candidate(ModelStage(stage), NOW - timedelta(hours=24), regression(0.05), None, was_champion=False)
    assert refusals(StageRules(), candidate, ModelStage(to), approval="j", waiver=None, now=NOW) == []


@pytest.mark.parametrize(
    ("known", "champion", "rules"),
    [
        (regression(0.56), {"champion_auc": None, "champion_r2": 0.6}, ["champion_ratio"]),
        (regression(0.58), {"champion_auc": None, "champion_r2": 0.6}, []),
        (regression(0.99), {"champion_auc": 0.9}, ["champion_ratio"]),
        (full(auc=0.99), {"champion_auc": None, "champion_r2": 0.6}, ["champion_ratio"]),
    ],
)
def test_beside_a_champion_the_same_measure_is_compared(
    known: Evidence, champion: dict[str, Any], rules: list[str]
) -> None:
    candidate = Candidate(ModelStage.SHADOW, NOW - timedelta(hours=24), known, was_champion=False, **champion)
    found = refusals(StageRules(), candidate, ModelStage.PRODUCTION, approval="j", waiver=None, now=NOW)
    assert [refusal.rule for refusal in found] == rules


def test_a_regression_no_better_than_the_mean_passes_only_where_that_rule_is_waived_by_name() -> None:
    candidate = Candidate(ModelStage.DEVELOPMENT, None, regression(-0.1), None, was_champion=False)

    def found(*waived: str) -> list[str]:
        waiver = Waiver(frozenset(waived), "jane", "pilot")
        refused = refusals(StageRules(), candidate, ModelStage.STAGING, approval=None, waiver=waiver, now=NOW)
        return [refusal.rule for refusal in refused]

    assert found("min_auc") == ["min_r2"]
    assert found("min_r2") == []


@pytest.mark.parametrize(("hours", "rules"), [(23.9, ["min_hours"]), (24, [])])
def test_a_version_stays_in_shadow_for_its_hours(hours: float, rules: list[str]) -> None:
    candidate = Candidate(ModelStage.SHADOW, NOW - timedelta(hours=hours), full(), None, was_champion=False)
    found = refusals(StageRules(), candidate, ModelStage.PRODUCTION, approval="j", waiver=None, now=NOW)
    assert [refusal.rule for refusal in found] == rules


@pytest.mark.parametrize("approval", [None, "", "  "])
async def test_production_needs_a_name_and_no_waiver_replaces_it(registry: Registry, approval: str | None) -> None:
    version = await registry.version()
    waiver = Waiver(ALL_RULES | {"approval"}, "joe", "launch")
    refused = await registry.move(version, "production", approval=approval, waiver=waiver)
    assert not refused
    assert refused.reason.startswith("approval:")
    assert (await registry.read(version)).stage is ModelStage.DEVELOPMENT


async def test_a_shortcut_needs_a_waiver_that_is_kept_on_the_version(registry: Registry) -> None:
    version = await registry.version()
    assert not await registry.move(version, "production", approval="jane", evidence=GOOD)
    unsigned = Waiver(ALL_RULES, "joe", "")
    assert not await registry.move(version, "production", approval="jane", evidence=GOOD, waiver=unsigned)
    signed = Waiver(ALL_RULES, "joe", "launch day")
    assert await registry.move(version, "production", approval="jane", evidence=GOOD, waiver=signed)
    tags = (await registry.read(version)).tags
    assert (tags["waived_by"], tags["waiver_reason"]) == ("joe", "launch day")
    assert "path" in tags["waived_rules"]


async def test_a_refusal_leaves_the_registry_as_it_was(registry: Registry) -> None:
    version = await registry.version(auc=0.5)
    before = await registry.read(version)
    refused = await registry.move(version, "staging")
    assert isinstance(refused, StageTransition)
    assert not refused
    assert "min_auc: AUC is 0.5, below 0.7" in refused.reason
    assert await registry.read(version) == before


async def test_a_stored_metric_outranks_what_the_caller_claims(registry: Registry) -> None:
    version = await registry.version(auc=0.5)
    assert not await registry.move(version, "staging", evidence=Evidence(auc=0.99))
    silent = await registry.version(auc=None)
    assert await registry.move(silent, "staging", evidence=Evidence(auc=0.99))


def test_the_test_set_s_auc_comes_first_and_samples_may_be_a_param() -> None:
    known = known_facts({"auc": 0.9, "test_auc": 0.8}, {"n_samples": "1200"}, Evidence(samples=1))
    assert (known.auc, known.samples) == (0.8, 1200)


@pytest.mark.parametrize(
    ("metrics", "samples"),
    [
        ({"train_samples": 600, "validation_samples": 200, "test_samples": 200}, 1000),
        ({"train_samples": 600, "test_samples": 200, "n_samples": 5000}, 800),
        ({"test_samples": 300}, 300),
        ({"n_samples": 1200}, 1200),
        ({"samples": 1100}, 1100),
    ],
)
def test_samples_are_all_rows_the_model_was_made_and_judged_with(metrics: dict[str, float], samples: float) -> None:
    assert known_facts(metrics, {}, Evidence(samples=9)).samples == samples


@pytest.mark.parametrize(
    ("metrics", "auc", "r2"),
    [
        ({"test_r2": 0.4}, None, 0.4),
        ({"test_auc": 0.8}, 0.8, None),
        ({"test_r2": 0.4, "r2": 0.9}, None, 0.4),
        ({}, 0.99, 0.98),
    ],
)
def test_a_claimed_measure_does_not_stand_beside_the_other_one_that_is_stored(
    metrics: dict[str, float], auc: float | None, r2: float | None
) -> None:
    known = known_facts(metrics, {}, Evidence(auc=0.99, r2=0.98))
    assert (known.auc, known.r2) == (auc, r2)


async def test_a_regression_goes_the_whole_way_and_its_champion_is_held_against_the_next(registry: Registry) -> None:
    first, weaker = await registry.version(None, r2=0.6), await registry.version(None, r2=0.5)
    assert await registry.to_production(first)
    assert (await registry.read(first)).tags["evidence.r2"] == "0.6"
    refused = await registry.to_production(weaker)
    assert refused.reason == "champion_ratio: R² beside the version in production is 0.5, below 0.57"


@pytest.mark.parametrize(("archive", "stage"), [(True, ModelStage.ARCHIVED), (False, ModelStage.DEPRECATED)])
async def test_one_version_is_in_production_and_the_one_before_it_can_come_back(
    registry: Registry, archive: bool, stage: ModelStage
) -> None:
    old, new = await registry.version(0.9), await registry.version(0.91)
    assert await registry.to_production(old)
    assert await registry.move(new, "staging", "shadow")
    registry.clock.now += timedelta(hours=25)
    assert await registry.move(new, "production", approval="jane", evidence=GOOD, archive_existing=archive)
    before = await registry.read(old)
    assert (before.stage, before.tags["previous_champion"], before.aliases) == (stage, "true", ())
    assert await registry.held("production") == new

    assert not await registry.move(old, "production")
    assert await registry.move(old, "production", approval="jane")
    assert await registry.held("production") == old
    assert "previous_champion" not in (await registry.read(old)).tags
    assert (await registry.read(new)).tags["previous_champion"] == "true"


async def test_only_the_last_champion_may_come_back(registry: Registry) -> None:
    first, second, third = [await registry.version(auc) for auc in (0.9, 0.91, 0.92)]
    for version in (first, second, third):
        assert await registry.to_production(version)
    assert not await registry.move(first, "production", approval="jane")
    assert await registry.move(second, "production", approval="jane")


async def test_a_weaker_candidate_does_not_replace_the_champion(registry: Registry) -> None:
    champion, weaker = await registry.version(0.99), await registry.version(0.93)
    assert await registry.to_production(champion)
    refused = await registry.to_production(weaker)
    assert not refused
    assert refused.reason.startswith("champion_ratio:")
    assert await registry.held("production") == champion


@pytest.mark.parametrize(("archive", "stage"), [(True, ModelStage.ARCHIVED), (False, ModelStage.STAGING)])
async def test_the_newest_in_staging_holds_the_alias(registry: Registry, archive: bool, stage: ModelStage) -> None:
    old, new = await registry.version(), await registry.version()
    assert await registry.move(old, "staging")
    assert await registry.move(new, "staging", archive_existing=archive)
    assert await registry.held("staging") == new
    assert (await registry.read(old)).stage is stage


async def test_an_archived_version_loses_its_alias(registry: Registry) -> None:
    version = await registry.version()
    assert await registry.to_production(version)
    assert await registry.move(version, "archived")
    assert await registry.held("production") is None
    assert await registry.held("archived") == version
    assert (await registry.read(version)).tags["previous_champion"] == "true"


async def test_deprecated_versions_are_archived_after_their_days(registry: Registry) -> None:
    version = await registry.version()
    assert await registry.to_production(version)
    assert await registry.move(version, "deprecated")
    registry.clock.now += timedelta(days=29, hours=23)
    assert await registry.connector.archive_expired(NAME) == []
    registry.clock.now += timedelta(hours=1)
    archived = await registry.connector.archive_expired(NAME)
    assert isinstance(archived, list)
    assert [(moved.ok, moved.to_stage) for moved in archived] == [(True, ModelStage.ARCHIVED)]


async def test_a_move_whose_answer_was_lost_is_not_done_twice(registry: Registry) -> None:
    version = await registry.version()
    first = await registry.move(version, "staging")
    assert await registry.move(version, "staging") == first
    registry.clock.now += timedelta(seconds=1)
    assert (await registry.move(version, "staging")).reason == "path: it is in staging already"


async def test_a_move_that_was_interrupted_can_be_repeated(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    old, new = await registry.version(0.9), await registry.version(0.91)
    assert await registry.to_production(old)
    assert await registry.move(new, "staging", "shadow")
    registry.clock.now += timedelta(hours=25)
    set_tag = MlflowClient.set_model_version_tag

    def broken(self: Any, name: str, version: str, key: str, value: str) -> None:
        if key == "stage" and version == str(new):
            raise ConnectionError("cut")
        set_tag(self, name, version, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_model_version_tag", broken)
        assert not await registry.move(new, "production", approval="jane", evidence=GOOD)
    assert await registry.move(new, "production", approval="jane", evidence=GOOD)
    assert await registry.held("production") == new
    assert (await registry.read(old)).stage is ModelStage.ARCHIVED


async def test_an_unknown_version_cannot_move(registry: Registry) -> None:
    with pytest.raises(ModelNotFound, match="model 'e2i_m' has no version 7"):
        await registry.move(7, "staging")


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ({"staging": {"min_auc": 0.95}}, "min_auc"),
        ({"staging": {"min_samples": 6000}}, "min_samples"),
        ({"shadow": {"min_auc": 0.95}}, "min_auc"),
        ({"production": {"min_auc": 0.95}}, "min_auc"),
        ({"production": {"shadow": {"min_hours": 26}}}, "min_hours"),
        ({"production": {"shadow": {"min_requests": 6000}}}, "min_requests"),
        ({"production": {"shadow": {"max_error_rate": 0.0001}}}, "max_error_rate"),
        ({"production": {"shadow": {"max_p99_ms": 10}}}, "max_p99_ms"),
    ],
)
async def test_the_file_s_rule_decides(tmp_path: Path, stages: dict[str, Any], reason: str) -> None:
    clock = Clock()
    registry = Registry(local_connector(tmp_path, now=clock, registry={"stages": stages}), clock)
    version = await registry.version()
    moved = await registry.move(version, "staging")
    if moved:
        moved = await registry.move(version, "shadow")
    if moved:
        clock.now += timedelta(hours=25)
        moved = await registry.move(version, "production", approval="jane", evidence=GOOD)
    assert not moved
    assert moved.reason.startswith(f"{reason}:")


async def test_the_file_may_do_without_approval_and_with_a_weaker_champion_rule(tmp_path: Path) -> None:
    clock = Clock()
    rules = {"production": {"require_approval": False, "champion_ratio": 0.5}}
    registry = Registry(local_connector(tmp_path, now=clock, registry={"stages": rules}), clock)
    strong, weak = await registry.version(0.99), await registry.version(0.85)
    assert await registry.to_production(strong)
    assert await registry.move(weak, "staging", "shadow")
    clock.now += timedelta(hours=25)
    assert await registry.move(weak, "production", evidence=GOOD)
