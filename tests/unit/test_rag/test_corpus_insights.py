"""Texts written from tables say what the rows say, in words that the verdicts allow."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from src.contracts.enums import EstimatorName
from src.domain.kpis import load_kpis
from src.domain.vocabulary import load_vocabulary
from src.rag.corpus.chunking import whole_text
from src.rag.corpus.insights.causal_paths import causal_path_documents
from src.rag.corpus.insights.definitions import kpi_definitions, method_definitions
from src.rag.corpus.insights.kpi_summaries import kpi_summaries
from src.rag.corpus.insights.method_texts import ESTIMATORS, TESTS
from src.rag.corpus.insights.wording import Names, change, listed, number
from src.rag.documents import SourceDocument, SourceType
from src.storage.insight_rows import METRIC_COLUMNS, PATH_COLUMNS, _selected

NAMES = Names(load_vocabulary())


def metric(day: date, value: float, **given: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(METRIC_COLUMNS)
    return (
        row | {"metric_date": day, "metric_name": "BU5", "brand": "Kisqali", "region": "south", "value": value} | given
    )


def path(**given: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(PATH_COLUMNS)
    return row | {
        "path_id": "path_00001",
        "discovery_date": date(2024, 12, 31),
        "start_node": "trigger_delivered",
        "end_node": "nrx",
        "intermediate_nodes": ["trigger_accepted"],
        "causal_effect_size": -0.25,
        "effect_raw": 0.0315,
        "effect_se": 0.004,
        "method_used": "aipw",
        "validation_status": "proceed",
        "brand": "Kisqali",
        "confounders_controlled": ["decile", "prior_volume"],
        **given,
    }


def text_of(document: SourceDocument) -> str:
    return whole_text(document)


def test_a_summary_has_each_month_with_target_and_both_changes() -> None:
    rows = [
        metric(date(2023, 2, 1), 80.0),
        metric(date(2024, 1, 1), 100.0, target=110.0),
        metric(date(2024, 2, 1), 90.0, target=90.0),
    ]
    first, second = kpi_summaries(rows)
    assert (first.source_id, second.source_id) == ("BU5/Kisqali/south/2023", "BU5/Kisqali/south/2024")
    assert (second.brand, second.region, second.effective_date) == ("Kisqali", "south", date(2024, 2, 1))
    text = text_of(second)
    assert "In January 2024 the TRx of Kisqali in the south was 100, 9.1 % below the target of 110." in text
    assert (
        "In February 2024 the TRx of Kisqali in the south was 90, the same as the target of 90,"
        " 10.0 % below January 2024 (100), 12.5 % above February 2023 (80)." in text
    )
    assert "reached in 1 of the 2 months" in text
    assert "went from 100 in January 2024 to 90 in February 2024, a fall of 10.0 %" in text


def test_a_change_that_only_the_table_knows_is_told_as_the_table_has_it() -> None:
    row = metric(date(2024, 5, 1), 10.0, month_over_month_change=-0.05, year_over_year_change=0.2)
    (document,) = kpi_summaries([row])
    assert "5.0 % below the month before, 20.0 % above the same month a year before." in text_of(document)


def test_national_values_of_all_brands_have_neither_brand_nor_region() -> None:
    (document,) = kpi_summaries([metric(date(2024, 5, 1), 10.0, brand=None, region=None, metric_name="house_metric")])
    assert (document.source_id, document.brand, document.region) == ("house_metric/all/national/2024", None, None)
    assert "the house_metric of all brands nationally was 10." in text_of(document)


def test_days_are_told_by_date_and_not_compared_with_months() -> None:
    rows = [metric(date(2024, 5, day), 10.0 + day, month_over_month_change=0.1) for day in (1, 2)]
    (document,) = kpi_summaries(rows)
    assert "On 2024-05-02 the TRx of Kisqali in the south was 12." in text_of(document)


def test_a_lower_value_reaches_the_target_of_a_kpi_where_lower_is_better() -> None:
    (document,) = kpi_summaries([metric(date(2024, 5, 1), 3.0, target=5.0, metric_name="TR5")])
    assert "reached in 1 of the 1 months" in text_of(document)


@pytest.mark.parametrize(("status", "says"), [("proceed", "may be read as a causal effect"), ("review", "provisional")])
def test_a_path_carries_the_words_of_its_verdict(status: str, says: str) -> None:
    (document,) = causal_path_documents([path(validation_status=status)], NAMES)
    text = text_of(document)
    assert f"Validation: {status}." in text
    assert says in text
    assert (document.source_type, document.source_id) == (SourceType.CAUSAL_PATH, "path_00001")
    assert "delivered triggers → trigger accepted → new prescriptions (NRx)" in text
    assert "0.0315 for Kisqali nationally with a standard error of 0.004" in text
    assert "Adjusted for: decile and prior volume." in text


@pytest.mark.parametrize("status", ["block", "unvalidated", None])
def test_a_path_that_was_not_validated_is_no_evidence(status: str | None) -> None:
    assert list(causal_path_documents([path(validation_status=status)], NAMES)) == []


def test_every_kpi_estimator_and_test_is_defined() -> None:
    kpis = {document.source_id: text_of(document) for document in kpi_definitions(load_kpis())}
    assert len(kpis) == 46
    assert "target 0.85, warning 0.7, critical 0.5" in kpis["kpi/DQ1"]
    assert "target 1 ± 0.1" in kpis["kpi/MQ6"]
    methods = {document.source_id for document in method_definitions()}
    assert {f"estimator/{name}" for name in EstimatorName} <= methods
    assert set(ESTIMATORS) == set(EstimatorName)
    assert {f"refutation/{name}" for name in TESTS} <= methods


def test_personal_columns_cannot_be_selected() -> None:
    with pytest.raises(KeyError, match="identifies a person"):
        _selected("hcp_profiles", ["hcp_id", "last_name"])


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12.0, "12"), (1234567.0, "1,234,567"), (0.03154, "0.03154"), (-2.5, "-2.5")]
)
def test_numbers_read_as_in_a_report(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [(110.0, 100.0, "10.0 % above"), (5.0, 5.0, "the same as"), (1.0, 0.0, "1 above"), (-3.0, -1.0, "2 below")],
)
def test_a_change_is_relative_where_it_can_be(now: float, before: float, text: str) -> None:
    assert change(now, before) == text


def test_names_are_listed_as_people_do() -> None:
    assert (listed([]), listed(["a"]), listed(["a", "b", "c"])) == ("", "a", "a, b and c")
