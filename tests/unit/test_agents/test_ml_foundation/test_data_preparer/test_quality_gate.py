"""The gate: what opens it, what keeps it closed, and what a compiled graph behind it does."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph

from src.agents.quality_gate import LAYERS, Gated, LayerStatus, QCGate, after_gate, decide

ALL_PASSED = dict.fromkeys(LAYERS, LayerStatus.PASSED)


def test_passed_layers_and_a_good_score_open_the_gate() -> None:
    gate = decide(ALL_PASSED, 0.80)
    assert (gate.passed, gate.score, gate.blockers, gate.warnings) == (True, 0.80, (), ())
    assert gate.layers == ALL_PASSED


@pytest.mark.parametrize("layer", LAYERS)
def test_one_failed_layer_blocks_whatever_the_others_say(layer: str) -> None:
    gate = decide(ALL_PASSED | {layer: LayerStatus.FAILED}, 1.0)
    assert (gate.passed, gate.blockers) == (False, (f"{layer}: the validation failed",))


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("missing", [{"skip": True}, {"skip": False}])
def test_a_skipped_or_missing_layer_is_not_a_pass(layer: str, missing: dict[str, bool]) -> None:
    layers = ALL_PASSED | {layer: LayerStatus.SKIPPED}
    if not missing["skip"]:
        del layers[layer]
    said = f"{layer}: the validation did not run"
    strict, lenient = decide(layers, 1.0), decide(layers, 1.0, require_all_layers=False)
    assert (strict.passed, strict.blockers, strict.layers[layer]) == (False, (said,), LayerStatus.SKIPPED)
    assert (lenient.passed, lenient.warnings, lenient.layers[layer]) == (True, (said,), LayerStatus.SKIPPED)


@pytest.mark.parametrize(("score", "passed"), [(0.7999, False), (0.80, True), (1.0, True), (0.0, False)])
def test_the_lowest_score_is_the_boundary(score: float, passed: bool) -> None:
    assert decide(ALL_PASSED, score).passed is passed


@pytest.mark.parametrize("lenient", [True, False])
def test_a_score_that_is_no_number_never_opens_the_gate(lenient: bool) -> None:
    gate = decide(ALL_PASSED, float("nan"), require_all_layers=not lenient)
    assert (gate.passed, gate.blockers) == (False, ("quality: the score is no number",))


@pytest.mark.parametrize("lenient", [True, False])
def test_a_failed_layer_of_another_name_blocks_as_well(lenient: bool) -> None:
    gate = decide(ALL_PASSED | {"drift": LayerStatus.FAILED}, 1.0, require_all_layers=not lenient)
    assert (gate.passed, gate.blockers) == (False, ("drift: the validation failed",))
    assert gate.layers["drift"] is LayerStatus.FAILED


def test_no_score_at_all_blocks_unless_layers_may_be_missing() -> None:
    assert decide(ALL_PASSED, None).blockers == ("quality: no score was measured",)
    assert decide(ALL_PASSED, None, require_all_layers=False).warnings == ("quality: no score was measured",)


def test_a_blocker_closes_a_gate_whose_layers_all_passed_and_a_warning_does_not() -> None:
    assert decide(ALL_PASSED, 1.0, blockers=("schema: priority must be one of …",)).passed is False
    assert decide(ALL_PASSED, 1.0, warnings=("ge: 2 of 40 failed",)).passed is True


def test_a_reason_that_is_known_is_told_once_and_not_in_general_words() -> None:
    layers = ALL_PASSED | {"ge": LayerStatus.SKIPPED, "schema": LayerStatus.FAILED, "quality": LayerStatus.FAILED}
    told = ("ge: Great Expectations is not installed", "schema: value must be finite")
    assert decide(layers, 0.5, blockers=told).blockers == (*told, "quality: the score 0.50 is below 0.80")


def test_a_warning_of_a_failed_layer_does_not_stand_for_its_blocker() -> None:
    gate = decide(ALL_PASSED | {"ge": LayerStatus.FAILED}, 1.0, warnings=("ge: 2 of 40 failed",))
    assert (gate.passed, gate.blockers) == (False, ("ge: the validation failed",))


class Training(Gated, total=False):
    trained: bool
    reported: bool


def training_graph() -> Any:
    """A graph that trains behind the gate, as every graph of a model does."""
    graph = StateGraph(Training)
    graph.add_node("train", lambda _: {"trained": True})
    graph.add_node("report", lambda _: {"reported": True})
    graph.add_conditional_edges(START, after_gate, {"proceed": "train", "blocked": "report"})
    graph.add_edge("train", "report")
    graph.add_edge("report", END)
    return graph.compile()


def visited(state: Training) -> list[str]:
    return [node for step in training_graph().stream(state, stream_mode="updates") for node in step]


@pytest.mark.parametrize(
    ("gate", "route"),
    [
        (decide(ALL_PASSED, 1.0), ["train", "report"]),
        (decide(ALL_PASSED, 1.0, warnings=("ge: 1 of 40 failed",)), ["train", "report"]),
        (decide(ALL_PASSED, 1.0, blockers=("schema: broken",)), ["report"]),
        (decide(ALL_PASSED | {"leakage": LayerStatus.SKIPPED}, 1.0), ["report"]),
        (decide({}, None), ["report"]),
        (QCGate(passed=False, score=1.0), ["report"]),
        (QCGate(passed=True, score=1.0, layers=ALL_PASSED), ["train", "report"]),
        (QCGate(passed="false", score=1.0), ["report"]),  # type: ignore[arg-type] # as JSON may have it
        (QCGate(True, 1.0, ("leakage: target",)), ["report"]),
        (QCGate(True, 1.0, layers=ALL_PASSED | {"ge": LayerStatus.FAILED}), ["report"]),
        (QCGate(True, 1.0, layers=ALL_PASSED | {"ge": LayerStatus.SKIPPED}), ["report"]),
    ],
)
def test_a_blocked_gate_stops_the_graph_behind_it_and_a_warning_does_not(gate: QCGate, route: list[str]) -> None:
    assert visited({"gate": gate}) == route


def test_a_graph_without_any_gate_in_its_state_does_not_train() -> None:
    assert visited({}) == ["report"]
