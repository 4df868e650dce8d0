"""The compiled causal_impact graph: its route, its result and its spans on data with known effects."""

from __future__ import annotations

import importlib
from typing import Any, get_type_hints

import pandas as pd
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.runtime import Runtime

from src.agents.causal_impact.agent import CausalImpactAgent, checkpoint_serializer
from src.agents.causal_impact.graph import build_graph
from src.agents.causal_impact.nodes.analyze_sensitivity import analyze_sensitivity
from src.agents.causal_impact.nodes.build_graph import build_graph as build_causal_graph
from src.agents.causal_impact.nodes.estimate_effect import estimate_effect
from src.agents.causal_impact.nodes.handle_error import handle_error
from src.agents.causal_impact.nodes.interpret_results import interpret_results
from src.agents.causal_impact.nodes.refute_estimate import refute_estimate
from src.agents.causal_impact.state import CausalImpactState, DeclaredGraph, ImpactRequest
from src.agents.runtime import Deps
from src.causal_engine.results import Verdict
from src.causal_engine.serialise import to_json
from src.errors import ContractViolation
from src.mlops.tracing.orphans import find_orphans
from src.mlops.tracing.records import MemorySink

from .fakes import FrameDatasets, confounded, deps_for, request

FULL_ROUTE = ["audit_init", "graph_builder", "estimation", "refutation", "sensitivity", "interpretation", "run"]


async def answer(frame: pd.DataFrame, asked: ImpactRequest) -> tuple[Any, MemorySink]:
    deps, sink = deps_for(FrameDatasets(study=frame))
    result = await CausalImpactAgent().run(asked, deps)
    await deps.tracer.flush()
    return result, sink


async def test_an_adjusted_effect_goes_the_whole_way_and_covers_the_truth() -> None:
    result, sink = await answer(confounded(0.5), request(confounders=("severity",)))
    assert [span["operation_type"] for span in sink.spans] == FULL_ROUTE
    assert result.meta.status == "completed"
    assert result.analysis.primary.ci.covers(0.5)
    assert result.analysis.conclusion.verdict is Verdict.SUPPORTED


async def test_every_node_is_a_span_under_the_run() -> None:
    _, sink = await answer(confounded(0.5), request(confounders=("severity",)))
    root = sink.spans[-1]
    assert root["parent_span_id"] is None
    assert {span["parent_span_id"] for span in sink.spans[:-1]} == {root["span_id"]}
    assert find_orphans(sink.spans) == []


async def test_an_effect_that_the_graph_does_not_identify_is_refused_without_a_number() -> None:
    graph = DeclaredGraph((("treatment", "outcome"), ("u", "treatment"), ("u", "outcome")), latent=("u",))
    asked = ImpactRequest("?", "study", request().spec, graph=graph)
    result, sink = await answer(confounded(0.5), asked)
    route = [span["operation_type"] for span in sink.spans]
    assert route == ["audit_init", "graph_builder", "estimation", "error_handler", "run"]
    assert result.analysis.conclusion.verdict is Verdict.NOT_IDENTIFIED
    assert result.analysis.primary is None


async def test_a_measured_common_cause_left_out_is_never_supported() -> None:
    result, _ = await answer(confounded(0.5).assign(noise=1.0), request(confounders=("noise",)))
    assert result.analysis.conclusion.verdict is Verdict.ASSOCIATION_ONLY
    assert [finding.column for finding in result.analysis.confounding] == ["severity"]


async def test_no_effect_is_reported_as_none() -> None:
    result, _ = await answer(confounded(0.0, n=4000), request(confounders=("severity",)))
    assert result.analysis.conclusion.verdict is Verdict.NO_DETECTABLE_EFFECT


async def test_an_unknown_dataset_fails_with_the_node_that_met_it() -> None:
    deps, _ = deps_for(FrameDatasets())
    result = await CausalImpactAgent().run(request(confounders=("severity",)), deps)
    assert (result.meta.status, result.analysis) == ("failed", None)
    assert (result.error.type, result.error.node) == ("DatasetNotFound", "graph_builder")


async def test_an_unexpected_exception_leaves_unchanged_and_the_run_resumes_to_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frame, asked = confounded(0.5), request(confounders=("severity",))
    unbroken, _ = await answer(frame, asked)
    saver = InMemorySaver(serde=checkpoint_serializer())
    deps, _ = deps_for(FrameDatasets(study=frame))
    refute_module = importlib.import_module("src.agents.causal_impact.nodes.refute_estimate")

    def power_cut(*_: Any, **__: Any) -> None:
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(refute_module, "refute", power_cut)
        with pytest.raises(OSError, match="power cut"):
            await CausalImpactAgent(saver).run(asked, deps)
    fresh, sink = deps_for(FrameDatasets(study=frame), run_id=deps.run_id)
    resumed = await CausalImpactAgent(saver).run(asked, fresh)
    await fresh.tracer.flush()
    assert [span["operation_type"] for span in sink.spans] == FULL_ROUTE[3:]
    assert to_json(resumed.analysis) == to_json(unbroken.analysis)


async def test_the_same_question_gives_the_same_numbers_bit_for_bit() -> None:
    asked = request(confounders=("severity",))
    first, _ = await answer(confounded(0.3), asked)
    second, _ = await answer(confounded(0.3), asked)
    assert to_json(first.analysis) == to_json(second.analysis)


async def test_a_request_in_json_is_the_same_request_and_an_unknown_key_is_refused() -> None:
    asked = request(confounders=("severity",))
    typed, _ = await answer(confounded(0.5), asked)
    from_json, _ = await answer(confounded(0.5), to_json(asked))
    assert to_json(typed.analysis) == to_json(from_json.analysis)
    with pytest.raises(ContractViolation, match="unknown key 'tretment'"):
        await answer(confounded(0.5), {**to_json(asked), "tretment": "x"})


async def test_state_declares_every_key_that_a_node_writes() -> None:
    deps, _ = deps_for(FrameDatasets(study=confounded(0.5)))
    state: dict[str, Any] = {"request": request(confounders=("severity",))}
    for node in (
        build_causal_graph,
        estimate_effect,
        handle_error,
        refute_estimate,
        analyze_sensitivity,
        interpret_results,
    ):
        state |= await node(state, Runtime(context=deps))
    assert set(state) | {"error"} == set(get_type_hints(CausalImpactState))


def test_nodes_have_the_names_the_route_uses() -> None:
    compiled = build_graph()
    assert {name for name in compiled.nodes if not name.startswith("__")} == {*FULL_ROUTE[:-1], "error_handler"}


async def test_a_node_over_its_budget_stops_the_run_as_a_timeout() -> None:
    deps, sink = deps_for(FrameDatasets(study=confounded(0.5)))
    hurried = Deps(deps.datasets, deps.tracer, deps.run_id, deps.trace_id, node_timeouts={"estimation": 1e-4})
    with pytest.raises(TimeoutError):
        await CausalImpactAgent().run(request(confounders=("severity",)), hurried)
    await hurried.tracer.flush()
    assert {span["operation_type"]: span["status"] for span in sink.spans}["estimation"] == "timeout"
