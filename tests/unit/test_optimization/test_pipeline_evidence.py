"""Does the record of a hop say what changed and what it cost, and nothing about persons?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from src.domain.improvement import ItemScores, LearningItem
from src.optimization.improver import Spend
from src.optimization.pipeline.evidence import (
    changed_lines,
    data_record,
    difference,
    judge_record,
    spend_of,
    spend_of_scores,
    spend_record,
)


def test_a_diff_shows_the_lines_of_a_prompt_that_change() -> None:
    diff = difference({"text": "keep\nold"}, {"text": "keep\nnew"})
    assert diff.splitlines() == ["--- in use", "+++ candidate", "@@ -1,2 +1,2 @@", " keep", "-old", "+new"]


def test_a_diff_shows_the_settings_that_change() -> None:
    lines = difference({"k": 2, "rerank": True}, {"k": 5, "rerank": True}).splitlines()
    assert {"-k: 2", "+k: 5", " rerank: True"} < set(lines)


def test_a_diff_names_no_patient() -> None:
    diff = difference({"text": "old"}, {"text": "as for patient PT-004711 and NPI 1234567893"})
    assert "004711" not in diff
    assert "1234567893" not in diff


def test_without_a_candidate_there_is_no_diff() -> None:
    assert difference({"text": "old"}, {}) == difference(None, {"text": "new"}) == ""
    assert difference({"text": "old"}, {"sha256": "0" * 64}) == ""


def test_what_stays_is_no_part_of_the_change() -> None:
    assert changed_lines({"text": "keep\nold"}, {"text": "keep\n\nnew"}) == "- old\n+ new"


def item(query: str, *, inputs: dict[str, str] | None = None, number: str = "1") -> LearningItem:
    return LearningItem(number, "t", "explainer", query, "", (), datetime(2026, 1, 1, tzinfo=UTC), inputs=inputs or {})


def test_the_digest_of_data_hangs_on_what_it_says_and_not_on_its_order() -> None:
    one, two = item("a", number="1"), item("b", number="2")
    assert data_record([one, two]) == data_record([two, one])
    assert data_record([one])["n"] == 1
    assert data_record([one]) != data_record([item("other", number="1")])
    assert data_record([one]) != data_record([item("a", number="1", inputs={"findings": "x"})])


class Judged:
    """A replay of which only the judge is looked at."""

    def __init__(self, judge: str, judge_sha256: str | None = None) -> None:
        self.judge = judge
        if judge_sha256 is not None:
            self.judge_sha256 = judge_sha256


def test_another_instruction_is_another_judge() -> None:
    plain, instructed = judge_record(Judged("m")), judge_record(Judged("m", "abc"))  # type: ignore[arg-type]
    assert plain["name"] == instructed["name"] == "m"
    assert plain["sha256"] != instructed["sha256"]


def test_spend_comes_back_as_it_was_recorded() -> None:
    spend = Spend(3, 10, 20, 30, 0.5)
    assert spend_of(spend_record(spend)) == spend


@pytest.mark.parametrize(
    ("scores", "dollars"),
    [
        ([ItemScores("1", 3.0, cost_dollars=0.1, tokens=5), ItemScores("2", 3.0, cost_dollars=0.2, tokens=6)], 0.3),
        ([ItemScores("1", 3.0, tokens=11)], None),
        ([ItemScores("1", 0.5)], 0.0),
    ],
    ids=["priced", "no known price", "no model"],
)
def test_the_spend_of_a_test_is_that_of_its_calls(scores: list[ItemScores], dollars: float | None) -> None:
    spend = spend_of_scores(scores)
    assert spend.calls == len(scores)
    assert spend.task_tokens == sum(one.tokens or 0 for one in scores)
    assert spend.dollars == (None if dollars is None else pytest.approx(dollars))
