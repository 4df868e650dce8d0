"""Is a record complete, within its size, and JSON that PostgreSQL takes, whatever a span was told?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from src.mlops.tracing.database_sink import FEEDBACK_COLUMNS, METRIC_COLUMNS, SPAN_COLUMNS
from src.mlops.tracing.encoding import Encoder
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid7
from src.mlops.tracing.privacy import CUT
from src.mlops.tracing.recorder import SpanRecorder
from src.mlops.tracing.spans import LLMSpanContext, SpanContext
from tests.unit.test_mlops.recorded import settings

ENCODER = Encoder(settings().spans, settings().prices)
KB = 1024
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=20,
)
NOW = datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)


def encoded(tell: Callable[[Any], object]) -> dict[str, Any]:
    """The document of a model call whose span was told something; strictly JSON."""
    recorder = SpanRecorder()
    with recorder.llm_span("gpt-5", "openai") as span:
        tell(span)
    assert isinstance(span, LLMSpanContext)
    document: dict[str, Any] = json.loads(ENCODER.encode(span).body, parse_constant=pytest.fail)
    return document


def size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def test_a_record_has_the_columns_of_its_table() -> None:
    recorder = SpanRecorder()
    with recorder.span("causal_impact", "estimate") as span:
        recorder.metric("rows", 5)
        recorder.feedback(span.trace_id, "quality", 1.0)
    metric, feedback, ended = (ENCODER.encode(item).document() for item in list(recorder.queue))  # type: ignore[arg-type]
    assert metric.keys() == METRIC_COLUMNS.keys()
    assert feedback.keys() == FEEDBACK_COLUMNS.keys()
    usage = {"model_name", "input_tokens", "output_tokens", "total_tokens", "total_cost"}
    assert ended.keys() == SPAN_COLUMNS.keys() - usage
    assert encoded(lambda span: None).keys() == SPAN_COLUMNS.keys()


LONG: dict[str, Any] = {
    "plain": "x" * 50_000,
    "quotes": '"' * 50_000,
    "backslashes": "\\" * 50_000,
    "wide": "é漢🎉" * 20_000,
    "words": "rep calls raise " * 5_000,
    "list": list(range(20_000)),
    "texts": ["a", "\\"] * 5_000,
    "wide keys": {f"clé{number}": None for number in range(5_000)},
    "deep": {"a": {"b": {"c": ["x" * 30_000, "y" * 30_000]}}},
    "10 MB": "lorem ipsum " * 900_000,
}


@pytest.mark.parametrize("value", LONG.values(), ids=LONG)
def test_inputs_outputs_and_attributes_are_cut_to_their_size_and_marked(value: Any) -> None:
    def tell(span: LLMSpanContext) -> None:
        span.set_input(value)
        span.set_output(value)
        span.set_attribute("told", value)

    shown = encoded(tell)["attributes"]
    assert sorted(shown["truncated"]) == ["attributes", "input", "output"]
    assert size(shown["input"]) <= 10 * KB
    assert size(shown["output"]) <= 10 * KB
    own = {"told": shown["told"]} if "told" in shown else {CUT: shown[CUT]}
    assert size(own) <= 4 * KB
    assert CUT in json.dumps([shown["input"], own], ensure_ascii=False)
    # What is kept is worth keeping.
    assert size(shown["input"]) > 2 * KB


def test_many_attributes_share_one_limit() -> None:
    def tell(span: LLMSpanContext) -> None:
        for number in range(50):
            span.set_attribute(f"a{number}", "x" * 1_000)

    shown = encoded(tell)["attributes"]
    assert shown["truncated"] == ["attributes"]
    assert size(shown) < 6 * KB


@pytest.mark.parametrize("value", ["x" * 9_000, {"rows": [1.5] * 1_000}, {"a": "é" * 2_000}])
def test_what_fits_is_kept_whole(value: Any) -> None:
    shown = encoded(lambda span: span.set_input(value))["attributes"]
    assert shown["input"] == value
    assert "truncated" not in shown


def test_limits_of_the_configuration_act() -> None:
    small = Encoder(settings(spans={"max_input_kb": 1, "max_output_kb": 2, "max_attributes_kb": 0.5}).spans)
    recorder = SpanRecorder()
    with recorder.span("orchestrator", "work", input_data="x" * 5_000) as span:
        span.set_output("y" * 5_000)
        span.set_attribute("z", "z" * 5_000)
    assert isinstance(span, SpanContext)
    shown = small.encode(span).document()["attributes"]
    assert size(shown["input"]) <= KB
    assert KB < size(shown["output"]) <= 2 * KB
    assert size(shown.get(CUT)) <= KB / 2


@given(VALUES)
@examples(max_examples=150)
def test_any_value_becomes_json_that_postgresql_takes(value: Any) -> None:
    def tell(span: LLMSpanContext) -> None:
        span.set_input(value)
        span.set_attribute("value", value)
        span.add_event("event", {"value": value})

    document = encoded(tell)
    for part in parts_of(document):
        if isinstance(part, str):
            assert "\x00" not in part
            part.encode("utf-8")  # a lone surrogate cannot be
        elif isinstance(part, int):
            assert -(2**63) <= part < 2**64


def parts_of(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [part for key, item in value.items() for part in [key, *parts_of(item)]]
    return [part for item in value for part in parts_of(item)] if isinstance(value, list) else [value]


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (2**70, str(2**70)),
        (-(2**70), str(-(2**70))),
        (10**5000, "<int of 16610 bits>"),
        ("a\x00b", "a\ufffdb"),
        ("a\ud800b", "a?b"),
        ({"\x00": 1}, {"\ufffd": 1}),
        ("\\u0000", "\\u0000"),
    ],
    ids=["nan", "inf", "big", "negative", "huge", "nul", "surrogate", "nul in a key", "an escape as text"],
)
def test_what_json_or_postgresql_cannot_hold_is_told_otherwise(value: Any, stored: Any) -> None:
    assert encoded(lambda span: span.set_output({"value": value}))["attributes"]["output"] == {"value": stored}


@pytest.mark.parametrize("text", ["x" * 5_000, "name " * 2_000])
def test_names_and_reasons_are_bounded(text: str) -> None:
    recorder = SpanRecorder()
    with recorder.span("orchestrator", text, tags=(text,)) as span:
        span.name = text
        recorder.feedback(span.trace_id, "quality", 1.0, reason=text * 10, category=text)
    feedback, ended = (ENCODER.encode(item).document() for item in list(recorder.queue))  # type: ignore[arg-type]
    shown = ended["attributes"]
    for kept in (ended["operation_type"], shown["name"], shown["tags"][0], feedback["category"]):
        assert len(kept) <= 1_000 + len(CUT)
    assert size(feedback["reason"]) <= 4 * KB + 100


def test_a_finished_span_keeps_its_numbers_and_says_who_called() -> None:
    span = FinishedSpan(
        str(uuid7()), "0190a6c2-7b1e-7cc3-98c4-dc0c0c07398f", "somebody", "call", NOW, NOW + timedelta(seconds=1),
        1_000.0, model_name="gpt-5", input_tokens=5, output_tokens=None, total_cost=0.5,
        attributes={"span_type": ["not", "a", "type"], "rows": 5},
    )  # fmt: skip
    document = ENCODER.encode(span).document()
    assert (document["agent_name"], document["agent_tier"]) == ("unknown", "monitoring")
    assert (document["total_tokens"], document["total_cost"]) == (5, 0.5)
    assert document["started_at"] == "2026-03-04T05:06:07.123456Z"
    shown = document["attributes"]
    assert {name: shown[name] for name in ("caller", "rows", "span_type", "root")} == {
        "caller": "somebody", "rows": 5, "span_type": "llm", "root": True,
    }  # fmt: skip
    assert document.keys() == SPAN_COLUMNS.keys()
