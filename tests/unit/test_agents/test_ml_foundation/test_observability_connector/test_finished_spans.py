"""Is a span that ended elsewhere checked before it is taken over?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from src.errors import ContractViolation
from src.mlops.tracing.finished import FinishedSpan, finished_span
from tests.unit.test_agents.test_ml_foundation.test_observability_connector.parts import as_json, finished


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"status": "ok"}, "status 'ok' is unknown; use success, error, timeout"),
        ({"status": "SUCCESS"}, "status 'SUCCESS' is unknown"),
        ({"status": None}, "status 'None' is unknown"),
        ({"status": "error"}, "status error needs error_type and error_message"),
        ({"status": "timeout", "error_type": "TimeoutError"}, "needs error_type and error_message"),
        ({"error_message": "x"}, "a success has no error_type"),
        ({"ended_at": "2020-01-01T00:00:00+00:00"}, "ended_at is before started_at"),
        ({"started_at": "2026-01-01T00:00:00"}, "started_at must be a time with its zone"),
        ({"started_at": "yesterday"}, "started_at 'yesterday' is not an ISO-8601 time"),
        ({"ended_at": ...}, "ended_at must be a time with its zone"),
        ({"duration_ms": -1.0}, "duration_ms must be a number, 0 or more"),
        ({"duration_ms": float("nan")}, "duration_ms must be a number, 0 or more"),
        ({"duration_ms": True}, "duration_ms must be a number, 0 or more"),
        ({"input_tokens": -1}, "input_tokens must be a whole number, 0 or more"),
        ({"output_tokens": 1.5}, "output_tokens must be a whole number, 0 or more"),
        ({"input_tokens": 2**63}, "input_tokens must be a whole number"),
        ({"total_cost": float("inf")}, "total_cost must be a number, 0 or more"),
        ({"trace_id": " "}, "trace_id must be a text that is not empty"),
        ({"agent_name": None}, "agent_name must be a text that is not empty"),
        ({"operation_type": ...}, "operation_type is missing"),
        ({"user_id": 7}, "user_id must be a text or null"),
        ({"fallback_used": "yes"}, "fallback_used must be true or false"),
        ({"attributes": [1]}, "attributes must be keys and values"),
        ({"durations": 1.0}, "unknown key 'durations'; did you mean 'duration_ms'"),
    ],
)
def test_a_span_that_cannot_be_true_is_refused_in_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ContractViolation) as caught:
        finished_span(as_json(finished(), **changes))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_span_cannot_be_its_own_parent() -> None:
    span = finished()
    with pytest.raises(ContractViolation, match="cannot be its own parent"):
        finished_span(as_json(span, parent_span_id=span.span_id))


def test_the_json_form_is_the_same_span() -> None:
    span = finished(status="error", fallback_chain=("a", "b"), attributes={"n": 1}, total_cost=0.5)
    assert finished_span(as_json(span)) == span
    assert finished_span(span) is span


def test_the_duration_follows_from_the_times_where_it_was_not_measured() -> None:
    assert finished_span(as_json(finished(ms=250.0), duration_ms=...)).duration_ms == pytest.approx(250.0)


def test_times_are_kept_in_utc() -> None:
    moment = datetime(2026, 3, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    span = FinishedSpan("t", "s", "explainer", "x", moment, moment, 0.0)
    assert (span.started_at.tzinfo, span.started_at.hour) == (UTC, 10)


@pytest.mark.parametrize("raw", [None, "span", 7, ["a"]])
def test_what_is_no_mapping_is_refused(raw: Any) -> None:
    with pytest.raises(ContractViolation, match="a span must be keys and values"):
        finished_span(raw)
