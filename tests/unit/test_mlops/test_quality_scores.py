"""Are the six quality scores what a count by hand gives?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from src.contracts.checking import check_frame
from src.contracts.rules import Scope
from src.contracts.tables import TABLES
from src.mlops.data_quality import DataQualityValidator, quality_scores
from src.mlops.quality.reading import read, reading_of
from tests.unit.test_contracts.corruptions import corrupted_rows, corruptions
from tests.unit.test_contracts.frames import clean_frame

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def validator() -> DataQualityValidator:
    return DataQualityValidator(clock=lambda: NOW)


async def test_each_dimension_falls_by_what_breaks_it(validator: DataQualityValidator) -> None:
    frame = clean_frame("business_metrics", 10).drop(columns="created_at")
    frame.loc[0, "value"] = None  # completeness: 1 of 50 required cells; its achievement rate can no longer be told
    frame.loc[1, "brand"] = "Aspirin"  # validity: 1 of 159 filled cells
    frame.loc[2, "confidence_interval_lower"] = 99.0  # consistency: 1 of 10 rows
    frame.loc[3, "metric_date"] = NOW.replace(tzinfo=None) + timedelta(days=31)  # timeliness: in the future
    frame.loc[4, "metric_id"] = frame.loc[5, "metric_id"]  # uniqueness: the later of the two
    frame.loc[[6, 7], "achievement_rate"] = 0.1  # accuracy
    scores = (await validator.validate(frame, "business_metrics")).scores
    assert scores.completeness == pytest.approx(49 / 50)
    assert scores.validity == pytest.approx(158 / 159)
    assert scores.consistency == pytest.approx(9 / 10)
    assert scores.timeliness == pytest.approx(9 / 10)
    assert scores.uniqueness == pytest.approx(9 / 10)
    assert scores.accuracy == pytest.approx(8 / 10)


async def test_a_missing_required_column_is_incomplete_and_untimely(validator: DataQualityValidator) -> None:
    frame = clean_frame("business_metrics", 4).drop(columns="metric_date")
    scores = (await validator.validate(frame, "business_metrics")).scores
    assert (scores.completeness, scores.timeliness) == (0.8, 0.0)


async def test_what_cannot_be_measured_has_no_score(validator: DataQualityValidator) -> None:
    empty = (await validator.validate(clean_frame("triggers").iloc[:0], "triggers")).scores
    assert {empty.completeness, empty.validity, empty.consistency, empty.timeliness, empty.uniqueness} == {None}
    required = [column.name for column in TABLES["triggers"].columns if column.required]
    narrow = (await validator.validate(clean_frame("triggers")[required], "triggers")).scores
    assert (narrow.consistency, narrow.accuracy) == (None, None)
    assert narrow.completeness == 1.0


@pytest.mark.parametrize("name", list(TABLES))
def test_broken_rows_are_those_that_the_schema_names(name: str) -> None:
    table = TABLES[name]
    chosen = [corruption for corruption in corruptions(table) if corruption.rule.scope is not Scope.DATABASE]
    rows, _ = corrupted_rows(table, chosen)
    frame = pd.DataFrame(rows, columns=list(table.column_names)).astype(object)
    for part in (frame, clean_frame(name), frame.drop(columns=table.columns[3].name), frame.iloc[:0]):
        broken = {rule: found.tolist() for rule, found in read(table, part).broken.items()}
        named = {rule: found.tolist() for rule, found in reading_of(check_frame(table, part)).broken.items()}
        assert broken == {rule: one for rule, one in named.items() if not rule.endswith(("_not_null", "_present"))}


async def test_a_check_made_before_gives_the_same_result(validator: DataQualityValidator) -> None:
    frame = clean_frame("business_metrics", 40).astype({"value": object})
    frame.loc[3, ["brand", "value", "achievement_rate"]] = ["Aspirin", "much", 9.0]
    check = check_frame(TABLES["business_metrics"], frame)
    first = await validator.validate(frame, "business_metrics")
    second = await validator.validate(frame, "business_metrics", check=check)
    assert (first.failed_expectations, first.scores) == (second.failed_expectations, second.scores)
    with pytest.raises(ValueError, match="of 40 rows, the frame has 39"):
        await validator.validate(frame.iloc[1:], "business_metrics", check=check)


async def test_scores_need_no_great_expectations(validator: DataQualityValidator) -> None:
    frame = clean_frame("triggers", 40).assign(priority="urgent")
    table = TABLES["triggers"]
    alone = quality_scores(table, check_frame(table, frame), NOW)
    assert alone == (await validator.validate(frame, "triggers")).scores
    assert alone.validity is not None
    assert alone.validity < 1
