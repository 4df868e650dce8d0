"""Is a plan locked by its hash, and is every departure from it named?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from src.domain.registration import (
    PlanChanged,
    RegisteredPlan,
    departures,
    mark,
    named_deviations,
    plan_from,
    statement,
    with_design,
)
from src.errors import ContractViolation

PLAN = RegisteredPlan(
    plan_id="0199c2a0-0000-7000-8000-000000000001",
    title="calls and scripts",
    question={"dataset": "panel", "estimator": "aipw", "where": ["region=north"], "cutoff": 0.0},
    spec={"treatment": "calls", "outcome": "nrx"},
    graph=None,
    design="panel",
    data_sha256=None,
    code_version="1",
    seen_runs=(),
    registered_by="ann",
    registered_at=datetime(2026, 3, 1, 9, 30, tzinfo=UTC),
)


def test_a_stored_plan_is_the_same_again() -> None:
    assert plan_from(PLAN.document, PLAN.sha256) == PLAN


@pytest.mark.parametrize(
    "changed",
    [
        replace(PLAN, spec={"treatment": "calls", "outcome": "trx"}),
        replace(PLAN, question={**PLAN.question, "estimator": "ols"}),
        replace(PLAN, registered_at=datetime(2026, 2, 1, 9, 30, tzinfo=UTC)),
        replace(PLAN, seen_runs=("run",)),
        replace(PLAN, registered_by="bob"),
    ],
)
def test_any_change_of_a_plan_changes_its_hash(changed: RegisteredPlan) -> None:
    assert changed.sha256 != PLAN.sha256
    with pytest.raises(PlanChanged, match="was changed after it was registered"):
        plan_from(changed.document, PLAN.sha256)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, {}),
        ({"where": ("region=north",)}, {}),
        ({"estimator": "ols"}, {"estimator": ("aipw", "ols")}),
        ({"estimator": None}, {"estimator": ("aipw", "nothing")}),
        ({"where": []}, {"where": ("region=north", "nothing")}),
        ({"trim": False}, {}),
        ({"trim": True}, {"trim": ("nothing", "yes")}),
        ({"cutoff": None}, {"cutoff": ("0.0", "nothing")}),
    ],
)
def test_departures_are_the_choices_that_differ(asked: dict[str, object], found: dict[str, object]) -> None:
    assert departures(PLAN.question, {**PLAN.question, **asked}) == found


def test_a_departure_that_nobody_named_is_refused_with_what_to_do() -> None:
    with pytest.raises(ContractViolation, match="--deviation estimator=REASON"):
        named_deviations({"estimator": ("aipw", "ols")}, {}, plan_id=PLAN.plan_id)


def test_a_deviation_from_nothing_is_refused() -> None:
    with pytest.raises(ContractViolation, match="nothing departs from the plan in 'lag'"):
        named_deviations({}, {"lag": "why not"}, plan_id=PLAN.plan_id)


def test_an_unchanged_run_says_as_registered_with_time_and_hash() -> None:
    (line,) = statement(mark(PLAN, (), ()), "panel")
    assert line == f"As registered on 2026-03-01 09:30:00 UTC by ann (hash {PLAN.sha256[:12]})."


def test_deviations_are_told_with_their_reasons() -> None:
    named = named_deviations({"estimator": ("aipw", "ols")}, {"estimator": "asked by a reviewer"}, plan_id="p")
    (line,) = statement(mark(PLAN, named, ()), "panel")
    assert line.startswith("Deviations from the registered plan: estimator: aipw → ols (asked by a reviewer).")


def test_another_design_than_the_registered_one_is_a_deviation_nobody_named() -> None:
    assert with_design(mark(PLAN, (), ()), "panel") == ()
    (found,) = with_design(mark(PLAN, (), ()), "observational")
    assert (found.what, found.registered, found.asked) == ("design", "panel", "observational")
    assert "Deviations" in statement(mark(PLAN, (), ()), "observational")[0]


def test_a_plan_made_after_the_data_were_seen_says_so_for_ever() -> None:
    late = replace(PLAN, seen_runs=("a", "b"))
    assert not late.before_data
    assert any("not before the data were seen: 2 analyses" in line for line in statement(mark(late, (), ())))
