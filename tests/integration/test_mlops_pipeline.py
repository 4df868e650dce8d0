"""Do the parts work as one: tables → Pandera → Great Expectations → leakage → features → gate → model?"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import pytest
from langgraph.graph import END, START, StateGraph

from src.agents.ml_foundation.data_preparer.agent import DataPreparerAgent, PrepareResult
from src.agents.ml_foundation.data_preparer.services import Services
from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.ml_foundation.model_trainer.graph import build_graph as train_graph
from src.agents.ml_foundation.model_trainer.services import PLACE as MODEL_TRAINER
from src.agents.ml_foundation.model_trainer.services import Records
from src.agents.quality_gate import LayerStatus, QCGate, after_gate
from src.agents.runtime import Deps
from src.app.session import CatalogueDatasets
from src.contracts.checking import check_frame
from src.contracts.tables import TABLES
from src.domain.modelling import ProblemType
from src.errors import DataQualityCheckpointError
from src.feature_store.configuration import FeastConfig, OfflineStoreSettings
from src.feature_store.feast_client import FeastClient
from src.feature_store.results import FreshnessStatus
from src.mlops.data_quality import DataQualityAlerter, DataQualityValidator, load_data_quality_config
from src.mlops.hpo_pattern_memory import HPOPatternMemory, PostgresPatterns
from src.mlops.modelling.types import Labelled
from src.mlops.optuna.configuration import WarmStartSettings
from src.mlops.optuna_optimizer import OptunaOptimizer, run_hyperparameter_optimization
from src.mlops.pandera_schemas import GEPanderaValidator
from src.mlops.preparation.transforms import from_parameters
from src.mlops.tracing.ids import uuid7
from src.resilience.outcomes import Unavailable
from src.storage.catalogue import Catalogue
from src.storage.database import Database
from src.storage.experiments import ExperimentRepository
from src.storage.hpo import HPORepository
from src.storage.hpo_patterns import HPOPatternRepository
from src.storage.loading import load_table
from src.storage.postgres_gateway import PostgresGateway
from src.storage.preparation import PreparationRepository
from src.storage.quality_reports import QualityReportRepository
from src.storage.training_runs import TrainingRunRepository
from src.synthetic import generate_panel
from tests.conftest import close_connector
from tests.mlflow_store import local_connector
from tests.shared_database import cloned_database
from tests.traces import memory_connector
from tests.unit.test_agents.test_ml_foundation.test_model_trainer import parts as trainer

pytestmark = pytest.mark.integration

_numbers = itertools.count(1)
SCOPE = PrepareScope("false_positive_flag", ("confidence_score", "lead_time_days", "priority"))


@pytest.fixture(scope="module")
def world() -> dict[str, pd.DataFrame]:
    """The eight tables of a small generated world, as a file would bring them."""
    return dict(generate_panel(150, 7).tables)


@pytest.fixture(scope="module")
def loaded(postgres_dsn: str, template_database: str, world: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Name of a database that holds the tables features and questions come from."""
    name = "pipeline_loaded"

    async def fill(url: str) -> None:
        async with Database.open(url) as db:
            for table in ("hcp_profiles", "patient_journeys", "triggers", "business_metrics"):
                await load_table(iter([world[table]]), table, db=db)

    with cloned_database(postgres_dsn, template_database, name) as url:
        asyncio.run(fill(url))
        yield name


@pytest.fixture
def database_url(postgres_dsn: str, loaded: str) -> Iterator[str]:
    """Address of the test's own copy of the loaded database."""
    with cloned_database(postgres_dsn, loaded, f"pipeline_{next(_numbers)}") as url:
        yield url
        close_connector()


@pytest.fixture
def filled(db: Database) -> Database:
    """The tables that features and questions come from, loaded."""
    return db


@pytest.fixture
async def features(filled: Database, tmp_path: Path) -> AsyncIterator[FeastClient]:
    """The feature store on those tables, applied."""
    config = FeastConfig(offline_store=OfflineStoreSettings(path=tmp_path / "features"))
    client = FeastClient(config, database=filled)
    assert not isinstance(await client.apply(), Unavailable)
    yield client
    await client.close()


async def prepare(db: Database, features: FeastClient | None, **changes: Any) -> PrepareResult:
    """data_preparer on real parts."""
    gateway, config = PostgresGateway(db), load_data_quality_config()
    services = Services(
        DataQualityValidator(config=config),
        PreparationRepository(gateway),
        QualityReportRepository(gateway),
        config,
        features,
    )
    connector, _ = memory_connector()
    deps = Deps(CatalogueDatasets(Catalogue(db)), connector, str(uuid7()), str(uuid7()))
    # The generated alerts lie so early that the split by time they bring along leaves hardly any to keep back.
    asked = PrepareRequest("exp-pipeline", "triggers", SCOPE, split_strategy="patient_stratified")
    asked = dataclasses.replace(asked, **changes)
    return await DataPreparerAgent(services, sla_seconds=600).run(asked, deps)


class Downstream(TypedDict, total=False):
    """State of a graph that stands behind the gate."""

    gate: QCGate
    trained: bool


async def visited(gate: QCGate) -> list[str]:
    """Nodes that a compiled graph behind the gate visits."""
    graph = StateGraph(Downstream)
    graph.add_node("prepare", lambda state: {"gate": gate})
    graph.add_node("tune", lambda state: {})
    graph.add_node("train", lambda state: {"trained": True})
    graph.add_node("report_refusal", lambda state: {})
    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", after_gate, {"proceed": "tune", "blocked": "report_refusal"})
    graph.add_edge("tune", "train")
    graph.add_edge("train", END)
    graph.add_edge("report_refusal", END)
    return [name async for step in graph.compile().astream({}) for name in step]


# Pandera, then Great Expectations -----------------------------------------------------------------


async def test_pandera_to_ge_pipeline(world: dict[str, pd.DataFrame]) -> None:
    clean = world["triggers"]
    found = await GEPanderaValidator().validate(clean, "triggers")
    assert found.passed
    assert found.layers_run == ("schema", "ge")
    assert found.quality is not None
    assert found.quality.expectations.evaluated > 20

    broken = clean.copy()
    broken.loc[broken.index[3], "priority"] = "urgent"
    stopped = await GEPanderaValidator().validate(broken, "triggers")
    assert (stopped.passed, stopped.ge_status, stopped.layers_run) == (False, "not_run", ("schema",))

    whole = await GEPanderaValidator(fast_fail=False).validate(broken, "triggers")
    (issue,) = [issue for issue in whole.issues if issue.rule == "priority_allowed"]
    assert (issue.table, issue.column, issue.layers, issue.rows) == (
        "triggers", "priority", ("schema", "ge"), (broken.index[3],),
    )  # fmt: skip
    assert not whole.passed


@pytest.mark.parametrize("name", sorted(TABLES))
async def test_every_generated_table_passes_both_layers(name: str, world: dict[str, pd.DataFrame]) -> None:
    found = await GEPanderaValidator().validate(world[name], name)
    assert (found.blocking_issues, found.passed) == ((), True)


async def test_a_checkpoint_stops_what_comes_after_it(world: dict[str, pd.DataFrame], db: Database) -> None:
    validator = DataQualityValidator()
    repeated = pd.concat([world["triggers"], world["triggers"].head(1)], ignore_index=True)
    with pytest.raises(DataQualityCheckpointError, match="trigger_id_unique") as caught:
        await validator.run_checkpoint(repeated, "triggers")
    result = caught.value.result
    reports = QualityReportRepository(PostgresGateway(db))
    await reports.add(result)  # type: ignore[arg-type]
    stored = await reports.latest("triggers")
    assert stored is not None
    assert (stored.overall_status, stored.rows_validated) == ("failed", len(repeated))


async def test_a_failure_is_told_once_and_a_worse_one_again(world: dict[str, pd.DataFrame]) -> None:
    told: list[tuple[str, str]] = []

    class Kept:
        name = "kept"

        async def handle(self, alert: Any) -> None:
            told.append((str(alert.severity), alert.subject))

    config = load_data_quality_config()
    validator = DataQualityValidator(DataQualityAlerter(config.alerting, Kept()), config)
    repeated = pd.concat([world["triggers"], world["triggers"].head(1)], ignore_index=True)
    for _ in range(3):
        await validator.validate_with_alerts(repeated, "triggers")
    assert told == [("error", "data quality of triggers")]
    empty = world["triggers"].iloc[:0][["brand"]]
    await validator.validate_with_alerts(empty, "triggers")
    assert told[1:] == [("critical", "data quality of triggers")]


# The gate -----------------------------------------------------------------------------------------


async def test_a_passed_gate_opens_the_way_and_leaves_evidence(filled: Database, features: FeastClient) -> None:
    result = await prepare(filled, features)
    assert (result.gate.passed, result.gate.blockers) == (True, ())
    assert await visited(result.gate) == ["prepare", "tune", "train"]
    reports = QualityReportRepository(PostgresGateway(filled))
    stored = await reports.latest("triggers")
    assert stored is not None
    assert stored.overall_status in ("passed", "warning")
    assert {row["check_type"] for row in await PreparationRepository(PostgresGateway(filled)).audits("triggers")} >= {
        "target", "train_test_overlap",
    }  # fmt: skip


async def test_a_blocked_gate_stops_the_graph_before_tuning(filled: Database, features: FeastClient) -> None:
    await filled.execute("UPDATE triggers SET lead_time_days = CASE WHEN false_positive_flag THEN 3 ELSE 8 END")
    result = await prepare(filled, features)
    assert result.gate.layers["leakage"] is LayerStatus.FAILED
    assert await visited(result.gate) == ["prepare", "report_refusal"]


async def test_a_warning_alone_does_not_stop_it(filled: Database, features: FeastClient) -> None:
    await filled.execute("UPDATE triggers SET hcp_id = NULL WHERE hashtext(trigger_id) % 10 <> 0")
    result = await prepare(filled, features)
    assert any("stat_hcp_id" in line for line in result.gate.warnings), result
    assert await visited(result.gate) == ["prepare", "tune", "train"]


async def test_a_given_split_with_hardly_any_rows_stops_it(filled: Database, features: FeastClient) -> None:
    result = await prepare(filled, features, split_strategy=None)
    assert any(line.startswith("splits: the holdout split has 1 rows") for line in result.gate.blockers)
    assert await visited(result.gate) == ["prepare", "report_refusal"]


async def test_a_skipped_check_stops_it(filled: Database, features: FeastClient) -> None:
    result = await prepare(filled, features, skip_leakage_check=True)
    assert result.gate.layers["leakage"] is LayerStatus.SKIPPED
    assert await visited(result.gate) == ["prepare", "report_refusal"]


async def test_what_was_learnt_on_the_training_rows_is_what_is_stored(filled: Database, features: FeastClient) -> None:
    result = await prepare(filled, features)
    assert result.splits is not None
    store = PreparationRepository(PostgresGateway(filled))
    learnt = from_parameters(await store.preprocessing(result.splits.split_config_id))
    frame = (await Catalogue(filled).load(await Catalogue(filled).get("table:triggers"))).frame
    assigned = await store.assignments(result.splits.split_config_id)
    train = frame[frame["patient_id"].map(assigned) == "train"]
    numbers = pd.to_numeric(train["confidence_score"])
    (scaled,) = [one for one in learnt.features if one.name == "confidence_score"]
    assert scaled.parameters()["mean"] == pytest.approx(numbers.fillna(numbers.median()).mean())
    assert learnt.n_rows == len(train)


# Features -----------------------------------------------------------------------------------------


async def test_online_values_are_those_that_history_gives_for_now(filled: Database, features: FeastClient) -> None:
    now = datetime.now(UTC)
    done = await features.materialize(datetime(2015, 1, 1, tzinfo=UTC), now, ["hcp_profile", "hcp_engagement"])
    assert not isinstance(done, Unavailable)
    keys = [f"hcp_{i:06d}" for i in range(40)]
    refs = ["hcp_profile:decile", "hcp_engagement:digital_engagement_score"]
    online = await features.get_online_features([{"hcp_id": key} for key in keys], refs)
    asked = pd.DataFrame({"hcp_id": keys, "event_timestamp": [pd.Timestamp("2025-06-01", tz="UTC")] * len(keys)})
    history = await features.get_historical_features(asked, refs)
    assert not isinstance(online, Unavailable)
    assert not isinstance(history, Unavailable)
    served = pd.DataFrame(online.rows())
    assert served["hcp_profile__decile"].notna().mean() > 0.9
    for name in ("hcp_profile__decile", "hcp_engagement__digital_engagement_score"):
        np.testing.assert_array_equal(served[name].astype(float), history[name].astype(float))


async def test_feast_feature_retrieval_in_training(
    filled: Database, features: FeastClient, world: dict[str, pd.DataFrame]
) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rows = check_frame(TABLES["triggers"], world["triggers"]).frame
    rows = rows[rows["hcp_id"].notna() & rows["false_positive_flag"].notna()]
    asked = rows[["trigger_id", "hcp_id", "false_positive_flag", "data_split"]].assign(
        # An alert's own values are known when it arises; what is known of the professional may be newer than that.
        event_timestamp=rows["trigger_timestamp"]
    )
    refs = ["trigger_effectiveness:confidence_score", "trigger_effectiveness:lead_time_days", "hcp_profile:decile"]
    joined = await features.get_historical_features(asked, refs)
    assert not isinstance(joined, Unavailable)
    names = [ref.replace(":", "__") for ref in refs]
    expected = rows.set_index("trigger_id")["confidence_score"].loc[joined["trigger_id"]]
    np.testing.assert_allclose(joined["trigger_effectiveness__confidence_score"], expected)
    known = rows["hcp_id"].map(
        check_frame(TABLES["hcp_profiles"], world["hcp_profiles"]).frame.set_index("hcp_id")["last_interaction_date"]
    ) + pd.Timedelta(days=1)
    later = (known.dt.tz_localize("UTC") > rows["trigger_timestamp"]).to_numpy()
    assert joined.loc[later, "hcp_profile__decile"].isna().all()
    train = joined[joined["data_split"] == "train"]
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    model.fit(train[names].astype(float), train["false_positive_flag"].astype(bool))
    assert model.n_features_in_ == len(names)


async def test_readiness_waits_for_fresh_features(filled: Database, features: FeastClient) -> None:
    before = await prepare(filled, features)
    assert (before.gate.passed, before.is_ready) == (True, False)
    assert [age.status for age in before.feast.freshness] == [FreshnessStatus.UNKNOWN]
    await features.materialize(datetime(2015, 1, 1, tzinfo=UTC), datetime.now(UTC), ["trigger_effectiveness"])
    after = await prepare(filled, features)
    assert (after.is_ready, [age.status for age in after.feast.freshness]) == (True, [FreshnessStatus.FRESH])


async def test_a_value_that_breaks_the_contract_is_refused_at_every_door(
    filled: Database, world: dict[str, pd.DataFrame]
) -> None:
    broken = world["triggers"].head(20).assign(trigger_id=[f"new_{i}" for i in range(20)], confidence_score=1.5)
    found = await GEPanderaValidator(fast_fail=False).validate(broken, "triggers")
    (issue,) = [issue for issue in found.issues if issue.rule == "confidence_score_range"]
    assert (issue.layers, issue.count) == (("schema", "ge"), 20)
    assert found.quality is not None
    assert [failed.id for failed in found.quality.failed_expectations] == ["triggers.confidence_score_range"]
    before = await filled.fetchrow("SELECT count(*) AS n FROM triggers")
    with pytest.raises(Exception, match="confidence_score"):
        await PostgresGateway(filled).insert(
            "triggers", broken.astype(object).where(broken.notna(), None).to_dict("records")
        )
    assert await filled.fetchrow("SELECT count(*) AS n FROM triggers") == before


# Training behind the gate -------------------------------------------------------------------------


async def trained_nodes(gate: QCGate) -> list[str]:
    """Nodes that the compiled graph of model_trainer visits behind ``gate``."""
    around = trainer.world()
    deps = dataclasses.replace(around.deps, workspace={MODEL_TRAINER: around.services})
    asked = trainer.request(qc_gate=gate, hpo_trials=1)
    updates = train_graph().astream({"request": asked}, context=deps, stream_mode="updates")
    return [name async for step in updates for name in step]


async def test_qc_gate_blocks_training(filled: Database, features: FeastClient) -> None:
    passed = await prepare(filled, features)
    assert "tune_hyperparameters" in await trained_nodes(passed.gate)
    await filled.execute("UPDATE triggers SET lead_time_days = CASE WHEN false_positive_flag THEN 3 ELSE 8 END")
    blocked = await prepare(filled, features)
    assert not blocked.gate.passed
    assert await trained_nodes(blocked.gate) == ["check_qc_gate"]


async def test_optuna_mlflow_integration(db: Database, tmp_path: Path) -> None:
    gateway, connector = PostgresGateway(db), local_connector(tmp_path)
    records = Records(ExperimentRepository(gateway), TrainingRunRepository(gateway), HPORepository(gateway))
    around = trainer.world(connector=connector, records=records)
    # One of the choices cannot be fitted: failed trials are logged as well.
    space = {"C": {"type": "categorical", "choices": [-1.0, 0.1, 1.0]}}
    result = await around.run(candidate=dataclasses.replace(trainer.LOGISTIC, search_space=space), hpo_trials=6)
    assert result.hpo is not None
    assert result.model_ref is not None
    study = await HPORepository(gateway).study(result.hpo.study_name)
    assert study is not None
    kept = {
        (trial.trial_number, trial.state, str(trial.params["C"]), trial.value)
        for trial in await HPORepository(gateway).trials(study.id)
    }
    found = await connector.search_runs(filter_string=f"tags.`mlflow.parentRunId` = '{result.model_ref.run_id}'")
    assert isinstance(found, list)
    logged = {
        (int(run.tags["trial_number"]), run.tags["state"], run.params["hp_C"], run.metrics.get("value"))
        for run in found
    }
    assert logged == kept
    assert len(logged) == result.hpo.trials.total == 6
    assert {state for _, state, _, _ in logged} == {"COMPLETE", "FAIL"}


# Bad where a search begins cold: twenty rounds of such small steps learn next to nothing.
SLOW_BY_DEFAULT = dataclasses.replace(
    trainer.BOOSTED,
    default_params={"n_estimators": 20, "num_leaves": 7, "min_child_samples": 5, "learning_rate": 0.001},
    search_space={"learning_rate": {"type": "float", "low": 0.001, "high": 0.3, "log": True}},
)


async def test_warm_start_from_memory(db: Database) -> None:
    store = PostgresPatterns(HPOPatternRepository(PostgresGateway(db)))
    patterns = HPOPatternMemory(store, WarmStartSettings())
    task = trainer.journeys(seed=8)
    asked: dict[str, Any] = {"candidate": SLOW_BY_DEFAULT, "metric": "log_loss"}
    await trainer.world(patterns=patterns).run(hpo_trials=8, **asked)
    firsts = {}
    for name, memory in (("cold", None), ("warm", patterns)):
        around = trainer.world(task, patterns=memory)
        result = await around.run(hpo_trials=2, **asked)
        assert result.hpo is not None
        assert len(result.hpo.warmstart) == (name == "warm")
        ((_, trials),) = around.tables[2].kept.values()
        firsts[name] = trials[0]["value"]
    assert firsts["warm"] < firsts["cold"]
    (used,) = [pattern for pattern in await store.patterns() if pattern.last_used_at]
    assert used.times_used_as_warmstart == 1
    assert (used.warmstart_improvement_avg or 0) > 0


async def test_hpo_pruning_saves_resources() -> None:
    frame = trainer.journeys(600)
    labelled = {}
    for split in ("train", "validation"):
        rows = frame[frame["split"] == split]
        labelled[split] = Labelled(rows[["score", "lead"]].fillna(0.0), rows["responded"].astype(int))
    # All but the first choice learn next to nothing in sixty rounds.
    space = {"learning_rate": {"type": "categorical", "choices": [0.2, 0.002, 0.001, 0.0005]}}
    found = {}
    for pruner in ("none", "hyperband"):
        # The same proposals with and without: the random sampler does not learn from what was pruned.
        optimizer = OptunaOptimizer(
            "pruning", "memory", config={"default_pruner": pruner, "default_sampler": "random", "random_state": 3}
        )
        found[pruner], _ = await run_hyperparameter_optimization(
            experiment_id="pruning",
            algorithm="lightgbm",
            problem_type=ProblemType.BINARY,
            search_space=space,
            train=labelled["train"],
            validation=labelled["validation"],
            metric="log_loss",
            n_trials=16,
            fixed_params={"n_estimators": 60, "num_leaves": 7, "min_child_samples": 5},
            optimizer=optimizer,
        )
    whole, pruned = found["none"], found["hyperband"]
    assert pruned.trials.pruned > 0
    assert pruned.resource_used < whole.resource_used
    assert (pruned.best_params, pruned.best_value) == (whole.best_params, whole.best_value)
