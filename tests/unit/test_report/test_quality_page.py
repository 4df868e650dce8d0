"""The page of a validation says whether the data may be used, why not, and what was not exact."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from src.app.quality_page import render_quality_page
from src.app.validated import GREAT_EXPECTATIONS, PANDERA, BrokenRule, Validated, rule_words, score_text
from src.contracts.tables import get_table
from src.mlops.quality.configuration import Thresholds, Weights
from src.mlops.quality.result import Counts, DataQualityResult, FailedExpectation, QualityScores, QualityStatus
from tests.unit.test_report.pages import read_page

pytestmark = pytest.mark.unit

RANGE = BrokenRule(
    "confidence_score_range",
    "confidence_score",
    "confidence_score must be between 0 and 1",
    critical=True,
    layers=(PANDERA, GREAT_EXPECTATIONS),
    count=14,
    rows=tuple(range(2, 16)),
)
USUAL = BrokenRule(
    "stat_lead_time_days_between",
    "lead_time_days",
    "lead_time_days is usually at most 365",
    critical=False,
    layers=(GREAT_EXPECTATIONS,),
    usual=True,
    observed="41 of 300",
)
RESULT = DataQualityResult(
    id="6f0c",
    suite_name="triggers_suite",
    table_name="triggers",
    run_at=datetime(2026, 11, 3, 9, tzinfo=UTC),
    overall_status=QualityStatus.FAILED,
    expectations=Counts(60, 58, 2),
    success_rate=58 / 60,
    failed_expectations=(),
    scores=QualityScores(1.0, 0.953, 0.7, None, 1.0, None),
    validation_ms=12.0,
    rows_validated=300,
    data_split="train",
)


def validated(**changes: object) -> Validated:
    layers = {PANDERA: "failed", GREAT_EXPECTATIONS: "failed"}
    made = Validated("sales.csv", "line", RESULT, layers, (USUAL, RANGE), Weights(), Thresholds())
    return replace(made, **changes)  # type: ignore[arg-type]


def passing(status: QualityStatus = QualityStatus.PASSED) -> Validated:
    result = replace(RESULT, overall_status=status, expectations=Counts(60, 60, 0), success_rate=1.0)
    return validated(result=result, layers={PANDERA: "passed", GREAT_EXPECTATIONS: str(status)}, broken=())


def text(page: Validated) -> str:
    return read_page(render_quality_page(page)).text


@pytest.mark.parametrize(
    "words",
    [
        "Data quality of triggers", "Failed", "2 rules are broken in 300 rows", "Nothing may be built on this data",
        "confidence_score must be between 0 and 1", "2, 3, 4, 5, 6 and 9 more", "first rows (line)", "critical",
        "Pandera, Great Expectations", "lead_time_days is usually at most 365; observed: 41 of 300", "warns only",
        "whole table", "sales.csv", "58 of 60 (96.7 %)", "Split", "2026-11-03 09:00:00 UTC", "report 6f0c", "0.9530",
        "Every count and score on this page is exact.", "has nothing in this table to be measured by",
    ],
)  # fmt: skip
def test_a_failed_validation_says(words: str) -> None:
    assert words in text(validated())


def test_the_score_stands_beside_the_gate_it_must_reach() -> None:
    # (.25 × 1 + .25 × .953 + .20 × .7 + .15 × 1) / .85, timeliness not measured
    assert "Quality score 0.916; the gate before training needs 0.80." in text(validated())
    assert "needs 0.95." in text(validated(thresholds=Thresholds(gate_score=0.95)))
    nothing = replace(RESULT, scores=QualityScores(*[None] * 6))
    assert "No quality score was measured" in text(validated(result=nothing))


def test_critical_rules_come_first_and_are_stressed() -> None:
    html = render_quality_page(validated())
    rows = re.findall(r"<tr( class=\"emphasis\")?><td>([^<]*)", html)
    named = [(bool(stressed), words) for stressed, words in rows if "must" in words or "usually" in words]
    assert [(stressed, words.split()[0]) for stressed, words in named] == [
        (True, "confidence_score"),
        (False, "lead_time_days"),
    ]


@pytest.mark.parametrize(
    ("status", "tone", "verdict", "meaning"),
    [
        (QualityStatus.PASSED, "supported", "Passed", "may be used."),
        (QualityStatus.WARNING, "caution", "Passed with warnings", "read the rules below first"),
        (QualityStatus.SKIPPED, "stop", "Not checked", "is not a pass"),
    ],
)
def test_the_box_has_the_verdict_of_the_gate(status: QualityStatus, tone: str, verdict: str, meaning: str) -> None:
    html = render_quality_page(passing(status))
    assert f'class="answer {tone}"' in html
    assert f'<p class="verdict">{verdict}</p>' in html
    assert meaning in read_page(html).text


@pytest.mark.parametrize("layer", ["failed", "error", "not run", "skipped"])
def test_a_layer_that_failed_or_did_not_run_is_never_shown_as_a_pass(layer: str) -> None:
    page = replace(passing(), layers={PANDERA: layer, GREAT_EXPECTATIONS: "passed"})
    assert 'class="answer stop"' in render_quality_page(page)
    assert not page.opens_gate
    assert page.document()["blocking"] is True


def test_leakage_is_told_at_the_head() -> None:
    page = passing()
    leaking = replace(page, result=replace(page.result, leakage_detected=True))
    assert "Leakage was detected." in text(leaking)
    assert 'class="answer stop"' in render_quality_page(leaking)


def test_what_is_approximate_and_what_could_not_be_evaluated_is_named() -> None:
    result = replace(RESULT, approximate=("triggers.stat_stdev",))
    page = validated(result=result, broken=(replace(RANGE, approximate=True, error="TypeError: no number"),))
    shown = text(page)
    assert "triggers.stat_stdev" in shown
    assert "about 14" in shown
    assert "could not be evaluated: TypeError: no number" in shown
    assert "is exact" not in shown


def test_the_picture_has_words_for_those_who_cannot_see_it() -> None:
    page = read_page(render_quality_page(validated()))
    (words,) = [attrs["aria-label"] for _, attrs in page.elements if attrs.get("role") == "img"]
    assert "validity 0.953" in str(words)
    assert "timeliness not measured" in str(words)
    assert "the gate at 0.80" in str(words)
    assert page.count("svg") == 1
    assert "not measured" in page.text


EVIL = "<script>alert('x')</script>\" onload=\"alert(1)"


def test_the_page_is_self_contained_and_names_from_the_data_are_never_markup() -> None:
    page = validated(source=EVIL, notes=(EVIL,), broken=(replace(RANGE, words=EVIL, rows=(EVIL,), error=EVIL),))
    html = render_quality_page(page)
    read = read_page(html)
    assert EVIL in read.text
    assert {read.count(tag) for tag in ("script", "link", "iframe", "img", "object")} == {0}
    assert not [name for _, attrs in read.elements for name in attrs if name.startswith("on")]
    assert not re.search(r"(?:https?:)?//[a-z]", html)
    assert not re.search(r"url\((?!#)", html)


def test_the_same_validation_gives_the_same_bytes() -> None:
    assert render_quality_page(validated()) == render_quality_page(validated())


@pytest.mark.parametrize(
    ("id", "type", "kwargs", "words"),
    [
        ("triggers.row_count", "expect_table_row_count_to_be_between", {}, "there must be at least one row"),
        ("triggers.confidence_score_range", "expect_column_values_to_be_between", {}, "must be between 0 and 1"),
        (
            "triggers.stat_lead_time_days_between",
            "expect_column_values_to_be_between",
            {"max_value": 365, "mostly": 0.99},
            "is usually at most 365 in at least 99% of the rows",
        ),
        (
            "triggers.stat_x",
            "expect_column_values_to_not_be_null",
            {"mostly": 0.5},
            "is usually filled in at least 50%",
        ),
        (
            "triggers.stat_x",
            "expect_column_mean_to_be_between",
            {"min_value": 1},
            "the mean of c is usually at least 1",
        ),
        (
            "triggers.stat_x",
            "expect_column_stdev_to_be_between",
            {"min_value": 0, "max_value": 2},
            "the standard deviation of c is usually between 0 and 2",
        ),
    ],
)
def test_an_expectation_is_told_in_words(id: str, type: str, kwargs: dict[str, object], words: str) -> None:
    failed = FailedExpectation(id, type, dict(kwargs), ("c",), "", critical=False)
    assert words in rule_words(get_table("triggers"), failed)


@pytest.mark.parametrize(
    ("score", "text"), [(1.0, "1.000"), (0.999997, ">0.999"), (0.9994, "0.999"), (0.5, "0.500"), (0.0, "0.000")]
)
def test_only_a_perfect_score_is_written_as_one(score: float, text: str) -> None:
    assert score_text(score) == text
