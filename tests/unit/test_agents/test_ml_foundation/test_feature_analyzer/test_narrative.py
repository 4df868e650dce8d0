"""No number and no name of a narrative is made up, whoever wrote it."""

from __future__ import annotations

from typing import Any

import pytest

from src.agents.ml_foundation.feature_analyzer.claims import NarrativeReply, unfounded
from src.agents.ml_foundation.feature_analyzer.facts import facts_of, rounded
from src.agents.ml_foundation.feature_analyzer.result import Interaction, RankedFeature, Removed, ShapSummary
from src.agents.ml_foundation.feature_analyzer.state import AnalyzeState
from src.agents.ml_foundation.feature_analyzer.template import from_template
from tests.unit.test_agents.test_ml_foundation.test_feature_analyzer.parts import request

SHAP = ShapSummary(
    "Tree",
    "log_odds",
    -0.2345,
    (
        RankedFeature("calls_90d", 0.41234, 1),
        RankedFeature("reach", 0.1049, -1),
        RankedFeature("q3", 0.00021, 0),
    ),
    1_250,
    1e-6,
)
REMOVED = Removed(correlation={"copy": 0.98765}, vif={"total": float("inf")})


def state(**changes: Any) -> AnalyzeState:
    found: dict[str, Any] = {
        "request": request(features=("calls_90d", "reach", "q3", "copy", "total")),
        "selected": ("calls_90d", "reach", "q3"),
        "removed": REMOVED,
        "shap": SHAP,
        "interactions": (Interaction("calls_90d", "reach", 0.0876, "shap_interaction"),),
    }
    return {name: value for name, value in (found | changes).items() if value is not None}  # type: ignore[return-value]


def said(line: str) -> tuple[str, ...]:
    return unfounded(NarrativeReply(summary=line, key_insights=[], cautions=[]), facts_of(state()))


@pytest.mark.parametrize(
    "line",
    [
        "Predictions rest on `calls_90d`.",
        "calls_90d moves the log-odds by 0.412 on average.",
        "It moves them by 0.41, or by 0.4 roughly.",
        "Over 1,250 rows the base is -0.234.",
        "Over 1250 rows.",
        "`calls_90d` makes up 79.7 % and about 80% of the whole.",
        "`copy` could be left out for a correlation of 0.988.",
        "The pair `calls_90d` and `reach` has a strength of 8.76e-2.",
        "Three of five features were kept.",
        "`calls_90d` does not cause adoption.",
        "No cause can be read from this; it never drives anything.",
        "q3 matters little.",
    ],
)
def test_what_the_facts_say_holds(line: str) -> None:
    assert said(line) == ()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("It moves them by 0.413.", "0.413"),
        ("It explains 87.5 % of adoption.", "87.5"),
        ("It moves them by 0.", "0"),
        ("It moves them by 2.", "2"),
        ("Over 1,251 rows.", "1,251"),
        ("Over 12,500 rows.", "12,500"),
        ("Seven features matter.", "Seven"),
        ("`reach` matters twice as much.", "twice"),
        ("It is half of the whole.", "half"),
        ("It is 3x as strong.", "3x"),
        ("It fell in Q4.", "Q4"),
        ("`visits` matters most.", "`visits` is no feature"),
        ("`reach` causes adoption.", "claims a cause"),
        ("More reach leads to adoption.", "claims a cause"),
        ("`reach` drives adoption. No cause is shown.", "claims a cause"),
        ("`copy` was left out.", "says that a feature was left out"),
        ("`copy` has been removed.", "says that a feature was left out"),
        (" ", "the summary is empty"),
        ("x" * 1_001, "too long"),
    ],
)
def test_what_the_facts_do_not_say_is_named(line: str, problem: str) -> None:
    found = said(line)
    assert len(found) == 1
    assert problem in found[0]


@pytest.mark.parametrize("field", ["key_insights", "cautions"])
def test_insights_and_cautions_are_checked_like_the_summary(field: str) -> None:
    reply = {"summary": "Fine.", "key_insights": [], "cautions": []}
    facts = facts_of(state())
    problems = [
        unfounded(NarrativeReply.model_validate(reply | {field: lines}), facts)
        for lines in (["It is 99 %."], ["x"] * 7, ["x" * 401])
    ]
    assert problems == [
        ("the number 99 is not in the facts",),
        ("there are more than 6 insights or cautions",),
        ("a text is too long",),
    ]


def test_a_problem_is_named_once_and_quotes_no_more_than_a_number_or_name() -> None:
    found = said("99 and 99 of `" + "x" * 200 + "`")
    assert len(found) == 2
    assert all(len(problem) < 100 for problem in found)


CASES: dict[str, dict[str, Any]] = {
    "everything": {},
    "no interactions": {"interactions": ()},
    "selection only": {"shap": None, "interactions": None},
    "explanation only": {"selected": None, "removed": None},
    "nothing matters": {
        "shap": ShapSummary("Linear", "target", 5031.4, (RankedFeature("reach", 0.0, 0),), 3, 0.0),
        "interactions": (),
    },
    "large units": {
        "shap": ShapSummary("Linear", "target", 5031.4, (RankedFeature("reach", 98765.4, -1),), 3, 0.0),
    },
    "tiny values": {
        "shap": ShapSummary("Kernel", "probability", 0.5, (RankedFeature("reach", 0.0000123, -1),), 3, 0.0),
    },
}


@pytest.mark.parametrize("case", CASES)
def test_the_template_says_nothing_but_the_facts(case: str) -> None:
    facts = facts_of(state(**CASES[case]))
    told = from_template(facts)
    assert told.source == "template"
    reply = NarrativeReply(summary=told.summary, key_insights=list(told.key_insights), cautions=list(told.cautions))
    assert unfounded(reply, facts) == ()


def test_the_template_names_what_matters_most_which_way_and_what_was_left_out() -> None:
    told = from_template(facts_of(state()))
    assert "`calls_90d`, `reach` and `q3`" in told.summary
    assert "0.412" in told.key_insights[0]
    assert told.key_insights[0].endswith("rises with it.")
    assert told.key_insights[1].endswith("falls with it.")
    assert any("act together" in line for line in told.key_insights)
    assert any("log-odds" in line for line in told.cautions)
    assert any("`copy` could be left out: it repeats another feature" in line for line in told.cautions)
    assert any("unlimited" in line for line in told.cautions)


def test_facts_are_rounded_to_three_digits_and_json_has_no_infinity() -> None:
    document = facts_of(state()).document
    assert document["explanation"]["features"][0]["mean_abs"] == 0.412
    assert document["selection"]["removed"][1]["value"] == "unlimited"
    assert rounded(123456.0) == 123000.0


def test_facts_hold_the_most_important_only() -> None:
    many = tuple(RankedFeature(f"f{i}", 1.0 / (i + 1), 1) for i in range(40))
    facts = facts_of(state(shap=ShapSummary("Tree", "log_odds", 0.0, many, 9, 0.0)))
    assert [one["name"] for one in facts.document["explanation"]["features"]] == [f"f{i}" for i in range(10)]
    assert "f39" in facts.names
