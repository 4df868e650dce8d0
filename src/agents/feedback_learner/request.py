"""How is a request to learn read that came as JSON?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from src.agents.feedback_learner.state import LearnRequest, Window
from src.agents.requests import check_keys, part_of, require_name
from src.errors import ContractViolation

TRIGGERS = ("schedule", "threshold", "manual")
MOST_ANSWERS = 10_000


def request_from(raw: LearnRequest | Mapping[str, Any]) -> LearnRequest:
    """Accept a request or its JSON form. Raises ContractViolation: unknown key, wrong value, window without offset."""
    if isinstance(raw, LearnRequest):
        request = raw
    else:
        check_keys(raw, LearnRequest, "request")
        values = dict(raw)
        for name in ("items", "focus_components"):
            if name in values:
                values[name] = _texts(values[name], name)
        if values.get("window") is not None:
            values["window"] = part_of(values["window"], Window, "window")
        request = LearnRequest(**values)
    _check(request)
    return request


def _check(request: LearnRequest) -> None:
    if request.trigger not in TRIGGERS:
        raise ContractViolation(f"there is no trigger '{request.trigger}'; use one of {', '.join(TRIGGERS)}")
    if type(request.limit) is not int or not 1 <= request.limit <= MOST_ANSWERS:
        raise ContractViolation(f"limit must be a whole number from 1 to {MOST_ANSWERS:,}")
    for name in request.focus_components:
        require_name(name, "focus_components")
    for name, ids in (("items", request.items), ("batch_id", [request.batch_id] if request.batch_id else [])):
        for one in ids:
            _check_id(one, name)
    if request.window is not None and _moment(request.window.begin) >= _moment(request.window.end):
        raise ContractViolation("the window ends before it begins")


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ContractViolation(f"{name} must be a list")
    return tuple(value)


def _check_id(value: Any, name: str) -> None:
    try:
        UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise ContractViolation(f"{name}: '{str(value)[:60]}' is no id") from error


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise ContractViolation(f"window: '{str(text)[:60]}' is no time in ISO 8601") from error
    if moment.tzinfo is None:
        raise ContractViolation(f"window: '{text}' has no offset; write it as 2026-01-31T00:00:00+00:00")
    return moment
