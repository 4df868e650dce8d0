"""What holds for every tool that answers a causal question."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from pydantic import ValidationError

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.registry import tool_named
from src.domain.figures import unfounded_numbers
from src.domain.findings import StatementKind
from src.errors import ContractViolation, DataUnavailable, EstimationError, UnknownColumn
from tests.unit.test_agents.test_tool_composer.causal_rows import EVIDENCE, QUERY, figure, planted, run, texts

ARGUMENTS = {
    "causal_effect_estimator": {"treatment": "visits", "outcome": "scripts"},
    "refutation_runner": {"treatment": "visits", "outcome": "scripts"},
    "sensitivity_analyzer": {"treatment": "visits", "outcome": "scripts"},
    "cate_analyzer": {"treatment": "visits", "outcome": "scripts", "by": ("region",)},
    "segment_ranker": {"treatment": "visits", "measure": "scripts", "by": "region"},
    "counterfactual_simulator": {"treatment": "visits", "outcome": "scripts", "change": 1},
    "power_calculator": {"outcome": "scripts", "relative_effect": 0.05, "unit": "territory_id"},
}
every_tool = pytest.mark.parametrize("tool", ARGUMENTS)
NOT_SCALED = (
    "p_value", "robustness", "e_value", "score", "test", "data_subset", "bootstrap", "rank", "relative", "held_back",
    "treatment_change", "units_", "lowest", "highest", "change_asked", "n_rows", "rows_needed", "alpha", "observations",
    "icc", "design_effect", "correlation", "length", "weeks", "power",
)  # fmt: skip


def outcome_of(tool: str) -> str:
    return "measure" if tool == "segment_ranker" else "outcome"


def numbers(output: ToolOutput) -> dict[str, np.ndarray]:
    return {one.name: np.array([one.value, one.lower, one.upper], dtype=float) for one in output.figures}


@every_tool
def test_the_order_of_the_rows_does_not_matter(tool: str) -> None:
    frame = planted()
    mixed = frame.sample(frac=1, random_state=3)
    straight, shuffled = (numbers(run(tool, rows, **ARGUMENTS[tool])) for rows in (frame, mixed))
    assert straight.keys() == shuffled.keys()
    for name in straight:
        assert shuffled[name] == pytest.approx(straight[name], rel=1e-6, abs=1e-6, nan_ok=True), name


@every_tool
def test_an_outcome_in_thousandths_gives_figures_a_thousand_times_as_large(tool: str) -> None:
    frame = planted()
    scaled = frame.assign(scripts=1000 * frame["scripts"])
    before, after = (numbers(run(tool, rows, **ARGUMENTS[tool])) for rows in (frame, scaled))
    assert before.keys() == after.keys()
    for name in before:
        factor = 1 if any(part in name for part in NOT_SCALED) and "placebo" not in name else 1000
        assert after[name] == pytest.approx(factor * before[name], rel=1e-4, abs=1e-6, nan_ok=True), name


@every_tool
def test_without_rows_there_is_no_answer(tool: str) -> None:
    with pytest.raises(DataUnavailable, match="no rows"):
        run(tool, planted().iloc[:0], **ARGUMENTS[tool])


@every_tool
def test_an_unknown_column_is_refused_with_the_nearest(tool: str) -> None:
    with pytest.raises(UnknownColumn, match="did you mean 'scripts'"):
        run(tool, planted(), **{**ARGUMENTS[tool], outcome_of(tool): "scrpits"})


@every_tool
def test_a_missing_key_column_is_named(tool: str) -> None:
    frame = planted().drop(columns=["prescriber_id", "territory_id"])
    with pytest.raises(ContractViolation, match="prescriber_id|territory_id"):
        run(tool, frame, **ARGUMENTS[tool])


@every_tool
def test_an_argument_of_another_name_is_refused(tool: str) -> None:
    with pytest.raises(ValidationError, match="brand"):
        tool_named(tool).arguments(**ARGUMENTS[tool], brand="Kisqali")


@every_tool
def test_figures_and_sentences_name_their_evidence_and_the_query_goes_along(tool: str) -> None:
    output = run(tool, planted(), **ARGUMENTS[tool])
    assert output.figures
    assert {one.evidence for one in output.figures} == {EVIDENCE}
    assert {one.evidence for one in output.statements} == {(EVIDENCE,)}
    assert output.query == QUERY
    assert output.n_rows == len(planted())


@every_tool
def test_no_single_unit_is_named(tool: str) -> None:
    output = run(tool, planted(), **ARGUMENTS[tool])
    assert "person_" not in json.dumps(dataclasses.asdict(output), default=str)


@every_tool
@pytest.mark.parametrize("effect", [0.5, 0.0])
def test_every_number_of_the_summary_is_a_figure(tool: str, effect: float) -> None:
    output = run(tool, planted(effect), **ARGUMENTS[tool])
    known = [part for one in output.figures for part in (one.value, one.lower, one.upper) if part is not None]
    assert unfounded_numbers(output.summary, known) == ()


@every_tool
def test_nothing_is_called_proven_and_no_row_is_left_without_numbers(tool: str) -> None:
    output = run(tool, planted(), **ARGUMENTS[tool])
    assert "proves" not in texts(output)
    for one in output.figures:
        assert np.isfinite(one.value)
        assert (one.lower is None) == (one.upper is None)
        assert one.lower is None or one.lower <= one.value <= (one.upper or np.inf)


@every_tool
def test_the_arguments_are_documented_with_examples(tool: str) -> None:
    found = tool_named(tool)
    assert len(found.description) > 60
    assert found.frame == "panel"
    for name, field in found.arguments.model_fields.items():
        assert field.description or any(getattr(one, "description", None) for one in field.metadata), name


@pytest.mark.parametrize("tool", [name for name in ARGUMENTS if "treatment" in ARGUMENTS[name]])
def test_whose_row_it_is_can_be_no_treatment(tool: str) -> None:
    with pytest.raises(ContractViolation, match="measured column"):
        run(tool, planted(), **{**ARGUMENTS[tool], "treatment": "month"})


@pytest.mark.parametrize("tool", ["refutation_runner", "sensitivity_analyzer", "counterfactual_simulator"])
def test_what_is_not_identified_is_refused_with_the_open_path(tool: str) -> None:
    declared = {
        "unit_key": "prescriber_id",
        "time_key": "month",
        "questions": {
            "visits": {
                "treatment": "visits",
                "outcome": "scripts",
                "graph": {"edges": [["demand", "visits"], ["demand", "scripts"], ["visits", "scripts"]],
                          "latent": ["demand"]},
            }
        },
    }  # fmt: skip
    with pytest.raises(EstimationError, match="not identified.*demand"):
        run(tool, planted(), declared, **ARGUMENTS[tool])


def test_the_effect_is_the_same_in_every_tool_that_states_it() -> None:
    frame = planted()
    stating = [tool for tool in ARGUMENTS if tool != "power_calculator"]
    effects = [figure(run(tool, frame, **ARGUMENTS[tool]), "effect") for tool in stating]
    assert len({(one.value, one.lower, one.upper, one.unit) for one in effects}) == 1


def test_only_what_is_supported_comes_with_a_plan() -> None:
    for effect, planned in ((0.5, True), (0.0, False)):
        output = run("causal_effect_estimator", planted(effect), treatment="visits", outcome="scripts")
        advice = [one.text for one in output.statements if one.kind is StatementKind.RECOMMENDATION]
        assert any(text.startswith("Plan visits") for text in advice) is planned
