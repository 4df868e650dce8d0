"""What is asked of feature_analyzer? Requests come typed or as JSON; both are checked before anything is read."""

from __future__ import annotations

import dataclasses
import math
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from src.agents.ml_foundation.feature_analyzer.result import AnalyzeRequest, GenerationConfig, SelectionConfig
from src.agents.requests import check_keys, require_name, require_text
from src.contracts.tables import ALIASES, TABLES
from src.domain.modelling import ProblemType, TrainingData
from src.errors import ContractViolation, nearest_names
from src.mlops.tracing.privacy import personal_columns

_PREFIX = "table:"
_PARTS: Mapping[str, type[Any]] = {
    "data": TrainingData,
    "feature_config": GenerationConfig,
    "selection_config": SelectionConfig,
}


def request_from(raw: AnalyzeRequest | Mapping[str, Any]) -> AnalyzeRequest:
    """Accept a request or its JSON form.

    Raises ContractViolation for an unknown or missing key, a value of the wrong kind or out of its range, a feature
    that identifies somebody, and an effect model, which predicts nothing that could be explained.
    """
    if isinstance(raw, AnalyzeRequest):
        return _checked(raw)
    check_keys(raw, AnalyzeRequest, "request")
    parts = {name: _part(raw[name], kind, name) for name, kind in _PARTS.items() if name in raw}
    return _checked(AnalyzeRequest(**{**raw, **parts, "problem_type": _problem(raw["problem_type"])}))


def _part(raw: Any, kind: type[Any], name: str) -> Any:
    if isinstance(raw, kind):
        return raw
    if not isinstance(raw, Mapping):
        raise ContractViolation(f"{name} must be an object")
    check_keys(raw, kind, name)
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()})


def _problem(raw: Any) -> ProblemType:
    if raw not in list(ProblemType):
        raise ContractViolation(f"there is no problem type '{raw}'; {nearest_names(str(raw), list(ProblemType))}")
    return ProblemType(raw)


def _checked(request: AnalyzeRequest) -> AnalyzeRequest:
    require_name(request.experiment_id, "experiment_id")
    if _problem(request.problem_type) is ProblemType.EFFECT:
        raise ContractViolation("an effect model predicts no outcome to explain; ask causal_impact about its effects")
    if request.model_uri is not None:
        require_text(request.model_uri, "model_uri")
    if request.training_run_id is not None:
        _require_uuid(request.training_run_id)
    _require_integer(request.max_samples, "max_samples", least=1)
    _require_integer(request.random_state, "random_state", least=0)
    _require_truth(request.compute_interactions, "compute_interactions")
    _check_generation(request.feature_config)
    _check_selection(request.selection_config)
    return dataclasses.replace(request, data=_checked_data(request.data))


def _checked_data(data: TrainingData) -> TrainingData:
    require_text(data.dataset_id, "data.dataset_id")
    require_text(data.target, "data.target")
    if isinstance(data.features, str) or not isinstance(data.features, Sequence) or not data.features:
        raise ContractViolation("data.features must name at least one column")
    for feature in data.features:
        require_text(feature, "data.features")
    if data.target in data.features:
        raise ContractViolation(f"'{data.target}' is the target; it cannot be a feature of itself")
    _refuse_identifying(data)
    return dataclasses.replace(data, features=tuple(dict.fromkeys(data.features)))


def _refuse_identifying(data: TrainingData) -> None:
    """Personal columns by their name wherever they stand; keys in the contract's own tables."""
    name = data.dataset_id.removeprefix(_PREFIX)
    table = TABLES.get(ALIASES.get(name, name)) if data.dataset_id.startswith(_PREFIX) else None
    keys = {column.name for column in table.columns if column.role == "key"} if table else set()
    for feature in data.features:
        if feature in personal_columns() | keys:
            raise ContractViolation(f"'{feature}' identifies somebody or something; it cannot be a feature")


def _check_generation(rules: GenerationConfig) -> None:
    for name in ("interactions", "ratios", "polynomials", "logarithms"):
        _require_truth(getattr(rules, name), f"feature_config.{name}")
    _require_integer(rules.top_k, "feature_config.top_k", least=1)


def _check_selection(rules: SelectionConfig) -> None:
    _require_number(rules.min_variance, "selection_config.min_variance", 0.0, 1.0)
    _require_number(rules.max_correlation, "selection_config.max_correlation", 0.0, 1.0)
    _require_number(rules.max_vif, "selection_config.max_vif", 1.0, math.inf)
    _require_number(rules.min_stability, "selection_config.min_stability", 0.0, 1.0)
    _require_integer(rules.subsamples, "selection_config.subsamples", least=1)


def _require_truth(value: Any, name: str) -> None:
    if not isinstance(value, bool):
        raise ContractViolation(f"{name} must be true or false")


def _require_integer(value: Any, name: str, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ContractViolation(f"{name} must be a whole number, {least} or more")


def _require_number(value: Any, name: str, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        upper = "" if most == math.inf else f" and at most {most:g}"
        raise ContractViolation(f"{name} must be a number of at least {least:g}{upper}")


def _require_uuid(value: Any) -> None:
    try:
        uuid.UUID(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise ContractViolation(
            f"training_run_id '{str(value)[:60]}' is not the id of a training run (UUID)"
        ) from error
