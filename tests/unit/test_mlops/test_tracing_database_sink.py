"""Does PostgreSQL hold every record once, as it was encoded, and say which it can never take?"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import random
import string
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg.rows import dict_row

from src.errors import ServiceOutage
from src.mlops.tracing.database_sink import FEEDBACK_COLUMNS, METRIC_COLUMNS, SPAN_COLUMNS, DatabaseSink
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.recorder import SpanRecorder
from src.mlops.tracing.records import Kind, Record, RecordRefused
from src.resilience.circuit_breaker import CircuitBreaker, CircuitBreakerConfig, CircuitOpenError, CircuitState
from tests.opik_samples import feedback, metric, record, records, span
from tests.unit.test_mlops.recorded import settings

TABLES = {
    Kind.SPAN: ("ml_observability_spans", SPAN_COLUMNS),
    Kind.FEEDBACK: ("ml_observability_feedback", FEEDBACK_COLUMNS),
    Kind.METRIC: ("ml_observability_metrics", METRIC_COLUMNS),
}
ENCODER = Encoder(settings().spans, settings().prices)


def sink_to(url: str, *, threshold: int = 5) -> DatabaseSink:
    return DatabaseSink(lambda: url, CircuitBreaker("database", CircuitBreakerConfig(failure_threshold=threshold)))


@pytest.fixture
def sink(database_url: str) -> Iterator[DatabaseSink]:
    opened = sink_to(database_url)
    yield opened
    opened.close()


def rows(url: str, kind: Kind = Kind.SPAN) -> list[dict[str, Any]]:
    table, columns = TABLES[kind]
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY 1, 2").fetchall()


def as_stored(document: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """The document as PostgreSQL gives it back: times as datetimes, absent columns NULL."""
    times = {"started_at", "ended_at", "recorded_at"}
    return {
        name: datetime.fromisoformat(value) if name in times and (value := document.get(name)) else document.get(name)
        for name in columns
    }


def test_every_column_comes_back_as_it_was_encoded(sink: DatabaseSink, database_url: str) -> None:
    documents = {
        Kind.SPAN: span(
            parent_span_id="0190a6c2-7b1e-7cc3-98c4-dc0c0c07398f", model_name="gpt-5", input_tokens=2**40,
            output_tokens=7, total_tokens=2**40 + 7, total_cost=0.1 + 0.2, status="timeout", error_type="TimeoutError",
            error_message="too\tslow\n\\N \\. \"quoted\" é漢🎉", fallback_used=True, fallback_chain=["a", "b"],
            prompt_versions={"p": 3}, user_id="u", session_id="s", duration_ms=0.123456789,
        ),
        Kind.FEEDBACK: feedback(category="tone", source="ui", value=-0.1),
        Kind.METRIC: metric(value=1e-300, metadata={"deep": [{"x": None}]}),
    }  # fmt: skip
    sink.deliver(records(*documents.values()))
    for kind, document in documents.items():
        (row,) = rows(database_url, kind)
        row = {name: str(value) if name.endswith("_id") and value else value for name, value in row.items()}
        assert row == as_stored(document, TABLES[kind][1])


def test_repeating_a_batch_changes_nothing(sink: DatabaseSink, database_url: str) -> None:
    batch = records(span(), span(), feedback(), metric())
    sink.deliver(batch)
    before = [rows(database_url, kind) for kind in Kind]
    sink.deliver(batch)
    sink.deliver([*batch, *batch])
    assert [rows(database_url, kind) for kind in Kind] == before
    assert [len(part) for part in before] == [2, 1, 1]


@pytest.mark.parametrize(
    "poison",
    [
        span(status="done"),
        span(total_tokens=3, input_tokens=1),
        span(input_tokens=-1, total_tokens=-1),
        span(input_tokens=str(2**70), total_tokens=str(2**70)),
        span(started_at="yesterday-ish"),
        span(agent_name="orchestrator2"),
        span(agent_tier="top"),
        span(error_type="E"),
        span(trace_id=None),
        feedback(feedback_id="x"),
        feedback(source="rumour"),
        metric(name=""),
        metric(name="".join(random.Random(1).choices(string.printable[:90], k=20_000))),
        metric(value=None),
    ],
    ids=lambda document: ",".join(document.keys() & {"metric_id", "feedback_id"}) or "span",
)
def test_a_record_that_cannot_be_stored_is_refused_and_takes_its_batch_with_it(
    sink: DatabaseSink, database_url: str, poison: dict[str, Any]
) -> None:
    with pytest.raises(RecordRefused):
        sink.deliver(records(span(), poison))
    assert [rows(database_url, kind) for kind in Kind] == [[], [], []]
    sink.deliver(records(span()))
    assert len(rows(database_url)) == 1
    assert sink.breaker.state is CircuitState.CLOSED
    assert sink.breaker.metrics.failed == 0


def test_an_unreachable_server_is_an_outage_that_opens_the_breaker() -> None:
    sink = sink_to("postgresql://e2i:geheim@127.0.0.1:1/e2i", threshold=2)
    for _ in range(2):
        with pytest.raises(ServiceOutage, match="spans") as caught:
            sink.deliver(records(span()))
        assert "geheim" not in str(caught.value)
    with pytest.raises(CircuitOpenError):
        sink.deliver(records(span()))


def test_a_connection_that_breaks_is_an_outage_and_the_next_delivery_opens_another(
    sink: DatabaseSink, database_url: str
) -> None:
    sink.deliver(records(span()))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'e2i-spans'"
        )
    batch = records(span(), span())
    with pytest.raises(ServiceOutage):
        sink.deliver(batch)
    sink.deliver(batch)
    assert len(rows(database_url)) == 3


def test_a_database_that_is_not_ready_is_an_outage_not_a_fault_of_the_records(
    sink: DatabaseSink, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE ml_observability_metrics RENAME TO elsewhere")
    with pytest.raises(ServiceOutage):
        sink.deliver(records(metric()))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE elsewhere RENAME TO ml_observability_metrics")
    sink.deliver(records(metric()))
    assert len(rows(database_url, Kind.METRIC)) == 1


def test_the_address_is_asked_anew_for_every_connection(database_url: str) -> None:
    addresses = iter(["postgresql://e2i@127.0.0.1:1/e2i", database_url])
    sink = DatabaseSink(lambda: next(addresses), CircuitBreaker("database", CircuitBreakerConfig()))
    with pytest.raises(ServiceOutage):
        sink.deliver(records(span()))
    sink.deliver(records(span()))
    sink.deliver(records(span()))
    sink.close()
    assert len(rows(database_url)) == 2


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    y: Any


def recursive() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


WEIRD: dict[str, Any] = {
    "nan": math.nan,
    "1e400": float("1e400"),
    "big": [2**63, 2**64, -(2**64), 10**300, 10**5000],
    "nul": "a\x00b\u0000",
    "surrogates": "\ud800 \udfff",
    "controls": "".join(map(chr, range(32))) + "\x7f\x85\u2028\ufeff\uffff",
    "escapes": "\\u0000 \\N \\. \\ud800 \t \r \n",
    "frame": pd.DataFrame({"patient": ["Ann"]}),
    "array": np.arange(1_000_000),
    "scalars": [
        np.float64("nan"),
        np.float32(1.5),
        np.int64(3),
        np.bool_(False),
        np.datetime64("2026-01-01"),
        np.str_("s"),
    ],
    "recursive": recursive(),
    "text of 10 MB": "é" * 10_000_000,
    "a million": list(range(1_000_000)),
    "a million keys": {number: number for number in range(1_000_000)},
    "bytes": [b"\xff\x00", bytearray(5), memoryview(b"x")],
    "objects": [Colour.RED, Point(1.0, Point(2.0, None)), object(), Colour, len, {1, 2}, range(5), ValueError("x")],
    "keys": {None: 1, 1.5: 2, (1, 2): 3, b"k": 4, "\x00": 5, "\ud800": 6, True: 7, Colour.RED: 8},
    "deep": [[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]],
    "moment": [datetime.max.replace(tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)],
}


def recorded(value: Any) -> list[Record]:
    """A trace that was told ``value`` wherever a value may stand."""
    recorder = SpanRecorder()
    with recorder.span("causal_impact", "work", metadata={"v": value}, input_data=value) as work:
        work.set_output(value)
        work.set_attribute("value", value)
        work.add_event("event", {"v": value})
        recorder.metric("m", 1.0, metadata={"v": value})
        recorder.feedback(work.trace_id, "f", 1.0, reason=str(value)[:100] if isinstance(value, str) else None)
        with recorder.llm_span("gpt-5", "openai", input_data=value) as call:
            call.set_output(value)
    return [ENCODER.encode(item) for item in recorder.queue]  # type: ignore[arg-type]


@pytest.mark.parametrize("value", WEIRD.values(), ids=WEIRD)
def test_whatever_a_span_is_told_postgresql_stores_it(sink: DatabaseSink, database_url: str, value: Any) -> None:
    batch = recorded(value)
    sink.deliver(batch)
    stored = {row["span_id"]: row["attributes"] for row in rows(database_url)}
    encoded = [orjson.loads(one.body) for one in batch if one.kind is Kind.SPAN]
    assert stored == {document["span_id"]: document["attributes"] for document in encoded}
    assert [len(rows(database_url, kind)) for kind in Kind] == [2, 1, 1]


@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
            max_leaves=15,
        ),
        min_size=20,
        max_size=20,
    )
)
@examples(
    max_examples=15,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_value_is_stored_as_it_was_encoded(sink: DatabaseSink, database_url: str, values: Sequence[Any]) -> None:
    batch = [one for value in values for one in recorded(value)]
    sink.deliver(batch)
    stored = {row["span_id"]: row["attributes"] for row in rows(database_url)}
    for one in batch:
        if one.kind is Kind.SPAN:
            document = one.document()
            assert numbers_as_floats(stored[document["span_id"]]) == numbers_as_floats(document["attributes"])


def numbers_as_floats(value: Any) -> Any:
    """PostgreSQL gives a large float back in digits, which Python reads as an integer."""
    return json.loads(json.dumps(value), parse_int=float)


def test_a_record_may_be_delivered_alone(sink: DatabaseSink, database_url: str) -> None:
    for document in (metric(trace_id=None), feedback(), span()):
        sink.deliver([record(document)])
    assert [len(rows(database_url, kind)) for kind in Kind] == [1, 1, 1]
