"""Does a version move by the rules only, do MLflow and the database say the same, and is a failure told?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from src.agents.ml_foundation.model_deployer.nodes.registry_manager import RegistryManager
from src.agents.ml_foundation.model_deployer.result import Action, DeployRequest, ShadowEvidence
from src.errors import ContractViolation, DatabaseUnavailable, ModelNotFound, PromotionRefused, ServiceOutage
from src.mlops.mlflow_connector import MLflowConnector
from src.resilience.outcomes import Unavailable
from src.storage.database import Database
from src.storage.experiments import ExperimentRepository
from src.storage.model_registry import ModelRegistryRepository
from src.storage.postgres_gateway import PostgresGateway
from tests.mlflow_store import closed_port, configuration

from .parts import GOOD, NAME, SEEN, Rows, Store, approval, store


@pytest.fixture
def there(tmp_path: Path) -> Store:
    return store(tmp_path)


@pytest.fixture
def two(tmp_path: Path, rows: Rows) -> Store:
    """Version 2 is in production, version 1 was there before."""
    rows.as_in(2)
    return store(tmp_path / "two", champions=2)


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
def manager(there: Store, rows: Rows) -> RegistryManager:
    return RegistryManager(there.connector, rows)


def request(there: Store, run: int = 0, **changes: Any) -> DeployRequest:
    values = {"run_id": there.runs[run], "experiment_id": "exp-row", "algorithm": "logistic_regression", **changes}
    return DeployRequest(Action.REGISTER, NAME, **values)


async def registered(manager: RegistryManager, there: Store, *runs: int) -> list[int]:
    return [(await manager.register(request(there, run)))[0].version for run in runs]


async def to_production(manager: RegistryManager, there: Store, version: int) -> None:
    for stage in ("staging", "shadow"):
        assert await manager.promote(NAME, version, stage)
    there.clock.forward(hours=25)
    moved = await manager.promote(NAME, version, "production", approval=approval(), shadow=SEEN)
    assert moved, moved.reason


def told(rows: Rows) -> dict[int, tuple[str, bool]]:
    return {int(row.model_version): (row.stage, row.is_champion) for row in rows.rows.values()}


async def shown(there: Store) -> dict[int, tuple[str, bool]]:
    found = await there.connector.get_model_versions(NAME)
    assert not isinstance(found, Unavailable)
    return {v.version: (v.stage.value, v.stage.value == "production") for v in found}


async def test_registering_makes_a_version_in_development_with_the_figures_of_its_run(
    manager: RegistryManager, there: Store, rows: Rows
) -> None:
    version, row = await manager.register(request(there))
    assert (version.name, version.version, version.stage.value) == (NAME, 1, "development")
    evidence = rows.rows[NAME, "1"].evidence
    assert rows.rows[NAME, "1"].id == row
    assert evidence is not None
    assert (evidence["auc"], evidence["brier_score"]) == (GOOD["test_roc_auc"], GOOD["test_brier_score"])
    assert evidence["mlflow_run_id"] == there.runs[0]
    assert evidence["fairness_metrics"] == {"recall_gap": {"segment": 0.25}}
    assert "calibration_slope" not in evidence


async def test_registering_a_run_again_gives_the_version_it_has(manager: RegistryManager, there: Store) -> None:
    assert await registered(manager, there, 0, 1, 0) == [1, 2, 1]
    assert [version.version for version in await manager.versions(NAME)] == [2, 1]


async def test_a_run_without_a_model_is_not_registered(manager: RegistryManager, rows: Rows, there: Store) -> None:
    with pytest.raises(ModelNotFound, match="no run 'nowhere'"):
        await manager.register(request(there, run_id="nowhere"))
    assert rows.rows == {}


@pytest.mark.parametrize("missing", ["run_id", "experiment_id", "algorithm"])
async def test_what_registering_needs_is_named(manager: RegistryManager, there: Store, missing: str) -> None:
    with pytest.raises(ContractViolation, match="run_id, experiment_id and algorithm"):
        await manager.register(request(there, **{missing: None}))


async def test_the_training_is_linked_to_the_row_of_its_version(there: Store, rows: Rows) -> None:
    class Trainings:
        linked: list[tuple[str, str]] = []

        async def link_model(self, training_run_id: str, model_registry_id: str) -> None:
            self.linked.append((training_run_id, model_registry_id))

    trainings = Trainings()
    manager = RegistryManager(there.connector, rows, trainings)
    await manager.register(request(there, training_run_id="t-1"))
    assert trainings.linked == [("t-1", "row-1")]


async def test_the_whole_path_ends_in_production_and_both_say_so(
    manager: RegistryManager, there: Store, rows: Rows
) -> None:
    (version,) = await registered(manager, there, 0)
    await to_production(manager, there, version)
    champion = await manager.champion(NAME)
    assert champion is not None
    assert champion.version == version
    assert await shown(there) == told(rows) == {1: ("production", True)}
    assert rows.rows[NAME, "1"].approved_by == "Jane Doe"


@pytest.mark.parametrize(
    ("path", "to"),
    [
        ((), "shadow"),
        ((), "production"),
        ((), "deprecated"),
        (("staging",), "deprecated"),
        (("staging",), "production"),
        (("staging", "shadow"), "staging"),
        (("archived",), "staging"),
        (("archived",), "production"),
    ],
)
async def test_where_there_is_no_way_the_promotion_is_refused_and_nothing_moves(
    manager: RegistryManager, there: Store, path: tuple[str, ...], to: str
) -> None:
    (version,) = await registered(manager, there, 0)
    for stage in path:
        assert await manager.promote(NAME, version, stage)
    before = await shown(there)
    with pytest.raises(PromotionRefused, match=to if to != "production" or path != ("staging",) else "waives"):
        await manager.promote(NAME, version, to, approval=approval(), shadow=SEEN)
    assert await shown(there) == before


async def test_development_never_reaches_production_even_with_shadow_waived(
    manager: RegistryManager, there: Store
) -> None:
    (version,) = await registered(manager, there, 0)
    with pytest.raises(PromotionRefused, match="to archived or staging, not to production"):
        await manager.promote(NAME, version, "production", approval=approval("shadow"), shadow=SEEN)
    assert await there.champion() is None


async def test_an_approval_that_waives_shadow_by_name_leads_from_staging_to_production(
    manager: RegistryManager, there: Store
) -> None:
    (version,) = await registered(manager, there, 0)
    await manager.promote(NAME, version, "staging")
    moved = await manager.promote(NAME, version, "production", approval=approval("shadow", why="launch week"))
    assert moved, moved.reason
    (recorded,) = await manager.approvals(NAME)
    assert (recorded.approver, recorded.reason) == ("Jane Doe", "launch week")
    assert set(recorded.waived) == {"path", "min_hours", "min_requests", "max_error_rate", "max_p99_ms"}


async def test_waiving_shadow_waives_nothing_else(tmp_path: Path, rows: Rows) -> None:
    strict = store(tmp_path, registry={"stages": {"production": {"min_auc": 0.95}}})
    manager = RegistryManager(strict.connector, rows)
    (version,) = await registered(manager, strict, 0)
    await manager.promote(NAME, version, "staging")
    moved = await manager.promote(NAME, version, "production", approval=approval("shadow"))
    assert not moved
    assert "min_auc" in moved.reason
    assert (await manager.promote(NAME, version, "production", approval=approval("shadow", "min_auc"))).ok


@pytest.mark.parametrize(
    ("evidence", "rule"),
    [
        (None, "min_requests"),
        (ShadowEvidence(25, 999, 0.001, 80), "min_requests"),
        (ShadowEvidence(25, 5_000, 0.02, 80), "max_error_rate"),
        (ShadowEvidence(25, 5_000, 0.001, 151), "max_p99_ms"),
        (ShadowEvidence(3, 5_000, 0.001, 80), "min_hours: hours in shadow is 3, below 24"),
    ],
)
async def test_weak_evidence_of_shadow_is_refused_by_the_name_of_the_rule(
    manager: RegistryManager, there: Store, evidence: ShadowEvidence | None, rule: str
) -> None:
    (version,) = await registered(manager, there, 0)
    for stage in ("staging", "shadow"):
        assert await manager.promote(NAME, version, stage)
    there.clock.forward(hours=25)
    moved = await manager.promote(NAME, version, "production", approval=approval(), shadow=evidence)
    assert not moved
    assert rule in moved.reason
    assert await there.stage(version) == "shadow"


async def test_stated_hours_that_the_version_has_not_been_in_shadow_are_refused(
    manager: RegistryManager, there: Store
) -> None:
    (version,) = await registered(manager, there, 0)
    for stage in ("staging", "shadow"):
        assert await manager.promote(NAME, version, stage)
    there.clock.forward(hours=2)
    claimed = ShadowEvidence(1_000.0, 5_000, 0.0, 10.0)
    moved = await manager.promote(NAME, version, "production", approval=approval(), shadow=claimed)
    assert not moved
    assert moved.reason == "min_hours: 1000 hours in shadow are stated, and it is there for 2"


@pytest.mark.parametrize("observed", [True, False])
async def test_evidence_that_was_only_stated_is_marked_with_who_states_it(
    manager: RegistryManager, there: Store, observed: bool
) -> None:
    (version,) = await registered(manager, there, 0)
    for stage in ("staging", "shadow"):
        assert await manager.promote(NAME, version, stage)
    there.clock.forward(hours=30)
    consent = approval(by="A. Lee")
    moved = await manager.promote(NAME, version, "production", approval=consent, shadow=SEEN, observed=observed)
    assert moved, moved.reason
    tags = (await manager.version(NAME, version)).tags
    assert tags.get("shadow_evidence") == (None if observed else "stated by A. Lee")
    assert tags["evidence.requests"] == "5000"


async def test_production_without_an_approval_is_refused(manager: RegistryManager, there: Store) -> None:
    (version,) = await registered(manager, there, 0)
    for stage in ("staging", "shadow"):
        assert await manager.promote(NAME, version, stage)
    there.clock.forward(hours=25)
    moved = await manager.promote(NAME, version, "production", shadow=SEEN)
    assert not moved
    assert moved.reason.startswith("approval:")
    assert await manager.approvals(NAME) == []


async def test_a_version_below_the_rules_of_staging_stays_in_development(tmp_path: Path, rows: Rows) -> None:
    strict = store(tmp_path, registry={"stages": {"staging": {"min_samples": 10_000}}})
    manager = RegistryManager(strict.connector, rows)
    (version,) = await registered(manager, strict, 0)
    moved = await manager.promote(NAME, version, "staging")
    assert (bool(moved), await strict.stage(version)) == (False, "development")
    assert "min_samples: samples is 5000, below 10000" in moved.reason
    assert told(rows) == {1: ("development", False)}


async def test_a_new_champion_sets_the_old_one_aside_and_it_can_be_gone_back_to(
    manager: RegistryManager, there: Store, rows: Rows
) -> None:
    first, second = await registered(manager, there, 0, 1)
    await to_production(manager, there, first)
    assert await manager.previous_champion(NAME) is None
    await to_production(manager, there, second)
    previous = await manager.previous_champion(NAME)
    assert previous is not None
    assert previous.version == first
    assert await shown(there) == told(rows) == {1: ("archived", False), 2: ("production", True)}


async def test_a_rollback_restores_the_champion_before_and_names_who_wanted_it(two: Store, rows: Rows) -> None:
    manager, first = RegistryManager(two.connector, rows), 1
    moved = await manager.rollback(NAME, approval(by="Ops", why="errors rise"))
    assert moved, moved.reason
    assert await two.champion() == first
    assert await shown(two) == told(rows) == {1: ("production", True), 2: ("archived", False)}
    newest = {recorded.version: recorded for recorded in await manager.approvals(NAME)}[first]
    assert (newest.approver, newest.reason) == ("Ops", "errors rise")


async def test_without_an_earlier_champion_there_is_nothing_to_roll_back_to(
    manager: RegistryManager, there: Store
) -> None:
    (version,) = await registered(manager, there, 0)
    await manager.promote(NAME, version, "staging")
    with pytest.raises(PromotionRefused, match="no earlier version"):
        await manager.rollback(NAME, approval())
    assert await there.stage(version) == "staging"


async def test_a_rollback_to_another_version_than_the_champion_before_is_refused(two: Store, rows: Rows) -> None:
    manager = RegistryManager(two.connector, rows)
    (third,) = await registered(manager, two, 2)
    with pytest.raises(PromotionRefused, match="leads to version 1"):
        await manager.rollback(NAME, approval(), to=third)
    assert await two.champion() == 2


@pytest.mark.parametrize("rollbacks", [4, pytest.param(20, marks=pytest.mark.slow)])
async def test_readers_find_exactly_one_champion_during_rollbacks(two: Store, rows: Rows, rollbacks: int) -> None:
    manager, (first, second) = RegistryManager(two.connector, rows), (1, 2)
    found: list[int | None] = []
    done = asyncio.Event()

    async def read() -> None:
        while not done.is_set():
            found.append(await two.champion())
            await asyncio.sleep(0.005)

    readers = [asyncio.create_task(read()) for _ in range(2)]
    for turn in range(rollbacks):
        two.clock.forward(hours=1)
        moved = await manager.rollback(NAME, approval())
        assert moved, moved.reason
        assert await two.champion() == (first if turn % 2 == 0 else second)
    done.set()
    await asyncio.gather(*readers)
    assert len(found) > rollbacks
    assert set(found) == {first, second}
    assert told(rows) == await shown(two)


async def test_a_database_that_was_away_is_mended_by_the_next_operation(
    manager: RegistryManager, there: Store, rows: Rows
) -> None:
    (version,) = await registered(manager, there, 0)
    rows.failure = DatabaseUnavailable("the database is away")
    with pytest.raises(DatabaseUnavailable):
        await manager.promote(NAME, version, "staging")
    assert (await there.stage(version), told(rows)) == ("staging", {1: ("development", False)})
    there.clock.forward(hours=1)
    again = await manager.promote(NAME, version, "staging")
    assert not again
    assert "already" in again.reason
    assert told(rows) == await shown(there) == {1: ("staging", False)}


async def test_versions_registered_by_others_are_named_and_given_no_row(
    manager: RegistryManager, there: Store, rows: Rows
) -> None:
    await there.version(0)
    assert await manager.reconcile(NAME) == (
        f"version 1 of '{NAME}' has no row in the database: it was not registered through E2I",
    )
    assert rows.rows == {}
    with pytest.raises(ModelNotFound, match="no row"):
        await manager.row_id(NAME, 1)


async def test_an_unknown_version_or_model_is_named(manager: RegistryManager, there: Store) -> None:
    await registered(manager, there, 0, 1)
    assert (await manager.version(NAME)).version == 2
    with pytest.raises(ModelNotFound, match="no version 9; its versions: 2, 1"):
        await manager.version(NAME, 9)
    with pytest.raises(ModelNotFound, match="no model 'e2i_other'"):
        await manager.version("e2i_other")


@pytest.mark.parametrize("uri", ["", pytest.param("closed", marks=pytest.mark.slow)])
async def test_while_the_store_is_away_nothing_is_claimed(tmp_path: Path, rows: Rows, uri: str) -> None:
    address = f"http://127.0.0.1:{closed_port()}" if uri else ""
    manager = RegistryManager(MLflowConnector(address, config_path=configuration(tmp_path)), rows)
    run = DeployRequest(Action.REGISTER, NAME, run_id="r", experiment_id="e", algorithm="ridge")
    attempts = [manager.register, lambda _: manager.promote(NAME, 1, "staging"), lambda _: manager.reconcile(NAME)]
    for attempt in attempts if not uri else attempts[:1]:
        with pytest.raises(ServiceOutage, match="mlflow"):
            await attempt(run)
    assert rows.rows == {}


async def test_two_promotions_at_once_leave_one_champion(manager: RegistryManager, there: Store, rows: Rows) -> None:
    versions = await registered(manager, there, 0, 1)
    for version in versions:
        for stage in ("staging",):
            assert await manager.promote(NAME, version, stage)
    # The second displaced the first from staging.
    assert sorted(told(rows).values()) == [("archived", False), ("staging", False)]
    consent = approval("shadow")
    outcomes = await asyncio.gather(
        *(manager.promote(NAME, version, "production", approval=consent) for version in versions),
        return_exceptions=True,
    )
    assert [isinstance(outcome, PromotionRefused) for outcome in outcomes] == [True, False]
    assert await there.champion() == versions[1]


@pytest.mark.integration
async def test_the_rows_of_a_real_database_say_what_mlflow_says(there: Store, db: Database) -> None:
    gateway = PostgresGateway(db)
    rows = ModelRegistryRepository(gateway)
    experiment = await ExperimentRepository(gateway).ensure(
        "adoption", mlflow_experiment_id="1", prediction_target="bought"
    )
    manager = RegistryManager(there.connector, rows)
    for run in (0, 1):
        await manager.register(request(there, run, experiment_id=experiment))
    await to_production(manager, there, 1)
    await to_production(manager, there, 2)
    assert await manager.rollback(NAME, approval())
    stored = {int(row.model_version): (row.stage, row.is_champion) for row in await rows.versions(NAME)}
    assert stored == await shown(there) == {1: ("production", True), 2: ("archived", False)}
    champion = await rows.champion(NAME)
    assert champion is not None
    assert (champion.model_version, champion.approved_by, champion.auc) == ("1", "Jane Doe", 0.9)
