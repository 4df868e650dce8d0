"""What is asked of model_selector? Requests come typed or as JSON; both are checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from src.agents.ml_foundation.model_selector.registry import known
from src.agents.ml_foundation.model_selector.result import SelectRequest
from src.agents.quality_gate import LayerStatus, QCGate
from src.domain.modelling import ProblemType, TrainingData
from src.errors import ContractViolation, nearest_names

LONGEST_NAME = 200
_LISTS = ("include", "exclude")


def request_from(raw: SelectRequest | Mapping[str, Any]) -> SelectRequest:
    """Accept a request or its JSON form (gate and data as objects).

    Raises ContractViolation for an unknown or missing key, algorithm or problem type, and for a budget that is no
    positive number.
    """
    request = raw if isinstance(raw, SelectRequest) else _read(raw)
    _check(request)
    return request


def _read(raw: Mapping[str, Any]) -> SelectRequest:
    _check_keys(raw, SelectRequest, "request")
    kinds = [kind.value for kind in ProblemType]
    if raw["problem_type"] not in kinds:
        raise ContractViolation(
            f"unknown problem_type '{raw['problem_type']}'; {nearest_names(str(raw['problem_type']), kinds)}"
        )
    given = {**raw, "problem_type": ProblemType(raw["problem_type"]), "qc_gate": _gate(raw["qc_gate"])}
    given |= {name: tuple(raw[name]) for name in _LISTS if isinstance(raw.get(name), list | tuple)}
    if isinstance(data := raw.get("data"), Mapping):
        given["data"] = _data(data)
    return SelectRequest(**given)


def _gate(raw: Any) -> QCGate:
    if isinstance(raw, QCGate):
        return raw
    if not isinstance(raw, Mapping):
        raise ContractViolation("qc_gate must be an object with passed, score, blockers")
    _check_keys(raw, QCGate, "qc_gate")
    lists = {name: tuple(raw.get(name, ())) for name in ("blockers", "warnings")}
    layers = {name: LayerStatus(status) for name, status in dict(raw.get("layers", {})).items()}
    return QCGate(**{**raw, **lists, "layers": layers})


def _data(raw: Mapping[str, Any]) -> TrainingData:
    _check_keys(raw, TrainingData, "data")
    lists = {name: tuple(raw[name]) for name in ("features", "segments", "period") if name in raw}
    return TrainingData(**{**raw, **lists})


def _check_keys(raw: Mapping[str, Any], kind: type[Any], where: str) -> None:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in raw:
        if key not in fields:
            raise ContractViolation(f"unknown key '{key}' in the {where}; {nearest_names(str(key), fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in raw:
            raise ContractViolation(f"the {where} needs '{name}'")


def _check(request: SelectRequest) -> None:
    if not request.experiment_id.strip() or len(request.experiment_id) > LONGEST_NAME:
        raise ContractViolation(f"experiment_id must be 1 to {LONGEST_NAME} characters")
    for name in _LISTS:
        if isinstance(getattr(request, name), str):
            raise ContractViolation(f"{name} must be a list of algorithms")
        for algorithm in getattr(request, name):
            known(algorithm)
    if both := sorted(set(request.include) & set(request.exclude)):
        raise ContractViolation(f"'{both[0]}' is both included and excluded; decide for one")
    for name in ("latency_budget_ms", "memory_gb", "n_samples", "n_features", "max_benchmark_rows"):
        value = getattr(request, name)
        if value is not None and not (isinstance(value, int | float) and value > 0):
            raise ContractViolation(f"{name} must be a number above 0")
    if request.data is not None and not request.data.features:
        raise ContractViolation("data.features is empty; name the columns to predict from")
