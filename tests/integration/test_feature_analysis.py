"""A model out of MLflow is explained, told of by a language model, stored, and seen in both span stores."""

from __future__ import annotations

import json
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.agents.ml_foundation.feature_analyzer.agent import FeatureAnalyzerAgent
from src.agents.ml_foundation.feature_analyzer.result import AnalyzeResult
from src.agents.ml_foundation.feature_analyzer.services import Services, narration_client
from src.agents.runtime import Deps
from src.llm.client import LLMClient
from src.llm.configuration import load_llm_config
from src.llm.detection import open_client
from src.mlops.explanation.explainers import explain
from src.mlops.mlflow_connector import LoggedModel, MLflowConnector
from src.mlops.modelling.bundle import BUNDLE_FLAVOR, as_bundle
from src.mlops.opik_connector import OpikConnector, get_opik_connector
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.orphans import find_orphans
from src.scripted_servers import faults
from src.scripted_servers.anthropic import ScriptedAnthropic
from src.scripted_servers.opik import ScriptedOpik
from src.scripted_servers.replies import Reply
from src.storage.database import Database
from src.storage.postgres_gateway import PostgresGateway
from src.storage.shap_analyses import ShapRepository
from tests.integration.observed import Observed
from tests.mlflow_store import local_connector
from tests.unit.test_agents.test_ml_foundation.test_feature_analyzer.parts import (
    HOLDS,
    INVENTED,
    Rows,
    accounts,
    bundle,
    parts_of,
    request,
)

NODES = {"generate_features", "select_features", "compute_shap", "detect_interactions", "narrate_importance"}
KEY = "plainkeyZq7Wx2Lm9Rt4Vb8Nc3"


@dataclass(frozen=True)
class World:
    """Everything a run touches."""

    observed: Observed
    mlflow: MLflowConnector
    uri: str
    analyses: ShapRepository

    async def run(self, tracer: OpikConnector, llm: LLMClient | None, uri: str | None = None) -> AnalyzeResult:
        agent = FeatureAnalyzerAgent(Services(Rows(accounts()), self.mlflow, self.analyses, llm))
        deps = Deps(None, tracer, str(uuid7()), str(uuid7()))  # type: ignore[arg-type]
        result = await agent.run(request(model_uri=uri or self.uri), deps)
        if llm is not None:
            await llm.aclose()
        assert await tracer.flush()
        return result


@pytest.fixture
def opik() -> Iterator[ScriptedOpik]:
    with ScriptedOpik() as server:
        yield server


@pytest.fixture
async def world(database_url: str, db: Database, opik: ScriptedOpik, tmp_path: Path) -> AsyncIterator[World]:
    observed, mlflow = Observed(database_url, opik, tmp_path / "spool"), local_connector(tmp_path / "mlflow")
    made = bundle()
    async with mlflow.start_run(await mlflow.get_or_create_experiment("adoption"), "xgboost") as run:
        stored = await run.log_model(made, flavor=BUNDLE_FLAVOR, input_example=made.example())
    assert isinstance(stored, LoggedModel)
    yield World(observed, mlflow, f"runs:/{run.run_id}/model", ShapRepository(PostgresGateway(db)))
    for connector in observed.opened:
        await connector.shutdown(2)


def client(server: ScriptedAnthropic, tracer: OpikConnector) -> LLMClient:
    environment = {"ANTHROPIC_API_KEY": KEY, "ANTHROPIC_BASE_URL": server.base_url}
    config = load_llm_config(environ=environment)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return open_client(config, prices=tracer.config.prices, tracer=tracer)


async def test_a_stored_model_is_loaded_explained_narrated_and_traced_in_both_stores(world: World) -> None:
    tracer = world.observed.connect(sampling={"always_sample_agents": ["feature_analyzer"]})
    with ScriptedAnthropic(Reply.json(HOLDS)) as server:
        result = await world.run(tracer, client(server, tracer))
        (asked,) = server.requests
    assert (result.error, result.meta.status) == (None, "completed")
    # The model of the store, on real rows: its values add up, and an independent explanation is the same.
    assert result.shap is not None
    loaded = as_bundle(await world.mlflow.load_model(world.uri))
    splits = parts_of(accounts())
    validation = splits["validation"].sample(len(splits["validation"]), random_state=42)
    expected = explain(loaded.model, loaded.transform(splits["train"]), loaded.transform(validation))
    total = expected.base + expected.values.sum(axis=1)
    assert 1 / (1 + np.exp(-total)) == pytest.approx(loaded.scores(validation)[:, 1], abs=1e-4)
    by_name = {one.feature: one.mean_abs for one in result.shap.ranked}
    assert by_name["calls"] == pytest.approx(np.abs(expected.values[:, expected.columns.index("calls")]).mean())
    # The words of the language model, which saw aggregates only.
    assert result.narrative is not None
    assert (result.narrative.source, result.narrative.summary) == ("llm", HOLDS["summary"])
    facts = json.loads(asked.json["messages"][0]["content"])
    assert [one["name"] for one in facts["explanation"]["features"]] == [one.feature for one in result.shap.ranked]
    # One row.
    row = await world.analyses.latest(world.uri)
    assert row is not None
    assert (row.id, row.trace_id, row.narrative_source) == (result.analysis_id, result.meta.trace_id, "llm")
    assert row.global_importance == pytest.approx(by_name)
    assert len(world.observed.rows("ml_shap_analyses")) == 1
    # One trace, the same in PostgreSQL and Opik.
    spans, mirrored = world.observed.spans(result.meta.trace_id), world.observed.mirrored(result.meta.trace_id)
    assert spans.keys() == mirrored.keys() == NODES | {"run", "llm_call"}
    assert find_orphans(list(spans.values())) == []
    assert {spans[node]["parent_span_id"] for node in NODES} == {spans["run"]["span_id"]}
    assert spans["llm_call"]["parent_span_id"] == spans["narrate_importance"]["span_id"]
    assert spans["llm_call"]["input_tokens"] > 0
    assert mirrored["llm_call"]["type"] == "llm"
    assert {row["agent_name"] for row in spans.values()} == {"feature_analyzer"}


OUTAGES: dict[str, dict[str, Any]] = {
    "invented numbers": {"script": Reply.json(INVENTED)},
    "another shape": {"script": "no JSON at all"},
    "a refusal": {"script": Reply("", end="refused")},
    "a wrong key": {"script": Reply.json(HOLDS), "fault": faults.status(401)},
}


@pytest.mark.parametrize("outage", OUTAGES)
async def test_whatever_the_language_model_does_the_analysis_stands_and_is_labelled(outage: str, world: World) -> None:
    tracer = world.observed.connect(sampling={"always_sample_agents": ["feature_analyzer"]})
    with ScriptedAnthropic(**OUTAGES[outage]) as server:
        result = await world.run(tracer, client(server, tracer))
    assert result.narrative is not None
    assert (result.narrative.source, result.meta.status, result.error) == ("template", "partial", None)
    assert "87.5" not in repr(result.narrative)
    row = await world.analyses.latest(world.uri)
    assert row is not None
    assert (row.narrative_source, row.id) == ("template", result.analysis_id)
    assert world.observed.spans(result.meta.trace_id)["narrate_importance"]["fallback_used"] is True


async def test_a_model_that_is_not_in_the_store_leaves_no_analysis(world: World) -> None:
    tracer = world.observed.connect(sampling={"always_sample_agents": ["feature_analyzer"]})
    result = await world.run(tracer, None, "models:/nothing/1")
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("ModelNotFound", "compute_shap")
    assert world.observed.rows("ml_shap_analyses") == []
    assert world.observed.spans(result.meta.trace_id)["compute_shap"]["status"] == "error"


async def test_neither_key_nor_row_is_kept_in_any_span(world: World) -> None:
    tracer = world.observed.connect(sampling={"always_sample_agents": ["feature_analyzer"]})
    with ScriptedAnthropic(Reply.json(HOLDS)) as server:
        await world.run(tracer, client(server, tracer))
    kept = repr(world.observed.everything())
    values = {repr(float(value)) for part in parts_of(accounts()).values() for value in part["calls"]}
    assert KEY not in kept
    assert not any(value in kept for value in values)


async def test_the_configured_client_traces_its_calls_with_the_connector_of_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedAnthropic(Reply.json(HOLDS)) as server:
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        tracer = get_opik_connector()
        tracer.use_database(lambda: world.observed.url)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            llm = narration_client()
        result = await world.run(tracer, llm)
    assert result.narrative is not None
    assert result.narrative.source == "llm"
    assert world.observed.spans(result.meta.trace_id)["llm_call"]["status"] == "success"
