"""What is known about a span that ended elsewhere: in another process, or in a library that times itself?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from src.errors import ContractViolation, nearest_names

STATUSES = ("success", "error", "timeout")
_MOST_TOKENS = 2**62  # two of them add up to what a bigint column holds
_REQUIRED_TEXT = ("trace_id", "span_id", "agent_name", "operation_type")
_OPTIONAL_TEXT = ("parent_span_id", "error_type", "error_message", "model_name", "user_id", "session_id")


@dataclass(frozen=True, slots=True)
class FinishedSpan:
    """One finished span. Times are UTC-aware, ``total_cost`` is in US dollars (None: not known).

    Raises ContractViolation, one line naming the span and the field, for a status that is not success,
    error or timeout; an end before the start; a time without zone; a negative or non-finite number; an
    error text with success, or none without it.
    """

    trace_id: str
    span_id: str
    agent_name: str
    operation_type: str
    started_at: datetime
    ended_at: datetime
    duration_ms: float
    status: str = "success"
    parent_span_id: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    model_name: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_cost: float | None = None
    fallback_used: bool = False
    fallback_chain: tuple[str, ...] | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    prompt_versions: dict[str, Any] | None = None
    user_id: str | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        for name in _REQUIRED_TEXT:
            value = getattr(self, name)
            self._require(isinstance(value, str) and value.strip() != "", f"{name} must be a text that is not empty")
        for name in _OPTIONAL_TEXT:
            value = getattr(self, name)
            self._require(value is None or isinstance(value, str), f"{name} must be a text or null")
        self._require(self.parent_span_id != self.span_id, "a span cannot be its own parent")
        self._check_status()
        self._check_times()
        self._check_numbers()
        self._require(isinstance(self.fallback_used, bool), "fallback_used must be true or false")
        self._require(isinstance(self.attributes, dict), "attributes must be keys and values")
        self._require(
            self.prompt_versions is None or isinstance(self.prompt_versions, dict),
            "prompt_versions must be keys and values",
        )

    def _check_status(self) -> None:
        self._require(
            self.status in STATUSES, f"status '{str(self.status)[:40]}' is unknown; use {', '.join(STATUSES)}"
        )
        told = (self.error_type is not None, self.error_message is not None)
        if self.status == "success":
            self._require(not any(told), "a success has no error_type and no error_message")
        else:
            self._require(all(told), f"status {self.status} needs error_type and error_message")

    def _check_times(self) -> None:
        for name in ("started_at", "ended_at"):
            value = getattr(self, name)
            aware = isinstance(value, datetime) and value.utcoffset() is not None
            self._require(aware, f"{name} must be a time with its zone")
            object.__setattr__(self, name, value.astimezone(UTC))
        self._require(self.ended_at >= self.started_at, "ended_at is before started_at")

    def _check_numbers(self) -> None:
        self._require(_non_negative(self.duration_ms), "duration_ms must be a number, 0 or more")
        for name in ("input_tokens", "output_tokens"):
            value = getattr(self, name)
            counted = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS
            self._require(value is None or counted, f"{name} must be a whole number, 0 or more")
        self._require(
            self.total_cost is None or _non_negative(self.total_cost), "total_cost must be a number, 0 or more"
        )

    def _require(self, holds: bool, problem: str) -> None:
        if not holds:
            raise ContractViolation(f"span {str(self.span_id)[:40]!r}: {problem}")


def finished_span(raw: FinishedSpan | Mapping[str, Any]) -> FinishedSpan:
    """A span from its JSON form: times in ISO-8601, ``duration_ms`` from the times when it is left out.

    Raises ContractViolation: unknown or missing key, or what ``FinishedSpan`` refuses.
    """
    if isinstance(raw, FinishedSpan):
        return raw
    if not isinstance(raw, Mapping):
        raise ContractViolation(f"a span must be keys and values, not {type(raw).__name__}")
    known = {item.name: item for item in dataclasses.fields(FinishedSpan)}
    shown = str(raw.get("span_id", "?"))[:40]
    for key in raw:
        if key not in known:
            raise ContractViolation(f"span {shown!r}: unknown key '{key}'; {nearest_names(str(key), known)}")
    values = dict(raw)
    for name in ("started_at", "ended_at"):
        values[name] = _time(raw.get(name), name, shown)
    if values.get("duration_ms") is None:
        values["duration_ms"] = (values["ended_at"] - values["started_at"]).total_seconds() * 1000.0
    if isinstance(values.get("fallback_chain"), list):
        values["fallback_chain"] = tuple(values["fallback_chain"])
    for name, item in known.items():
        required = item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
        if required and name not in values:
            raise ContractViolation(f"span {shown!r}: {name} is missing")
    return FinishedSpan(**values)


def _time(value: Any, name: str, shown: str) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ContractViolation(f"span {shown!r}: {name} '{value[:40]}' is not an ISO-8601 time") from error
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise ContractViolation(f"span {shown!r}: {name} must be a time with its zone")
    return value.astimezone(UTC)


def _non_negative(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
