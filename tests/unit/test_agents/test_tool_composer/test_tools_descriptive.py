"""What holds for every tool that describes, compares or predicts."""

from __future__ import annotations

import dataclasses
import functools
import json

import numpy as np
import pandas as pd
import pytest

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.registry import tool_named
from src.domain.findings import StatementKind
from src.errors import ContractViolation, DataUnavailable
from tests.unit.test_agents.test_tool_composer.descriptive_rows import (
    EVIDENCE,
    generated,
    generated_declaration,
    inputs_of,
    unfounded,
)

PRICES = {"treatment": "rep_calls", "outcome": "nrx", "unit_cost": 150, "value_per_outcome": 1400, "extra_units": 10}
CALLS = {
    "psi of periods": ("psi_calculator", {}),
    "psi of segments": ("psi_calculator", {"segment": "region", "current": "west"}),
    "compared periods": ("distribution_comparator", {}),
    "compared segments": ("distribution_comparator", {"segment": "brand", "current": "Kisqali"}),
    "kpi gaps": ("gap_calculator", {}),
    "kpi gaps by brand and region": ("gap_calculator", {"level": "brand_region"}),
    "targeting gaps": ("gap_calculator", {"about": "hcp_targeting", "fewer_than": 6}),
    "roi": ("roi_estimator", PRICES),
    "roi of a given effect": ("roi_estimator", {**PRICES, "effect": 0.2, "effect_lower": -0.1, "effect_upper": 0.5}),
    "risk": ("risk_scorer", {}),
    "propensity": ("propensity_estimator", {}),
}
# 150 prescribers: fifteen months of two periods, or three months.
USED = {"psi of periods": 2250, "compared periods": 2250, "targeting gaps": 450}
every_call = pytest.mark.parametrize("call", CALLS)


def rows_for(call: str) -> pd.DataFrame:
    frame = generated().panel
    assert frame is not None
    return generated().tables["business_metrics"] if call.startswith("kpi") else frame


def answer(call: str, frame: pd.DataFrame) -> ToolOutput:
    name, arguments = CALLS[call]
    tool = tool_named(name)
    return tool.compute(inputs_of(frame, generated_declaration()), tool.arguments(**arguments))


@functools.cache
def usual(call: str) -> ToolOutput:
    return answer(call, rows_for(call))


def numbers(output: ToolOutput) -> dict[str, np.ndarray]:
    return {one.name: np.array([one.value, one.lower, one.upper], dtype=float) for one in output.figures}


@every_call
def test_every_number_of_a_sentence_is_a_figure(call: str) -> None:
    output = usual(call)
    assert unfounded(output) == []
    assert output.summary
    assert output.figures


@every_call
def test_the_order_of_the_rows_does_not_matter(call: str) -> None:
    frame = rows_for(call)
    straight, mixed = numbers(usual(call)), numbers(answer(call, frame.sample(frac=1, random_state=1)))
    assert straight.keys() == mixed.keys()
    for name in straight:
        assert mixed[name] == pytest.approx(straight[name], rel=1e-6, abs=1e-9, nan_ok=True), name


@every_call
def test_the_same_rows_give_the_same_answer(call: str) -> None:
    assert answer(call, rows_for(call)) == usual(call)


@every_call
def test_without_rows_there_is_no_answer(call: str) -> None:
    with pytest.raises(DataUnavailable):
        answer(call, rows_for(call).head(0))


@every_call
def test_no_single_prescriber_is_in_the_answer(call: str) -> None:
    output = usual(call)
    assert "hcp_0" not in json.dumps(dataclasses.asdict(output), default=str)
    assert all(one.get("n") is None or one["n"] >= 11 for one in output.rows)


@every_call
def test_every_sentence_names_its_evidence_and_every_figure_is_finite(call: str) -> None:
    output = usual(call)
    assert {one.evidence for one in output.figures} == {EVIDENCE}
    assert {one.evidence for one in output.statements} == {(EVIDENCE,)}
    assert all(np.isfinite(one.value) for one in output.figures)
    assert all(one.lower is None or one.lower <= one.value <= one.upper for one in output.figures)
    assert any(one.kind is StatementKind.CAVEAT for one in output.statements)
    assert output.n_rows == USED.get(call, len(rows_for(call)))


@every_call
def test_the_frame_is_left_as_it_was(call: str) -> None:
    frame = rows_for(call).copy()
    answer(call, frame)
    pd.testing.assert_frame_equal(frame, rows_for(call))


@pytest.mark.parametrize(
    ("tool", "arguments", "nearest"),
    [
        ("psi_calculator", {"columns": ["rep_call"]}, "rep_calls"),
        ("psi_calculator", {"segment": "regoin", "current": "west"}, "region"),
        ("psi_calculator", {"segment": "region", "current": "wets"}, "west"),
        ("distribution_comparator", {"columns": ["nrxx"]}, "nrx"),
        ("gap_calculator", {"about": "hcp_targeting", "activity": "rep_call"}, "rep_calls"),
        ("gap_calculator", {"about": "hcp_targeting", "by": ["specialt"]}, "specialty"),
        ("roi_estimator", {"treatment": "rep_call", "outcome": "nrx"}, "rep_calls"),
        ("risk_scorer", {"outcome": "nrxx"}, "nrx"),
        ("risk_scorer", {"outcome": "nrx", "by": ["regions"]}, "region"),
        ("propensity_estimator", {"features": ["email_open"]}, "email_opens"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(tool: str, arguments: dict[str, object], nearest: str) -> None:
    chosen = tool_named(tool)
    with pytest.raises(ContractViolation, match=f"'{nearest}'"):
        chosen.compute(inputs_of(rows_for("panel")), chosen.arguments(**arguments))


def test_an_outcome_of_text_is_refused() -> None:
    chosen = tool_named("risk_scorer")
    with pytest.raises(ContractViolation, match="numeric outcome 'region'"):
        chosen.compute(inputs_of(rows_for("panel")), chosen.arguments(outcome="region"))


@pytest.mark.parametrize("name", sorted({tool for tool, _ in CALLS.values()}))
def test_every_argument_is_described_for_a_planner(name: str) -> None:
    tool = tool_named(name)
    assert tool.description
    for field, schema in tool.arguments.model_json_schema()["properties"].items():
        assert schema.get("description"), field
    with pytest.raises(ValueError, match="extra"):
        tool.arguments(**CALLS["roi"][1], surprise=1) if name == "roi_estimator" else tool.arguments(surprise=1)


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("gap_calculator", {}, "metrics"),
        ("gap_calculator", {"about": "hcp_targeting"}, "panel"),
        ("psi_calculator", {}, "panel"),
        ("psi_calculator", {"source": "predictions"}, "predictions"),
        ("distribution_comparator", {"source": "predictions"}, "predictions"),
        ("risk_scorer", {}, "panel"),
    ],
)
def test_a_call_says_which_rows_it_reads(tool: str, arguments: dict[str, object], kind: str) -> None:
    chosen = tool_named(tool)
    assert chosen.frame_for(chosen.arguments(**arguments)) == kind
