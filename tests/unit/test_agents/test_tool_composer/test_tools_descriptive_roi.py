"""roi_estimator: arithmetic that can be checked, no invented price, and places only where they differ."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
from pydantic import ValidationError

from src.agents.tool_composer.state import ToolOutput
from src.agents.tool_composer.tools.registry import tool_named
from src.agents.tool_composer.tools.returns import Amount, returns_of
from src.domain.findings import StatementKind
from src.errors import EstimationError, TooFewRows
from tests.unit.test_agents.test_tool_composer.causal_rows import DECLARED, planted
from tests.unit.test_agents.test_tool_composer.descriptive_rows import figure, row, run, texts

EFFECT = {"effect": 0.2, "effect_lower": 0.1, "effect_upper": 0.3}
PRICES = {"value_per_outcome": 1400.0, "unit_cost": 150.0}


def asked(frame: pd.DataFrame | None = None, **arguments: object) -> ToolOutput:
    rows = planted() if frame is None else frame
    return run("roi_estimator", rows, DECLARED, treatment="visits", outcome="scripts", by=["region"], **arguments)


def ends(output: ToolOutput, name: str) -> tuple[float | None, ...]:
    found = figure(output, name)
    return found.value, found.lower, found.upper


def names(output: ToolOutput) -> set[str]:
    return {one.name for one in output.figures}


def test_returns_are_effect_times_value_less_cost() -> None:
    output = asked(**EFFECT, **PRICES)
    assert ends(output, "break-even cost") == pytest.approx((280, 140, 420))
    assert ends(output, "net return") == pytest.approx((130, -10, 270))
    assert ends(output, "roi") == pytest.approx((130 / 150, -10 / 150, 270 / 150))
    assert ends(output, "return per cost") == pytest.approx((280 / 150, 140 / 150, 420 / 150))
    assert ends(output, "cost per outcome") == pytest.approx((750, 500, 1500))
    assert "includes a loss" in texts(output)


def test_the_return_per_cost_is_rated_by_the_definition_of_the_roi_kpi() -> None:
    assert "below target of KPI BU10" in texts(asked(**EFFECT, **PRICES))
    assert "on target of KPI BU10" in texts(asked(**EFFECT, value_per_outcome=14_000, unit_cost=150))
    assert "past the critical level of KPI BU10" in texts(asked(**EFFECT, value_per_outcome=140, unit_cost=150))


def test_twice_the_value_is_twice_the_break_even_cost() -> None:
    once, twice = (asked(**EFFECT, unit_cost=150, value_per_outcome=value) for value in (1400, 2800))
    assert figure(twice, "break-even cost").value == 2 * figure(once, "break-even cost").value
    assert figure(twice, "net return").value - figure(once, "net return").value == pytest.approx(280)


@pytest.mark.parametrize(
    ("given", "there", "absent"),
    [
        ({}, set(), {"roi", "net return", "break-even cost", "cost per outcome"}),
        ({"unit_cost": 150}, {"cost per outcome"}, {"roi", "net return", "break-even cost"}),
        ({"value_per_outcome": 1400}, {"break-even cost"}, {"roi", "net return", "cost per outcome"}),
    ],
)
def test_without_price_or_cost_nothing_is_put_in_its_place(
    given: dict[str, float], there: set[str], absent: set[str]
) -> None:
    output = asked(**EFFECT, **given)
    assert names(output) >= {"effect"} | there
    assert not names(output) & absent
    assert "nothing is put in its place" in texts(output)
    assert all(one["roi"] is None for one in output.rows)


def test_an_effect_that_may_be_none_has_no_bounded_cost_per_outcome() -> None:
    output = asked(effect=0.05, effect_lower=-0.1, effect_upper=0.2, **PRICES)
    assert "cost per outcome" not in names(output)
    assert "no upper bound" in texts(output)


def test_an_effect_without_interval_has_returns_without_interval() -> None:
    output = asked(effect=0.2, **PRICES)
    assert ends(output, "net return") == (pytest.approx(130), None, None)
    assert "came without an interval" in texts(output)


def test_without_a_given_effect_the_engine_estimates_it_and_that_is_said() -> None:
    low, high = (asked(planted(size)) for size in (0.5, 1.5))
    for output, truth in ((low, 0.5), (high, 1.5)):
        value, lower, upper = ends(output, "effect")
        assert lower <= truth <= upper
        assert value == pytest.approx(truth, abs=0.15)
    assert "estimated here and not put to the test" in texts(low)


def test_the_place_where_a_unit_brings_more_is_found_and_moves_with_the_effect() -> None:
    def best(where: str) -> tuple[str, ToolOutput]:
        sizes: Mapping[str, float] = {**dict.fromkeys(("east", "north", "south", "west"), 0.3), where: 1.5}
        output = asked(planted(sizes), **EFFECT, extra_units=10)
        return next(one.text for one in output.statements if one.kind is StatementKind.OPPORTUNITY), output

    for where in ("west", "north"):
        text, output = best(where)
        assert f"brings most in {where}" in text
        assert "if the effect is cause and effect" in text
        found = row(output, group=where)
        assert figure(output, f"extra outcomes: region {where}").value == pytest.approx(10 * found["effect"])
        assert found["effect"] == pytest.approx(1.5, abs=0.2)


def test_where_regions_do_not_differ_none_is_recommended() -> None:
    output = asked(planted(0.5), **EFFECT, extra_units=10)
    assert not any(one.kind is StatementKind.OPPORTUNITY for one in output.statements)
    assert "no region is shown to be the better place" in texts(output)


def test_diminishing_returns_are_told_only_where_they_are_found() -> None:
    frame = planted(0.0)
    bent = frame.assign(scripts=frame["scripts"] + 2 * frame["visits"] - 0.2 * frame["visits"] ** 2)
    found = asked(bent)
    assert "Returns diminish" in texts(found)
    level = figure(found, "mean level").value
    assert figure(found, "marginal effect at the mean level").value == pytest.approx(2 - 0.4 * level, abs=0.15)
    assert "no diminishing return was found" in texts(asked(planted(0.5)))


def test_extra_units_bring_as_many_times_the_effect() -> None:
    output = asked(**EFFECT, **PRICES, extra_units=10, treatment_per_extra=80)
    assert ends(output, "extra outcomes") == pytest.approx((160, 80, 240))
    assert ends(output, "net return of the extra") == pytest.approx((104_000, -8_000, 216_000))
    assert "if they are people" in texts(asked(**EFFECT, extra_units=10))


def test_an_effect_that_is_not_identified_is_refused() -> None:
    declared = {**DECLARED, "questions": {"visits": {**DECLARED["questions"]["visits"], "graph": {
        "edges": [["mood", "visits"], ["mood", "scripts"], ["visits", "scripts"]], "latent": ["mood"]}}}}  # fmt: skip
    with pytest.raises(EstimationError, match="not identified"):
        run("roi_estimator", planted(), declared, treatment="visits", outcome="scripts")


def test_too_few_prescribers_are_refused_or_left_out() -> None:
    with pytest.raises((EstimationError, TooFewRows)):
        asked(planted(units=3))


@pytest.mark.parametrize(
    "arguments",
    [
        {"effect_lower": 0.1, "effect_upper": 0.3},
        {"effect": 0.2, "effect_lower": 0.1},
        {"effect": 0.5, "effect_lower": 0.1, "effect_upper": 0.3},
        {"unit_cost": 0},
        {"value_per_outcome": -1},
    ],
)
def test_arguments_that_contradict_themselves_are_refused(arguments: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        tool_named("roi_estimator").arguments(treatment="visits", outcome="scripts", **arguments)


def test_a_negative_factor_turns_the_ends_round() -> None:
    assert Amount(2.0, 1.0, 3.0).times(-1) == Amount(-2.0, -3.0, -1.0)
    assert returns_of(Amount(2.0, 1.0, 3.0), None, None).roi is None
