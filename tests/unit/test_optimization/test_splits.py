"""Is nothing that a candidate was made from in its test, now and when more questions come?"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.agents.feedback_learner.evaluation.rubric_configuration import load_self_improvement
from src.domain.improvement import LearningItem
from src.optimization.configuration import GateSettings
from src.optimization.gates.splits import normalised, split_items

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def settings() -> GateSettings:
    return load_self_improvement().gate


def item(number: int, query: str) -> LearningItem:
    return LearningItem(str(number), str(number), "explainer", query, "answer", (), NOW)


@pytest.mark.parametrize(
    "query",
    [
        "why did TRx fall?",
        "WHY did TRx fall",
        "Why  did\nTRx fall ?!",
        "Why did TRx fa\u0301ll",
        "\u201cWhy did TRx fall\u201d",
    ],
)
def test_questions_that_differ_in_writing_only_are_the_same(query: str) -> None:
    assert normalised(query) == normalised("Why did TRx fall?")


def test_questions_without_words_stay_apart() -> None:
    assert normalised("???") != normalised("!!!")


def test_every_item_is_in_one_share_in_its_order(settings: GateSettings) -> None:
    items = [item(number, f"Question {number % 400}?") for number in range(1000)]
    split = split_items(items, settings)
    assert sorted([*split.train, *split.validation, *split.test], key=lambda one: int(one.interaction_id)) == items
    assert list(split.test) == sorted(split.test, key=lambda one: int(one.interaction_id))
    shares = [len({one.query for one in those}) / 400 for those in (split.train, split.validation, split.test)]
    assert shares == pytest.approx([0.4, 0.2, 0.4], abs=0.08)


def test_the_shares_are_those_of_the_configuration(settings: GateSettings) -> None:
    items = [item(number, f"Question {number}?") for number in range(400)]
    narrow = split_items(items, settings.model_copy(update={"train_share": 0.1, "validation_share": 0.1}))
    assert len(narrow.test) > 280


@given(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_no_item_changes_its_share_when_others_come_and_repeats_stay_together(queries: list[str], new: str) -> None:
    settings = load_self_improvement().gate
    items = [item(number, query) for number, query in enumerate(queries)]
    repeats = [item(100 + number, f" {query.upper().lower()}  ") for number, query in enumerate(queries)]
    before = split_items(items, settings)
    after = split_items([item(99, new), *items, *repeats], settings)
    grown = (after.train, after.validation, after.test)
    for old, new_ones in zip((before.train, before.validation, before.test), grown, strict=True):
        assert {one.interaction_id for one in old} <= {one.interaction_id for one in new_ones}
    sides = [{normalised(one.query) for one in those} for those in grown]
    assert sum(map(len, sides)) == len(set().union(*sides))
