"""Requests: what is accepted, what is refused in one line, and which rows they mean."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from src.agents.ml_foundation.data_preparer.request import request_from
from src.agents.ml_foundation.data_preparer.source import filters_of, source_of, time_column
from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.runtime import Filter
from src.contracts.tables import TABLES, get_table
from src.domain.period import Period
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.storage.gateway import Op

FULL: dict[str, Any] = {
    "experiment_id": "exp-1",
    "data_source": "triggers",
    "scope": {
        "target": "false_positive_flag",
        "required_features": ["confidence_score", "lead_time_days", "confidence_score"],
        "brand": "Kisqali",
        "period": {"start": "2024-01-01", "end": "2024-06-30"},
        "known_at": {"lead_time_days": "delivery_timestamp"},
    },
    "skip_leakage_check": True,
}


def changed(**changes: Any) -> dict[str, Any]:
    """FULL with keys replaced, ``scope__x`` within the scope; ``...`` leaves a key out."""
    raw = FULL | {"scope": dict(FULL["scope"])}
    for key, value in changes.items():
        place, name = (raw["scope"], key.removeprefix("scope__")) if key.startswith("scope__") else (raw, key)
        place[name] = value
        if value is ...:
            del place[name]
    return raw


def test_a_request_in_json_is_the_typed_request_with_each_feature_once() -> None:
    scope = PrepareScope(
        "false_positive_flag",
        ("confidence_score", "lead_time_days"),
        brand="Kisqali",
        period=Period(date(2024, 1, 1), date(2024, 6, 30)),
        known_at={"lead_time_days": "delivery_timestamp"},
    )
    typed = PrepareRequest("exp-1", "triggers", scope, skip_leakage_check=True)
    assert request_from(FULL) == typed == request_from(typed) == request_from(FULL | {"scope": scope})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data_sorce": "x"}, "unknown key 'data_sorce' in the request; did you mean 'data_source'"),
        ({"scope__targt": "x"}, "unknown key 'targt' in the scope; did you mean 'target'"),
        ({"experiment_id": ...}, "the request needs 'experiment_id'"),
        ({"scope__target": ...}, "the scope needs 'target'"),
        ({"scope": "false_positive_flag"}, "scope must be an object"),
        ({"scope__required_features": "confidence_score"}, "must be a list of column names"),
        ({"scope__required_features": []}, "required_features is empty"),
        ({"scope__required_features": ["a", 3]}, "must be a text"),
        ({"scope__brand": "Kiskali"}, "there is no brand 'Kiskali'; did you mean 'Kisqali'"),
        ({"scope__region": "North-East"}, "there is no region 'North-East'; did you mean 'northeast'"),
        ({"scope__period": "2024"}, "must be an object with start and end"),
        ({"scope__period": {"start": "January"}}, "are not days like 2024-01-31"),
        ({"scope__period": {"start": "2024-06-30", "end": "2024-01-01"}}, "ends before it starts"),
        ({"scope__known_at": "lead_time_days"}, "known_at must be an object"),
        ({"scope__known_at": {"lead_time": "x"}}, "'lead_time' is no required feature; did you mean 'lead_time_days'"),
        ({"scope__known_at": {"lead_time_days": 3}}, "scope.known_at.lead_time_days must be a text"),
        ({"data_source": " "}, "data_source must be a text that is not empty"),
        ({"suite": 7}, "suite must be a text"),
        ({"skip_leakage_check": "no"}, "skip_leakage_check must be true or false"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractViolation, match=says) as caught:
        request_from(changed(**changes))
    assert "\n" not in str(caught.value)


def asked(source: str, suite: str | None = None) -> PrepareRequest:
    return PrepareRequest("exp-1", source, PrepareScope("y", ("x",)), suite=suite)


@pytest.mark.parametrize(
    ("source", "suite", "dataset", "table"),
    [
        ("triggers", None, "table:triggers", "triggers"),
        ("table:triggers", None, "table:triggers", "triggers"),
        ("predictions", None, "table:ml_predictions", "ml_predictions"),
        ("table:triggers", "triggers_suite", "table:triggers", "triggers"),
        ("ds_0123456789", "triggers", "ds_0123456789", "triggers"),
        ("march alerts", "triggers_suite", "march alerts", "triggers"),
        ("triggers", "patient_journeys", "triggers", "patient_journeys"),
    ],
)
def test_a_source_is_held_to_its_contract(source: str, suite: str | None, dataset: str, table: str) -> None:
    assert source_of(asked(source, suite)) == (dataset, get_table(table))


@pytest.mark.parametrize(
    ("source", "suite", "error", "says"),
    [
        ("trigers", None, DataUnavailable, "no contract table .did you mean 'triggers'.*suite="),
        ("table:trigers", None, DataUnavailable, "there is no table 'trigers'; did you mean 'triggers'"),
        ("table:trigers", "triggers", DataUnavailable, "there is no table 'trigers'"),
        ("table:triggers", "patient_journeys", ContractViolation, "held to its own contract"),
        ("march alerts", "trigers", ContractViolation, "no table 'trigers' in the data contract"),
    ],
)
def test_an_unknown_source_never_borrows_another_tables_suite(
    source: str, suite: str | None, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        source_of(asked(source, suite))


@pytest.mark.parametrize(
    ("table", "scope", "wanted"),
    [
        ("business_metrics", {"brand": "Kisqali", "region": "west"}, [("brand", "Kisqali"), ("region", "west")]),
        ("patient_journeys", {"region": "west"}, [("geographic_region", "west")]),
        ("triggers", {}, []),
    ],
)
def test_brand_and_region_become_conditions(table: str, scope: dict[str, Any], wanted: list[tuple[str, str]]) -> None:
    found = filters_of(PrepareScope("y", ("x",), **scope), get_table(table))
    assert found == tuple(Filter(column, Op.EQ, value) for column, value in wanted)


@pytest.mark.parametrize(
    ("table", "first", "after"),
    [
        ("patient_journeys", "2024-01-01", "2024-07-01"),
        ("triggers", "2024-01-01T00:00:00+00:00", "2024-07-01T00:00:00+00:00"),
    ],
)
def test_a_period_includes_its_last_day(table: str, first: str, after: str) -> None:
    contract = get_table(table)
    scope = PrepareScope("y", ("x",), period=Period(date(2024, 1, 1), date(2024, 6, 30)))
    column = time_column(contract)
    assert filters_of(scope, contract) == (Filter(column, Op.GE, first), Filter(column, Op.LT, after))


@pytest.mark.parametrize("scope", [{"region": "west"}, {"brand": "Kisqali"}])
def test_a_scope_that_the_table_cannot_be_cut_by_is_refused(scope: dict[str, Any]) -> None:
    with pytest.raises(UnknownColumn):
        filters_of(PrepareScope("y", ("x",), **scope), get_table("agent_activities"))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_says_when_its_rows_happened(name: str) -> None:
    assert time_column(TABLES[name]).rsplit("_", 1)[-1] in ("date", "timestamp")
