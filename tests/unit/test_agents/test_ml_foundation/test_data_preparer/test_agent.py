"""data_preparer: what opens its gate, what closes it, and what it leaves behind; services stand in for themselves."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import pandas as pd
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from src.agents.configuration import load_agents_config
from src.agents.ml_foundation.data_preparer.agent import DataPreparerAgent, PrepareResult
from src.agents.ml_foundation.data_preparer.graph import STEPS, build_graph
from src.agents.ml_foundation.data_preparer.services import PLACE
from src.agents.ml_foundation.data_preparer.state import FeastSummary, PrepareState, gravest
from src.agents.quality_gate import LAYERS, Gated, LayerStatus, after_gate
from src.errors import ContractViolation, DatabaseUnavailable
from src.feature_store.results import FreshnessStatus
from src.mlops.pandera_schemas import SchemaValidation
from src.mlops.preparation.transforms import FittedTransforms, fit_transforms
from src.mlops.quality.result import DataQualityResult, QualityScores, QualityStatus
from src.mlops.tracing.orphans import find_orphans

from .parts import (
    FEATURES,
    Expectations,
    Features,
    Reports,
    World,
    alerts,
    broken,
    found,
    request,
    world,
)

ROUTE = [name for name, _ in STEPS] + ["run"]
PASSED = dict.fromkeys(LAYERS, LayerStatus.PASSED)


def with_bad_confidence(frame: pd.DataFrame, rows: int = 3) -> pd.DataFrame:
    """The frame with values out of range: its schema fails, everything else can be computed."""
    return frame.assign(confidence_score=frame["confidence_score"].where(frame.index >= rows, 7.5))


async def test_clean_data_passes_the_whole_graph_and_is_ready() -> None:
    around = world()
    result = await around.run()
    assert (result.gate.passed, result.gate.blockers, result.gate.warnings) == (True, (), ())
    assert result.gate.layers == PASSED
    assert result.gate.score == pytest.approx(1.0)
    assert (result.is_ready, result.error) == (True, None)
    assert (result.meta.status, result.meta.warnings, result.meta.degraded) == ("completed", (), ())
    assert result.feast.registered == ("trigger_effectiveness",)
    assert [age.feature_view for age in result.feast.freshness] == ["trigger_effectiveness"]
    assert around.route() == ROUTE


async def test_a_schema_failure_blocks_although_all_later_layers_pass() -> None:
    around = world(with_bad_confidence(alerts()))
    result = await around.run()
    assert (result.gate.passed, result.is_ready) == (False, False)
    assert result.gate.blockers == ("schema: confidence_score must be between 0 and 1 (3 rows)",)
    assert result.gate.layers == PASSED | {"schema": LayerStatus.FAILED}
    assert around.expectations.asked == ["triggers"]
    assert result.meta.status == "completed"
    assert around.route() == ROUTE


async def test_blockers_of_all_layers_are_kept_in_their_order() -> None:
    frame = with_bad_confidence(alerts()).assign(outcome_value=lambda rows: rows["false_positive_flag"] * 2.0)
    low = QualityScores(0.2, 0.2, 0.2, 0.2, 0.2, 0.2)
    around = world(
        frame,
        expectations=Expectations(found(QualityStatus.FAILED, broken("priority_allowed", critical=True))),
        score=lambda *_: low,
    )
    result = await around.run(required_features=(*FEATURES, "outcome_value"))
    assert [blocker.split(":")[0] for blocker in result.gate.blockers] == ["schema", "quality", "ge", "leakage"]
    assert result.gate.layers == dict.fromkeys(LAYERS, LayerStatus.FAILED)
    assert result.gate.score == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("known", "told", "together"),
    [
        (LayerStatus.FAILED, LayerStatus.PASSED, LayerStatus.FAILED),
        (LayerStatus.SKIPPED, LayerStatus.PASSED, LayerStatus.SKIPPED),
        (LayerStatus.PASSED, LayerStatus.FAILED, LayerStatus.FAILED),
        (LayerStatus.FAILED, LayerStatus.SKIPPED, LayerStatus.FAILED),
    ],
)
def test_a_layer_that_failed_cannot_pass_afterwards(
    known: LayerStatus, told: LayerStatus, together: LayerStatus
) -> None:
    assert gravest({"schema": known}, {"schema": told, "ge": told}) == {"schema": together, "ge": told}


@pytest.mark.parametrize(
    ("result", "passed", "blockers", "warnings"),
    [
        (found(), True, (), ()),
        (found(QualityStatus.WARNING, broken("mean")), True, (), ("ge: triggers.mean (3 rows)",)),
        (found(QualityStatus.FAILED, broken("a")), False, ("ge: triggers.a (3 rows)",), ()),
        (
            found(QualityStatus.FAILED, broken("a", critical=True), broken("b")),
            False,
            ("ge: triggers.a (3 rows)",),
            ("ge: triggers.b (3 rows)",),
        ),
        (found(QualityStatus.PASSED, broken("a", critical=True)), False, ("ge: triggers.a (3 rows)",), ()),
        (
            found(QualityStatus.FAILED, broken("a", error="no such column")),
            False,
            ("ge: triggers.a could not be checked: no such column",),
            (),
        ),
        (
            found(QualityStatus.SKIPPED, reason="Great Expectations is not installed"),
            False,
            ("ge: Great Expectations is not installed",),
            (),
        ),
    ],
)
async def test_expectations_block_by_failing_and_by_not_running_but_not_by_warning(
    result: Any, passed: bool, blockers: tuple[str, ...], warnings: tuple[str, ...]
) -> None:
    gate = (await world(expectations=Expectations(result)).run()).gate
    assert (gate.passed, gate.blockers, gate.warnings) == (passed, blockers, warnings)


@pytest.mark.parametrize("status", ["skipped", "error"])
async def test_a_schema_that_was_not_checked_is_no_pass_and_leaves_no_score(status: Any) -> None:
    unchecked = SchemaValidation(status, (), 0, 0, "triggers", "pandera cannot be imported")
    result = await world(schema=lambda *_: unchecked).run()
    assert result.gate.passed is False
    assert result.gate.score is None
    assert result.gate.blockers[0] == "schema: pandera cannot be imported"
    assert result.gate.layers["quality"] is LayerStatus.SKIPPED
    lenient = await world(schema=lambda *_: unchecked, require_all_layers=False).run()
    assert lenient.gate.passed is (status == "skipped")


async def test_a_low_score_blocks_and_says_by_how_much() -> None:
    low = QualityScores(0.9, 0.7, 0.7, 0.8, 0.7, None)
    result = await world(score=lambda *_: low).run()
    assert result.gate.blockers == ("quality: the score 0.77 is below 0.80",)
    assert result.gate.score == pytest.approx(0.9 * 0.25 + 0.7 * 0.25 + 0.7 * 0.2 + 0.8 * 0.15 + 0.7 * 0.15)


async def test_a_leak_blocks_and_marks_the_stored_report() -> None:
    around = world(alerts().assign(lead_time_days=lambda rows: rows["false_positive_flag"].astype(int) * 9 + 1))
    result = await around.run()
    assert result.gate.layers == PASSED | {"leakage": LayerStatus.FAILED}
    assert result.gate.blockers[0].startswith("leakage: ")
    assert "lead_time_days" in result.gate.blockers[0]
    assert [report.leakage_detected for report in around.reports.kept.values()] == [True]
    assert any(row["leakage_detected"] for row in around.store.audits)


async def test_a_skipped_leakage_check_is_not_a_pass() -> None:
    blocked = await world().run(skip_leakage_check=True)
    assert blocked.gate.blockers == ("leakage: the check was skipped on request",)
    allowed = await world(require_all_layers=False).run(skip_leakage_check=True)
    assert (allowed.gate.passed, allowed.gate.warnings) == (True, blocked.gate.blockers)
    assert allowed.gate.layers["leakage"] is LayerStatus.SKIPPED


async def test_a_leakage_check_that_could_not_be_made_is_not_a_pass() -> None:
    rare = alerts().assign(false_positive_flag=lambda rows: rows.index < 3)
    gate = (await world(rare).run()).gate
    assert gate.layers["leakage"] is LayerStatus.SKIPPED
    assert gate.blockers[0].startswith("leakage: the check for target leakage could not be made")


async def test_rows_that_cannot_even_be_read_still_get_a_whole_report() -> None:
    frame = alerts()
    frame["trigger_timestamp"] = frame["trigger_timestamp"].astype(object).where(frame.index >= 2, "yesterday")
    around = world(frame)
    result = await around.run()
    assert result.gate.layers == PASSED | {
        "schema": LayerStatus.FAILED,
        "quality": result.gate.layers["quality"],
        "leakage": LayerStatus.SKIPPED,
    }
    assert (result.error, result.splits) == (None, None)
    assert around.route() == ROUTE


async def test_blocked_data_leaves_a_report_but_no_transforms_and_no_registration() -> None:
    features = Features()
    around = world(with_bad_confidence(alerts()), features=features)
    result = await around.run()
    assert (around.store.transforms, features.applied, result.feast.registered) == ({}, 0, ())
    assert len(around.reports.kept) == 1
    assert result.target_rate


async def test_transforms_are_those_of_the_training_rows_alone() -> None:
    around = world()
    result = await around.run()
    ((split_id, rows),) = around.store.transforms.items()
    assert result.splits is not None
    assert split_id == result.splits.split_config_id
    frame = around.datasets.frames["table:triggers"].reset_index(drop=True)
    split = around.store.splits(frame, result.splits)
    train = fit_transforms(frame[split == "train"], split[split == "train"], FEATURES)
    assert rows == train.parameters()
    assert rows != fit_transforms(frame, split.map(lambda _: "train"), FEATURES).parameters()


async def test_transforms_learnt_from_other_rows_fail_the_layer_of_leakage_and_are_not_kept() -> None:
    def on_all_rows(frame: pd.DataFrame, split: pd.Series[Any], features: Any, table: Any) -> FittedTransforms:
        return fit_transforms(frame, split.map(lambda _: "train"), features, table)

    around = world(fit=on_all_rows)
    result = await around.run()
    assert (result.gate.passed, result.is_ready) == (False, False)
    assert result.gate.layers == PASSED | {"leakage": LayerStatus.FAILED}
    assert [line.split(";")[0] for line in result.gate.blockers] == [
        "leakage: the transformations were fitted on all rows"
    ]
    assert (around.store.transforms, around.store.assigned) == ({}, {})
    assert [row["check_type"] for row in around.store.audits if row["leakage_detected"]] == ["preprocessing"]
    assert [report.leakage_detected for report in around.reports.kept.values()] == [True]


async def test_all_five_ways_of_leaking_are_on_record_for_clean_data() -> None:
    around = world()
    result = await around.run()
    assert [row["details"]["check"] for row in around.store.audits] == [
        "target",
        "temporal",
        "group",
        "duplicate",
        "preprocessing",
    ]
    assert {row["split_config_id"] for row in around.store.audits} == {result.splits and result.splits.split_config_id}


@pytest.mark.parametrize("late", [False, True])
async def test_values_known_only_after_their_row_block(late: bool) -> None:
    frame = alerts()
    scored = frame["trigger_timestamp"] + pd.to_timedelta(frame.index.isin([3, 4]) * 5 * late, unit="D")
    around = world(frame.assign(delivery_timestamp=scored))
    result = await around.run(known_at={"confidence_score": "delivery_timestamp"})
    assert result.gate.passed is not late
    assert (await around.run()).gate.passed
    if late:
        assert result.gate.blockers[0].startswith(
            "leakage: 'confidence_score' was known (by 'delivery_timestamp') only after 'trigger_timestamp' in 2 rows"
        )


@pytest.mark.parametrize("others", [FEATURES[:1], ()])
async def test_a_feature_without_values_in_training_rows_is_not_ready_instead_of_an_error(
    others: tuple[str, ...],
) -> None:
    frame = alerts()
    late = frame["trigger_timestamp"] >= frame["trigger_timestamp"].quantile(0.9)
    around = world(frame.assign(lead_time_days=frame["lead_time_days"].where(late)))
    result = await around.run(required_features=(*others, "lead_time_days"))
    assert (result.error, result.is_ready) == (None, False)
    assert result.meta.warnings[-1] == "the required feature 'lead_time_days' is empty in every training row"
    learnt = [row["feature_name"] for rows in around.store.transforms.values() for row in rows]
    assert learnt == list(others)


def rate_of(result: PrepareResult, split: str) -> float:
    rate = result.target_rate[split].rate
    assert rate is not None
    return rate


def mean_of(result: PrepareResult, split: str, feature: str) -> float:
    mean = {found.name: found.mean for found in result.feature_stats[split]}[feature]
    assert mean is not None
    return mean


async def test_statistics_are_given_by_split() -> None:
    around = world()
    result = await around.run()
    assert result.splits is not None
    frame = around.datasets.frames["table:triggers"].reset_index(drop=True)
    split = around.store.splits(frame, result.splits)
    for name in ("train", "validation", "test", "holdout"):
        rows = frame[split == name]
        assert rate_of(result, name) == pytest.approx(rows["false_positive_flag"].mean())
        assert mean_of(result, name, "confidence_score") == pytest.approx(rows["confidence_score"].mean())


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"data_source": "trigers"}, "DataUnavailable", "did you mean 'triggers'"),
        ({"data_source": "patient_journeys"}, "DatasetNotFound", "no dataset 'table:patient_journeys'"),
        ({"suite": "patient_journeys"}, "DatasetNotFound", "no dataset 'triggers'"),
        ({"data_source": "table:triggers", "suite": "patient_journeys"}, "ContractViolation", "its own contract"),
        ({"known_at": {"priority": "ranked_at"}}, "UnknownColumn", "time at which 'priority' was known: 'ranked_at'"),
        ({"target": "false_positive"}, "UnknownColumn", "target 'false_positive' is not in the data"),
        ({"required_features": ("patient_id",)}, "ContractViolation", "identifies somebody"),
        ({"region": "west"}, "UnknownColumn", "column 'region'"),
    ],
)
async def test_data_that_cannot_be_loaded_goes_straight_to_a_closed_gate(
    changes: dict[str, Any], error: str, says: str
) -> None:
    around = world()
    result = await around.run(**changes)
    assert result.error is not None
    assert (result.error.type, result.error.node) == (error, "load_data")
    assert says in result.error.message
    assert (result.meta.status, result.gate.passed, result.is_ready) == ("failed", False, False)
    assert result.gate.blockers[0] == f"load_data: {result.error.message}"
    assert result.gate.layers == dict.fromkeys(LAYERS, LayerStatus.SKIPPED)
    assert (around.expectations.asked, around.reports.kept) == ([], {})
    assert around.route() == ["load_data", "finalize_output", "run"]


@pytest.mark.parametrize("frame", [alerts().iloc[:0], alerts().set_axis(["trigger_id"] * 9, axis=1)])
async def test_frames_without_rows_or_with_a_name_twice_are_refused(frame: pd.DataFrame) -> None:
    result = await world(frame).run()
    assert (result.gate.passed, result.meta.status) == (False, "failed")


@pytest.mark.parametrize("missing", [{"lead_time_days": None}, {}])
async def test_a_missing_or_empty_feature_keeps_clean_data_from_being_ready(missing: dict[str, None]) -> None:
    frame = alerts().drop(columns="lead_time_days").assign(**missing)
    result = await world(frame).run()
    assert (result.gate.passed, result.is_ready) == (True, False)
    assert result.meta.warnings == ("the required feature 'lead_time_days' is missing or empty",)


@pytest.mark.parametrize(
    ("status", "ready"),
    [
        (FreshnessStatus.FRESH, True),
        (FreshnessStatus.WARNING, True),
        (FreshnessStatus.STALE, False),
        (FreshnessStatus.EXPIRED, False),
        (FreshnessStatus.UNKNOWN, False),
    ],
)
async def test_readiness_depends_on_the_freshness_of_the_views_that_serve_the_features(
    status: FreshnessStatus, ready: bool
) -> None:
    result = await world(features=Features(status)).run()
    assert (result.gate.passed, result.is_ready) == (True, ready)
    assert len(result.meta.warnings) == (0 if ready else 1)


async def test_blocked_data_on_a_new_installation_is_a_shut_gate_and_no_failed_run() -> None:
    features = Features(needs_apply=True)
    result = await world(with_bad_confidence(alerts()), features=features).run()
    assert (result.error, result.meta.status, result.gate.passed) == (None, "completed", False)
    assert result.meta.warnings == ("feature view trigger_effectiveness: its freshness is not known",)
    assert result.target_rate


async def test_only_the_views_that_serve_the_features_are_asked_for_their_age() -> None:
    features = Features()
    await world(features=features).run()
    assert features.asked == ["trigger_effectiveness"]


async def test_a_view_that_is_not_registered_is_not_ready() -> None:
    result = await world(features=Features(views=("hcp_profile",))).run()
    assert (result.gate.passed, result.is_ready) == (True, False)
    assert result.meta.warnings == ("feature view trigger_effectiveness: its freshness is not known",)


@pytest.mark.parametrize("features", [None, Features(absent="feast is not installed")])
async def test_without_a_feature_store_data_is_not_ready_and_the_result_says_why(features: Features | None) -> None:
    result = await world(features=features).run()
    assert (result.gate.passed, result.is_ready, result.meta.status) == (True, False, "partial")
    reason = "feast is not installed" if features else "there is no feature store"
    assert result.meta.degraded == (f"feature store: {reason}",)
    assert result.feast == FeastSummary()


async def test_freshness_does_not_matter_for_features_that_no_view_serves() -> None:
    features = Features(FreshnessStatus.EXPIRED)
    result = await world(features=features).run(required_features=("priority", "trigger_type"))
    assert (result.is_ready, result.feast, features.applied) == (True, FeastSummary(), 0)


async def test_a_verdict_whose_report_cannot_be_stored_is_none() -> None:
    result = await world(reports=Reports(DatabaseUnavailable("the database cannot be reached"))).run()
    assert result.error is not None
    assert (result.error.type, result.error.node) == ("DatabaseUnavailable", "finalize_output")
    assert (result.gate.passed, result.is_ready, result.meta.status) == (False, False, "failed")
    assert result.gate.blockers == ("finalize_output: the database cannot be reached",)


async def test_the_first_error_is_the_one_that_is_told() -> None:
    around = world(reports=Reports(DatabaseUnavailable("the database cannot be reached")))
    result = await around.run(split_id="chronological-none")
    assert result.error is not None
    assert result.error.node == "detect_leakage"


async def test_a_programming_error_leaves_unchanged() -> None:
    def wrong(*_: Any) -> Any:
        raise KeyError("oops")

    with pytest.raises(KeyError, match="oops"):
        await world(score=wrong).run()


async def test_a_wrong_request_is_refused_before_anything_is_read() -> None:
    around = world()
    with pytest.raises(ContractViolation, match="unknown key 'data_sorce'"):
        await around.run({"data_sorce": "triggers"})
    assert around.datasets.filters == []
    assert around.route() == ["run"]


async def test_no_value_of_a_personal_column_is_told() -> None:
    frame = alerts()
    frame["patient_id"] = frame["patient_id"].where(frame.index != 4, None)
    frame["trigger_id"] = frame["trigger_id"].where(frame.index != 5, frame["trigger_id"][6])
    around = world(frame)
    result = await around.run()
    told = repr(result) + repr(around.sink.spans)
    assert not result.gate.passed
    assert "pat_0" not in told
    assert "trg_0" not in told


async def test_every_node_is_a_span_under_the_run() -> None:
    around = world()
    await around.run()
    assert around.route() == ROUTE
    root = around.sink.spans[-1]
    assert root["parent_span_id"] is None
    assert {span["parent_span_id"] for span in around.sink.spans[:-1]} == {root["span_id"]}
    assert {span["trace_id"] for span in around.sink.spans} == {root["trace_id"]}
    assert {span["agent_name"] for span in around.sink.spans} == {"data_preparer"}
    assert find_orphans(around.sink.spans) == []
    assert (root["attributes"]["experiment_id"], root["attributes"]["gate_passed"]) == ("exp-1", True)


async def test_state_declares_every_key_that_a_node_writes() -> None:
    around = world()
    context = dataclasses.replace(around.deps, workspace={PLACE: around.services})
    state: dict[str, Any] = {"request": request()}
    for _, node in STEPS:
        state |= await node(state, Runtime(context=context))
    assert set(state) | {"error", "not_ready", "degraded", "blockers"} == set(get_type_hints(PrepareState))
    assert not any(isinstance(value, pd.DataFrame | pd.Series) for value in state.values())


def test_nodes_have_the_names_of_their_budgets() -> None:
    nodes = {name for name in build_graph().nodes if not name.startswith("__")}
    budget = load_agents_config().agents[PLACE]
    assert nodes == {name for name, _ in STEPS} == set(budget.node_timeouts)
    agent = DataPreparerAgent(world().services)
    assert agent.sla_seconds == budget.timeout_seconds == 60
    assert (agent.agent_name, agent.tier, agent.agent_type) == ("data_preparer", 0, "standard")


async def test_a_node_over_its_budget_stops_the_run_as_a_timeout() -> None:
    around = world()
    around.deps = dataclasses.replace(around.deps, node_timeouts={"detect_leakage": 1e-6})
    with pytest.raises(TimeoutError):
        await around.run()
    statuses = {span["operation_type"]: span["status"] for span in around.sink.spans}
    assert (statuses["run_ge_validation"], statuses["detect_leakage"], statuses["run"]) == (
        "success",
        "timeout",
        "timeout",
    )


async def test_a_run_over_its_budget_says_so() -> None:
    around = world()
    result = await DataPreparerAgent(around.services, sla_seconds=1e-9).run(request(), around.deps)
    await around.deps.tracer.flush()
    assert any("its budget is 1e-09 s" in warning for warning in result.meta.warnings)


class Training(Gated, total=False):
    trained: bool


def training_graph(around: World) -> Any:
    """prepare → gate → train."""

    async def prepare(_: Training) -> Training:
        return {"gate": (await around.run()).gate}

    graph = StateGraph(Training)
    graph.add_node("prepare", prepare)
    graph.add_node("train", lambda _: {"trained": True})
    graph.add_edge(START, "prepare")
    graph.add_conditional_edges("prepare", after_gate, {"proceed": "train", "blocked": END})
    graph.add_edge("train", END)
    return graph.compile()


@pytest.mark.parametrize(
    ("frame", "result", "route"),
    [
        (alerts(), found(), ["prepare", "train"]),
        (alerts(), found(QualityStatus.WARNING, broken("mean")), ["prepare", "train"]),
        (with_bad_confidence(alerts()), found(), ["prepare"]),
        (alerts(), found(QualityStatus.SKIPPED), ["prepare"]),
        (alerts().iloc[:0], found(), ["prepare"]),
    ],
    ids=["clean", "warning", "schema failed", "layer skipped", "no rows"],
)
async def test_a_graph_behind_the_gate_trains_only_on_data_that_passed(
    frame: pd.DataFrame, result: DataQualityResult, route: list[str]
) -> None:
    around = world(frame, expectations=Expectations(result))
    visited = [node async for step in training_graph(around).astream({}, stream_mode="updates") for node in step]
    assert visited == route


def test_a_result_names_every_part_of_the_contract() -> None:
    assert set(get_type_hints(PrepareResult)) == {
        "gate",
        "is_ready",
        "splits",
        "feature_stats",
        "target_rate",
        "feast",
        "meta",
        "error",
    }
