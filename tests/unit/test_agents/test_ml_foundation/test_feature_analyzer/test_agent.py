"""Features are selected, a real model is explained and told of; what cannot be done is said, and nothing is made up."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import numpy as np
import pytest

from src.agents.ml_foundation.feature_analyzer.agent import FeatureAnalyzerAgent
from src.agents.ml_foundation.feature_analyzer.graph import build_graph
from src.agents.ml_foundation.feature_analyzer.result import GenerationConfig, SelectionConfig
from src.agents.ml_foundation.feature_analyzer.services import Services
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState, AnalyzeUpdate
from src.domain.modelling import ProblemType
from src.errors import BudgetExhausted, ContractViolation, DatabaseUnavailable, ModelNotFound, ServiceRefused
from src.mlops.explanation.explainers import explain
from src.mlops.tracing.orphans import find_orphans
from src.resilience.outcomes import Unavailable
from tests.unit.test_agents.test_ml_foundation.test_feature_analyzer.parts import (
    FEATURES,
    HOLDS,
    INVENTED,
    UNAVAILABLE,
    URI,
    Analyses,
    Away,
    Models,
    N,
    Ran,
    Rows,
    accounts,
    analyze,
    bundle,
    parts_of,
    request,
)
from tests.worded import Worded

ALL = ["generate_features", "select_features", "compute_shap", "detect_interactions", "narrate_importance"]
TRAINING = "0197a1f0-0000-7000-8000-000000000001"
FAMILIES = ("logistic_regression", "random_forest", "xgboost", "lightgbm")


@pytest.fixture(scope="module")
def told() -> Ran:
    """A whole run with a language model that keeps to the facts."""
    return asyncio.run(analyze(request(training_run_id=TRAINING), says=HOLDS))


def test_a_run_selects_explains_narrates_and_keeps_the_analysis(told: Ran) -> None:
    result = told.result
    assert told.progress == ALL
    assert (result.error, result.meta.status, result.meta.degraded) == (None, "completed", ())
    assert set(result.selected) == set(FEATURES)
    assert result.shap is not None
    assert [one.feature for one in result.shap.ranked][0] == "calls"
    assert {one.feature for one in result.shap.ranked} == set(FEATURES)
    assert (result.shap.explainer, result.shap.space, result.shap.n_rows) == ("Tree", "log_odds", N["validation"])
    assert result.narrative is not None
    assert (result.narrative.source, result.narrative.summary) == ("llm", HOLDS["summary"])
    assert result.analysis_id == "analysis-1"
    assert set(result.plots) == {"beeswarm", "bar"}
    assert all(png.startswith(b"\x89PNG") for png in result.plots.values())


@pytest.mark.parametrize("algorithm", FAMILIES)
@pytest.mark.parametrize("problem", [ProblemType.BINARY, ProblemType.MULTICLASS, ProblemType.REGRESSION])
async def test_every_family_is_explained_by_values_that_add_up(algorithm: str, problem: ProblemType) -> None:
    if problem is ProblemType.REGRESSION and algorithm == "logistic_regression":
        algorithm = "ridge"
    ran = await analyze(
        request(problem_type=problem), models=Models(**{URI: bundle(algorithm, problem)}), part="explanation"
    )
    assert ran.result.shap is not None
    assert ran.result.shap.max_error <= 1e-4 * (1 if problem is not ProblemType.REGRESSION else 300)
    assert ran.result.shap.ranked[0].mean_abs > 0


async def test_importances_are_those_of_the_model_over_real_validation_rows_by_raw_feature() -> None:
    ran = await analyze(request(max_samples=20))
    made, splits = bundle(), parts_of(accounts())
    drawn = splits["validation"].sample(20, random_state=42)
    found = explain(made.model, made.transform(splits["train"]), made.transform(drawn))
    words = [i for i, name in enumerate(found.columns) if name.startswith("region=")]
    reach = [found.columns.index("reach"), found.columns.index("reach__missing")]
    assert ran.result.shap is not None
    by_name = {one.feature: one for one in ran.result.shap.ranked}
    assert len(words) == 3
    assert by_name["region"].mean_abs == pytest.approx(np.abs(found.values[:, words].sum(axis=1)).mean())
    assert by_name["reach"].mean_abs == pytest.approx(np.abs(found.values[:, reach].sum(axis=1)).mean())
    assert (by_name["calls"].direction, by_name["region"].direction) == (1, 0)
    assert ran.result.shap.base_value == pytest.approx(found.base_value)
    assert ran.result.shap.n_rows == 20


def test_train_and_validation_are_read_once_each_and_no_other_split(told: Ran) -> None:
    assert told.rows.asked == ["train", "validation"]


def test_the_pair_that_acts_together_is_stronger_than_its_features_with_any_other(told: Ran) -> None:
    strength = {frozenset((pair.a, pair.b)): pair.strength for pair in told.result.interactions}
    planted = strength.pop(frozenset(("reach", "samples")))
    assert planted > max(value for pair, value in strength.items() if "reach" in pair)
    assert {pair.method for pair in told.result.interactions} == {"shap_interaction"}


async def test_interactions_that_are_not_wanted_are_not_looked_for() -> None:
    ran = await analyze(request(compute_interactions=False))
    assert ran.result.interactions == ()
    assert ran.analyses.rows[0]["interactions"] == []


def test_the_stored_row_says_what_the_result_says(told: Ran) -> None:
    (row,), shap, narrative = told.analyses.rows, told.result.shap, told.result.narrative
    assert shap is not None
    assert narrative is not None
    assert (row["training_run_id"], row["model_uri"], row["explainer_type"]) == (TRAINING, URI, "Tree")
    assert (row["sample_size"], row["base_value"]) == (shap.n_rows, shap.base_value)
    assert row["global_importance"] == {one.feature: one.mean_abs for one in shap.ranked}
    assert row["top_features"] == [dataclasses.asdict(one) for one in shap.ranked]
    assert row["interactions"] == [dataclasses.asdict(pair) for pair in told.result.interactions]
    assert row["narrative"].split("\n") == [HOLDS["summary"], *HOLDS["key_insights"], *HOLDS["cautions"]]
    assert (row["narrative_source"], row["trace_id"]) == ("llm", told.result.meta.trace_id)


async def test_without_a_model_only_the_selection_is_told_and_nothing_is_stored() -> None:
    ran = await analyze(request(model_uri=None))
    assert ran.progress == ["generate_features", "select_features", "narrate_importance"]
    assert (ran.result.shap, ran.result.analysis_id, ran.result.plots, ran.analyses.rows) == (None, None, {}, [])
    assert ran.result.narrative is not None
    assert "4 of 4 candidate features were selected" in ran.result.narrative.summary
    assert ran.rows.asked == ["train"]


@pytest.mark.parametrize(("part", "nodes"), [("engineering", ALL[:2]), ("explanation", ALL[2:]), ("all", ALL)])
async def test_a_part_runs_its_own_nodes_only(part: Any, nodes: list[str]) -> None:
    ran = await analyze(part=part)
    assert ran.progress == nodes
    assert ran.result.error is None
    assert bool(ran.result.selected) is (part != "explanation")
    assert (ran.result.shap is not None) is (part != "engineering")


async def test_an_explanation_without_a_model_is_refused() -> None:
    with pytest.raises(ContractViolation, match="model_uri"):
        await analyze(request(model_uri=None), part="explanation")


async def test_derived_columns_are_named_and_selected_like_any_other() -> None:
    config = GenerationConfig(interactions=True, top_k=3)
    result = (await analyze(request(feature_config=config, model_uri=None))).result
    assert set(result.generated) == {"calls_times_reach", "calls_times_samples", "reach_times_samples"}
    left_out = {*result.removed.variance, *result.removed.correlation, *result.removed.vif}
    assert {*result.selected, *left_out} == {*FEATURES, *result.generated}
    assert "reach_times_samples" in result.selected


async def test_selection_learns_from_training_rows_only() -> None:
    frame = accounts().copy()
    alone = (await analyze(request(model_uri=None), rows=Rows(frame))).result
    frame.loc[frame.index[N["train"] :], "samples"] = 0.0
    spoiled = (await analyze(request(model_uri=None), rows=Rows(frame))).result
    assert (alone.selected, alone.removed) == (spoiled.selected, spoiled.removed)


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        (SelectionConfig(min_variance=0.5), "variance"),
        (SelectionConfig(max_vif=1.0), "vif"),
        (SelectionConfig(min_stability=1.0, subsamples=5), "stability"),
    ],
)
async def test_each_rule_of_selection_leaves_out_for_its_own_reason(rules: SelectionConfig, reason: str) -> None:
    result = (await analyze(request(selection_config=rules, model_uri=None))).result
    assert getattr(result.removed, reason)


@pytest.mark.parametrize("split", ["train", "validation"])
async def test_without_real_rows_the_run_fails_and_nothing_after_it_runs(split: str) -> None:
    ran = await analyze(rows=Rows(accounts(), without=(split,)))
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.meta.status) == ("DataUnavailable", "failed")
    assert split in ran.result.error.message
    assert ran.progress[-1] == ran.result.error.node == {"train": ALL[0], "validation": "compute_shap"}[split]
    assert (ran.result.shap, ran.result.narrative, ran.analyses.rows) == (None, None, [])


async def test_a_run_in_which_no_feature_is_left_fails() -> None:
    ran = await analyze(request(selection_config=SelectionConfig(min_variance=1.0)))
    assert ran.progress == ALL[:2]
    assert ran.result.error is not None
    assert "no feature is left" in ran.result.error.message


@pytest.mark.parametrize(
    ("model", "type_", "says"),
    [
        (UNAVAILABLE, "ServiceOutage", "the store is away"),
        (ModelNotFound("no version 3"), "ModelNotFound", "no version 3"),
        ({"not": "a model"}, "ContractViolation", "e2i train"),
        (bundle("ridge", ProblemType.REGRESSION), "ContractViolation", "regression model"),
    ],
)
async def test_a_model_that_cannot_be_explained_ends_the_run(model: Any, type_: str, says: str) -> None:
    ran = await analyze(models=Models(**{URI: model}))
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.error.node) == (type_, "compute_shap")
    assert says in ran.result.error.message
    assert ran.result.meta.status == "failed"
    assert ran.progress == ALL[:3]
    assert ran.result.selected


async def test_a_feature_the_model_needs_and_the_data_lack_is_named() -> None:
    ran = await analyze(request(features=("calls", "reach", "region")))
    assert ran.result.error is not None
    assert (ran.result.error.type, ran.result.error.node) == ("UnknownColumn", "compute_shap")
    assert "'samples'" in ran.result.error.message


async def test_without_a_database_the_analysis_is_told_but_has_no_id() -> None:
    ran = await analyze(says=HOLDS, analyses=Analyses(DatabaseUnavailable("the server is away")))
    assert (ran.result.analysis_id, ran.result.meta.status, ran.result.error) == (None, "partial", None)
    assert any("not stored: the server is away" in line for line in ran.result.meta.degraded)
    assert ran.result.narrative is not None


async def test_an_unknown_training_run_fails_instead_of_being_left_out() -> None:
    ran = await analyze(analyses=Analyses(ContractViolation("no training run")))
    assert ran.result.error is not None
    assert (ran.result.error.node, ran.result.meta.status) == ("narrate_importance", "failed")


async def test_a_bug_is_no_result() -> None:
    with pytest.raises(ZeroDivisionError):
        await analyze(analyses=Analyses(ZeroDivisionError()))


async def never() -> None:
    await asyncio.sleep(60)


def failing(error: Exception) -> Any:
    async def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Unavailable("llm", "answered HTTP 529"), "HTTP 529"),
        (failing(ServiceRefused("the key is refused")), "the key is refused"),
        (failing(BudgetExhausted("no tokens left")), "no tokens left"),
        (never, "no reply within 0.05 s"),
    ],
)
async def test_a_language_model_that_fails_gives_a_labelled_template_and_a_partial_result(
    outcome: Any, says: str
) -> None:
    ran = await analyze(llm=Away(outcome), narration_seconds=0.05)
    assert ran.result.narrative is not None
    assert ran.result.narrative.source == "template"
    assert ran.analyses.rows[0]["narrative_source"] == "template"
    assert ran.result.meta.status == "partial"
    assert any(says in line for line in ran.result.meta.degraded)
    assert ran.spans("narrate_importance")[0]["fallback_used"] is True


async def test_without_a_configured_language_model_the_template_is_no_failure() -> None:
    ran = await analyze()
    assert ran.result.narrative is not None
    assert (ran.result.narrative.source, ran.result.meta.status) == ("template", "completed")
    assert any("no language model is configured" in line for line in ran.result.meta.warnings)


async def test_an_invented_number_is_asked_for_again_and_then_replaced() -> None:
    twice = await analyze(says=INVENTED)
    assert len(twice.prompts) == 2
    assert "87.5" in twice.prompts[1].last
    assert twice.result.narrative is not None
    assert twice.result.narrative.source == "template"
    assert "87.5" not in repr(twice.result.narrative)
    assert twice.result.meta.status == "partial"


async def test_a_reply_corrected_when_asked_again_is_taken() -> None:
    from src.scripted_servers.replies import Reply

    ran = await analyze(says=[Reply.json(INVENTED), Reply.json(HOLDS)])
    assert ran.result.narrative is not None
    assert (ran.result.narrative.source, ran.result.meta.degraded) == ("llm", ())


def test_the_prompt_holds_aggregates_only(told: Ran) -> None:
    (prompt,) = told.prompts
    frame = parts_of(accounts())
    values = {repr(float(cell)) for part in frame.values() for cell in part["calls"]}
    assert not any(value in prompt.text for value in values)
    assert not {"north", "south", "west", "accounts", "split-1", "exp-1"} & set(prompt.text.replace('"', " ").split())
    assert '"calls"' in prompt.last
    assert prompt.schema is not None
    assert set(prompt.schema["properties"]) == {"summary", "key_insights", "cautions"}


async def test_a_slow_model_explains_fewer_rows_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.mlops.explanation.explainers.MOST_WORK", 20_000)
    ran = await analyze(models=Models(**{URI: bundle("random_forest")}))
    assert ran.result.shap is not None
    assert ran.result.shap.n_rows < N["validation"]
    assert any(f"of {N['validation']} rows are explained" in line for line in ran.result.meta.warnings)
    assert ran.analyses.rows[0]["sample_size"] == ran.result.shap.n_rows


def test_every_node_and_the_model_call_are_spans_of_one_trace(told: Ran) -> None:
    spans = told.sink.spans
    assert find_orphans(spans) == []
    root = next(span for span in spans if span["operation_type"] == "run")
    assert {span["trace_id"] for span in spans} == {root["trace_id"]} == {told.result.meta.trace_id}
    for node in ALL:
        (span,) = told.spans(node)
        assert (span["parent_span_id"], span["agent_name"], span["status"]) == (
            root["span_id"],
            "feature_analyzer",
            "success",
        )
    (call,) = told.spans("llm_call")
    assert call["parent_span_id"] == told.spans("narrate_importance")[0]["span_id"]
    assert (call["model_name"], call["attributes"]["purpose"]) == ("scripted", "narration")
    assert call["input_tokens"] > 0


async def test_a_failed_node_is_a_failed_span_and_has_no_successor() -> None:
    ran = await analyze(models=Models(**{URI: UNAVAILABLE}))
    (span,) = ran.spans("compute_shap")
    assert (span["status"], span["error_type"]) == ("error", "ServiceOutage")
    assert ran.spans("detect_interactions") == ran.spans("narrate_importance") == []
    assert find_orphans(ran.sink.spans) == []


async def test_the_version_of_the_prompt_is_on_the_span(told: Ran) -> None:
    other = await analyze(request(model_uri=None), says=HOLDS, prompts=Worded("Say it in one sentence.", 3))
    spans = [ran.spans("narrate_importance")[0] for ran in (told, other)]
    assert [span["prompt_versions"] for span in spans] == [{"feature_analyzer": 1}, {"feature_analyzer": 3}]
    assert len({span["attributes"]["prompt_sha256"] for span in spans}) == 2
    assert other.prompts[0].system.startswith("Say it in one sentence.")


async def test_a_narrative_by_template_has_no_version_of_a_prompt() -> None:
    (span,) = (await analyze(request(model_uri=None))).spans("narrate_importance")
    assert span["prompt_versions"] is None


async def test_a_run_over_its_budget_is_warned_of() -> None:
    ran = await analyze(request(model_uri=None), sla_seconds=1e-9)
    assert any("its budget is 1e-09 s" in line for line in ran.result.meta.warnings)


def test_the_agent_is_of_tier_0_and_has_two_minutes() -> None:
    agent = FeatureAnalyzerAgent(Services(Rows(accounts()), Models(), Analyses()))
    assert (agent.tier, agent.agent_name, agent.agent_type, agent.sla_seconds) == (0, "feature_analyzer", "hybrid", 120)


async def test_the_same_request_gives_the_same_answer(told: Ran) -> None:
    again = (await analyze(request(training_run_id=TRAINING), says=HOLDS)).result
    assert dataclasses.replace(again, meta=told.result.meta) == told.result


def test_every_key_a_node_may_write_is_a_channel_of_the_graph() -> None:
    declared = set(AnalyzeState.__annotations__)
    assert set(AnalyzeUpdate.__annotations__) == declared
    channels = {name for name in build_graph().channels if not name.startswith(("__", "branch:"))}
    assert channels == declared


@pytest.mark.parametrize(("part", "nodes"), [("all", ALL), ("engineering", ALL[:2]), ("explanation", ALL[2:])])
def test_the_graph_of_a_part_has_its_nodes_only(part: Any, nodes: list[str]) -> None:
    assert [name for name in build_graph(part).get_graph().nodes if not name.startswith("__")] == nodes
