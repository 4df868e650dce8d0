"""How does a span become its record? Redacted, cut to size, encoded once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import orjson

from src.domain.agents import agent_identity
from src.domain.prices import PriceTable
from src.mlops.tracing.configuration import SpanSettings
from src.mlops.tracing.finished import FinishedSpan
from src.mlops.tracing.ids import uuid_int, uuid_text
from src.mlops.tracing.privacy import CUT, Redactor, beginning, snapshot
from src.mlops.tracing.recorder import Feedback, Metric
from src.mlops.tracing.records import PROJECT, Kind, Record
from src.mlops.tracing.spans import LLMSpanContext, SpanContext, SpanStatus

_OPTIONS = orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
_STATUS = {SpanStatus.ERROR: "error", SpanStatus.TIMEOUT: "timeout"}
_MAX_STACK = 4_000
_MAX_NAME = 1_000
_MAX_DIGITS_BITS = 1_000


class Encoder:
    """Turns what ended into records; one per writer."""

    def __init__(self, settings: SpanSettings, prices: PriceTable | None = None) -> None:
        self.redactor = Redactor(settings.redact)
        self._prices = prices
        self._limits = {
            "input": int(settings.max_input_kb * 1024),
            "output": int(settings.max_output_kb * 1024),
            "attributes": int(settings.max_attributes_kb * 1024),
        }

    def encode(self, item: SpanContext | FinishedSpan | Feedback | Metric) -> Record:
        """The record of ``item``."""
        if isinstance(item, SpanContext):
            return Record(Kind.SPAN, _dumps(self._span(item)))
        if isinstance(item, FinishedSpan):
            return Record(Kind.SPAN, _dumps(self._finished(item)))
        if isinstance(item, Feedback):
            return Record(Kind.FEEDBACK, _dumps(self._feedback(item)))
        return Record(Kind.METRIC, _dumps(self._metric(item)))

    def _span(self, span: SpanContext) -> dict[str, Any]:
        failed = span.error_type is not None
        document: dict[str, Any] = {
            "trace_id": span.trace_id,
            "span_id": span.span_id,
            "parent_span_id": span.parent_span_id,
            "agent_name": span.identity.name,
            "agent_tier": span.identity.tier_name,
            "operation_type": self._label(span.operation),
            "started_at": span.started_at,
            "ended_at": span.ended_at,
            "duration_ms": span.duration_ms,
            "status": _STATUS.get(span.status, "error" if failed else "success"),
        } | self._said(span)
        if document["status"] != "success":  # a status set by hand comes without words
            document["error_type"] = document["error_type"] or document["status"]
            document["error_message"] = document["error_message"] or document["error_type"]
        shown = self._shown(span)
        if isinstance(span, LLMSpanContext):
            document |= self._usage(span)
            shown |= self._llm_names(span)
        document["attributes"] = shown
        return document

    def _shown(self, span: SpanContext) -> dict[str, Any]:
        truncated: list[str] = []
        own = self._limited("attributes", span.metadata, truncated) if span.metadata else {}
        shown: dict[str, Any] = _unreserved(own) if isinstance(own, dict) else {"attributes": own}
        shown["name"] = self._label(span.name or span.operation)
        shown["span_type"] = span.span_type.value
        if span.root:
            shown["root"] = True
        shown |= self._project(span)
        if span.tags:
            shown["tags"] = [self._label(tag) for tag in span.tags]
        if span.events:
            shown["events"] = self._limited("attributes", span.events, truncated)
        if span.input_data is not None:
            shown["input"] = self._limited("input", span.input_data, truncated)
        if span.output_data is not None:
            shown["output"] = self._limited("output", span.output_data, truncated)
        if span.stack:
            shown["exception.stacktrace"] = self.redactor.clean_text(span.stack)[-_MAX_STACK:]
        shown["gen_ai.operation.name"] = _OPERATION_NAMES[span.span_type.value]
        shown["gen_ai.agent.name"] = span.identity.name
        if span.span_type.value == "tool":
            shown["gen_ai.tool.name"] = shown["name"]
        if span.session_id:
            shown["gen_ai.conversation.id"] = self._label(span.session_id)
        if truncated:
            shown["truncated"] = truncated
        return shown

    def _project(self, span: SpanContext) -> dict[str, str]:
        return {} if span.trace.project is None else {PROJECT: self._label(span.trace.project)}

    def _usage(self, span: LLMSpanContext) -> dict[str, Any]:
        cost = span.total_cost
        if cost is None and self._prices is not None and span.input_tokens is not None:
            cost = self._prices.cost(
                span.model,
                span.input_tokens,
                span.output_tokens or 0,
                cache_read_tokens=span.cache_read_tokens,
                cache_write_tokens=span.cache_write_tokens,
            )
        return {
            "model_name": self._label(span.response_model or span.model),
            "input_tokens": span.input_tokens,
            "output_tokens": span.output_tokens,
            "total_tokens": span.total_tokens,
            "total_cost": cost if _is_amount(cost) else None,
        }

    def _llm_names(self, span: LLMSpanContext) -> dict[str, Any]:
        names = {"provider.name": span.provider, "request.model": span.model, "response.model": span.response_model}
        counts = {
            "usage.input_tokens": span.input_tokens,
            "usage.output_tokens": span.output_tokens,
            "usage.cache_read.input_tokens": span.cache_read_tokens or None,
            "usage.cache_creation.input_tokens": span.cache_write_tokens or None,
        }
        shown = {name: self._label(text) for name, text in names.items() if text is not None}
        return {f"gen_ai.{name}": value for name, value in (shown | counts).items() if value is not None}

    def _finished(self, span: FinishedSpan) -> dict[str, Any]:
        document = {field.name: getattr(span, field.name) for field in fields(span)} | self._said(span)
        identity = agent_identity(span.agent_name)
        truncated: list[str] = []
        shown = self._limited("attributes", snapshot(span.attributes or {}, self._limits["attributes"]), truncated)
        shown = shown if isinstance(shown, dict) else {"attributes": shown}
        if identity.name != span.agent_name:
            shown["caller"] = self._label(span.agent_name)
        if span.parent_span_id is None:
            shown["root"] = True
        shown.setdefault("name", self._label(span.operation_type))
        if shown.get("span_type") not in list(_OPERATION_NAMES):
            shown["span_type"] = "llm" if span.model_name else "general"
        shown["gen_ai.agent.name"] = identity.name
        shown["gen_ai.operation.name"] = _OPERATION_NAMES[shown["span_type"]]
        if truncated:
            shown["truncated"] = truncated
        counts = (span.input_tokens, span.output_tokens)
        return document | {
            "trace_id": uuid_text(uuid_int(span.trace_id)),
            "span_id": uuid_text(uuid_int(span.span_id)),
            "parent_span_id": uuid_text(uuid_int(span.parent_span_id)) if span.parent_span_id else None,
            "agent_name": identity.name,
            "agent_tier": identity.tier_name,
            "operation_type": self._label(span.operation_type),
            "model_name": self._label(span.model_name) if span.model_name else None,
            "total_tokens": None if counts == (None, None) else sum(count or 0 for count in counts),
            "attributes": shown,
        }

    def _feedback(self, given: Feedback) -> dict[str, Any]:
        return {
            "feedback_id": given.id,
            "trace_id": given.trace_id,
            "span_id": given.span_id,
            "name": self._label(given.name),
            "value": given.value,
            "reason": self._text(given.reason, self._limits["attributes"]) if given.reason else None,
            "category": self._label(given.category) if given.category else None,
            "source": given.source,
            "recorded_at": given.recorded_at,
        } | ({"project": self._label(given.project)} if given.project else {})

    def _metric(self, metric: Metric) -> dict[str, Any]:
        truncated: list[str] = []
        metadata = self._limited("attributes", metric.metadata, truncated)
        return {
            "metric_id": metric.id,
            "trace_id": metric.trace_id,
            "span_id": metric.span_id,
            "name": self._label(metric.name),
            "value": metric.value,
            "metadata": metadata if isinstance(metadata, dict) else {"value": metadata},
            "recorded_at": metric.recorded_at,
        }

    def _said(self, span: SpanContext | FinishedSpan) -> dict[str, Any]:
        """The columns with texts of the caller's own."""
        texts = {"error_type": span.error_type, "user_id": span.user_id, "session_id": span.session_id}
        values = {"fallback_chain": span.fallback_chain, "prompt_versions": span.prompt_versions}
        copied = {name: snapshot(value, self._limits["attributes"]) for name, value in values.items()}
        return {
            "error_message": self._text(span.error_message, _MAX_STACK) if span.error_message else None,
            "fallback_used": span.fallback_used,
            **{name: self._label(text) if text else None for name, text in texts.items()},
            **{name: self.redactor.clean(value) for name, value in copied.items()},
        }

    def _label(self, text: object) -> str:
        """A name: short, whatever was given."""
        return self._text(text, _MAX_NAME)

    def _text(self, text: object, most: int) -> str:
        return self.redactor.clean_text(beginning(str(text), most))

    def _limited(self, kind: str, value: Any, truncated: list[str]) -> Any:
        """``value`` redacted; as a marked piece of text where its JSON is longer than the limit."""
        cleaned = self.redactor.clean(value)
        encoded = _dumps(cleaned)
        limit = self._limits[kind]
        if len(encoded) <= limit:
            if CUT.encode() in encoded:
                truncated.append(kind)
            return cleaned
        truncated.append(kind)
        shown = {CUT: encoded[: max(limit - 64, 0)].decode("utf-8", "ignore")}
        # As text inside JSON its quotes and backslashes take two characters each.
        while shown[CUT] and (size := len(_dumps(shown))) > limit:
            shown[CUT] = shown[CUT][: len(shown[CUT]) * limit // size - 1]
        return shown


# What the record itself says under these names; a caller's own are kept beside.
_RESERVED = frozenset({"root", "input", "output", "events", "tags", "truncated", "exception.stacktrace", PROJECT})


def _unreserved(attributes: dict[str, Any]) -> dict[str, Any]:
    return {f"caller.{name}" if name in _RESERVED else name: value for name, value in attributes.items()}


def _is_amount(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value >= 0


_OPERATION_NAMES = {"llm": "chat", "tool": "execute_tool", "guardrail": "guardrail", "general": "invoke_agent"}


def _dumps(value: Any) -> bytes:
    """JSON that PostgreSQL's jsonb accepts: no NUL, no lone surrogate, no number beyond 64 bits."""
    try:
        encoded = orjson.dumps(value, option=_OPTIONS)
    except (orjson.JSONEncodeError, RecursionError):
        encoded = orjson.dumps(_storable(value), option=_OPTIONS, default=str)
    if b"\\u0000" in encoded:
        encoded = orjson.dumps(_storable(value), option=_OPTIONS, default=str)
    return encoded


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\x00", "\ufffd")
    if isinstance(value, Mapping):
        return {_storable(str(key)): _storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value) if value.bit_length() <= _MAX_DIGITS_BITS else f"<int of {value.bit_length()} bits>"
    return value
