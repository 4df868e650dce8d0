"""Are the choices of a plan file read whole, and compared as choices rather than as text?"""

from __future__ import annotations

from pathlib import Path

import pytest

from src.app.questions import EffectQuestion
from src.app.registration.choices import changed_spec, choices_of
from src.app.registration.plan_file import PlanFile, read_plan_file
from src.causal_engine.declaration import spec_of
from src.domain.registration import departures

PLAN = """
data: study.csv
treatment: t
outcome: y
confounders: [a, b]
effect_modifiers: [a]
heterogeneity: true
cost_per_unit: 2
value_per_outcome: 3.5
treated: 1
control: 0
window: {column: month, from: 2026-01-01, to: 2026-06-30}
"""
REORDERED = """
window:   {to: 2026-06-30, from: 2026-01-01,
           column: month}
value_per_outcome: 3.50
control: '0'
treated: "1"
cost_per_unit: 2.0   # dollars
heterogeneity: true
confounders:
  - b
  - a
effect_modifiers: [a]
outcome: y
treatment: t
data: study.csv
"""


def read(folder: Path, text: str) -> PlanFile:
    (folder / "plan.yaml").write_text(text)
    return read_plan_file(folder / "plan.yaml")


def choices(plan: PlanFile) -> dict[str, object]:
    asked = plan.question(plan.treatment, plan.outcome)
    return choices_of(spec_of(asked, {}), asked.filters, None, dataset=None, data=str(asked.data))


def test_order_and_white_space_of_a_file_are_no_departure(tmp_path: Path) -> None:
    one, other = choices(read(tmp_path, PLAN)), choices(read(tmp_path, REORDERED))
    assert departures(one, other) == {}
    assert {
        "heterogeneity": True,
        "cost_per_unit": 2.0,
        "value_per_outcome": 3.5,
        "treated": "1",
    }.items() <= one.items()


def test_a_panel_the_other_way_round_is_a_departure() -> None:
    assert set(departures({"panel": ["unit", "month"]}, {"panel": ["month", "unit"]})) == {"panel"}


def test_the_last_day_of_a_window_is_in_it_to_its_end(tmp_path: Path) -> None:
    assert choices(read(tmp_path, PLAN))["where"] == ["month<2026-07-01", "month>=2026-01-01"]


def test_one_cluster_instead_of_two_takes_the_second_away(tmp_path: Path) -> None:
    plan = read(tmp_path, PLAN + "cluster: a\nsecond_cluster: b\n")
    spec = spec_of(plan.question("t", "y"), {})
    changed = changed_spec(spec, EffectQuestion(cluster="a"), ("cluster",))
    assert (spec.second_cluster_key, changed.cluster_key, changed.second_cluster_key) == ("b", "a", None)


@pytest.mark.parametrize(("name", "value"), [("cost_per_unit", 3.0), ("heterogeneity", False)])
def test_money_and_heterogeneity_of_a_plan_can_be_departed_from(tmp_path: Path, name: str, value: object) -> None:
    plan = read(tmp_path, PLAN)
    changed = changed_spec(spec_of(plan.question("t", "y"), {}), EffectQuestion(**{name: value}), (name,))  # type: ignore[arg-type]
    assert set(departures(choices(plan), {**choices(plan), name: getattr(changed, name)})) == {name}
