"""What is asked of data_preparer? Requests come typed or as JSON; both are checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from typing import Any

from src.agents.ml_foundation.data_preparer.state import PrepareRequest, PrepareScope
from src.agents.requests import check_keys, require_name, require_text
from src.contracts.enums import Brand, Region
from src.contracts.inference import INFERRED
from src.domain.period import Period
from src.errors import ContractViolation, nearest_names
from src.mlops.preparation.splitting import STRATEGIES


def request_from(raw: PrepareRequest | Mapping[str, Any]) -> PrepareRequest:
    """Accept a request or its JSON form (``period`` as ``{"start": "2024-01-01", "end": "2024-06-30"}``).

    Raises ContractViolation for an unknown or missing key, brand or region, a value of the wrong kind, or
    a scope without features.
    """
    if isinstance(raw, PrepareRequest):
        return _checked(raw)
    check_keys(raw, PrepareRequest, "request")
    scope = raw["scope"]
    if not isinstance(scope, PrepareScope):
        scope = _scope(scope)
    return _checked(PrepareRequest(**{**raw, "scope": scope}))


def _scope(raw: Any) -> PrepareScope:
    if not isinstance(raw, Mapping):
        raise ContractViolation("scope must be an object with target and required_features")
    check_keys(raw, PrepareScope, "scope")
    features, period, known_at = raw["required_features"], raw.get("period"), raw.get("known_at")
    if not isinstance(features, list | tuple):
        raise ContractViolation("scope.required_features must be a list of column names")
    if period is not None and not isinstance(period, Period):
        period = _period(period)
    if known_at is not None and not isinstance(known_at, Mapping):
        raise ContractViolation("scope.known_at must be an object: feature → column of the time it was known")
    return PrepareScope(
        **{**raw, "required_features": tuple(features), "period": period, "known_at": dict(known_at or {})}
    )


def _period(raw: Any) -> Period:
    if not isinstance(raw, Mapping) or not raw or not set(raw) <= {"start", "end"}:
        raise ContractViolation("scope.period must be an object with start and end, days like 2024-01-31")
    try:
        start, end = (date.fromisoformat(raw[name]) if raw.get(name) else None for name in ("start", "end"))
    except (TypeError, ValueError) as error:
        raise ContractViolation(f"scope.period: {str(raw)[:80]} are not days like 2024-01-31") from error
    return Period(start, end)


def _checked(request: PrepareRequest) -> PrepareRequest:
    scope = request.scope
    require_name(request.experiment_id, "experiment_id")
    require_text(request.data_source, "data_source")
    for name in ("split_id", "suite", "time", "unit"):
        if getattr(request, name) is not None:
            require_text(getattr(request, name), name)
    if request.suite != INFERRED and (request.time or request.unit):
        raise ContractViolation("a contract says what time and unit of a row are: leave out time and unit")
    _check_split(request)
    if not isinstance(request.skip_leakage_check, bool):
        raise ContractViolation("skip_leakage_check must be true or false")
    _check_scope(scope)
    unique = tuple(dict.fromkeys(scope.required_features))
    return dataclasses.replace(request, scope=dataclasses.replace(scope, required_features=unique))


def _check_split(request: PrepareRequest) -> None:
    strategy = request.split_strategy
    if strategy is None:
        return
    if strategy not in STRATEGIES:
        shown = str(strategy)
        raise ContractViolation(f"there is no split strategy '{shown[:40]}'; {nearest_names(shown, STRATEGIES)}")
    if request.split_id is not None:
        raise ContractViolation("a registered split (split_id) has its strategy already: leave out split_strategy")


def _check_scope(scope: PrepareScope) -> None:
    require_text(scope.target, "scope.target")
    if not scope.required_features:
        raise ContractViolation("scope.required_features is empty; name at least one column")
    for feature in scope.required_features:
        require_text(feature, "scope.required_features")
    for feature, column in scope.known_at.items():
        if feature not in scope.required_features:
            raise ContractViolation(
                f"scope.known_at: '{feature}' is no required feature; "
                f"{nearest_names(str(feature), scope.required_features)}"
            )
        require_text(column, f"scope.known_at.{feature}")
    _require_word(scope.brand, Brand, "brand")
    _require_word(scope.region, Region, "region")
    if scope.period and scope.period.start and scope.period.end and scope.period.start > scope.period.end:
        raise ContractViolation(f"scope.period ends before it starts ({scope.period})")


def _require_word(value: str | None, words: type[StrEnum], name: str) -> None:
    if value is not None and value not in list(words):
        raise ContractViolation(f"there is no {name} '{value}'; {nearest_names(str(value), list(words))}")
