"""What is asked of model_selector? Requests come typed or as JSON; both are checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from src.agents.ml_foundation.model_selector.registry import known
from src.agents.ml_foundation.model_selector.result import SelectRequest
from src.agents.requests import check_keys, data_of, gate_of, require_name
from src.domain.modelling import ProblemType
from src.errors import ContractViolation, nearest_names

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
    check_keys(raw, SelectRequest, "request")
    kinds = [kind.value for kind in ProblemType]
    if raw["problem_type"] not in kinds:
        raise ContractViolation(
            f"unknown problem_type '{raw['problem_type']}'; {nearest_names(str(raw['problem_type']), kinds)}"
        )
    given = {**raw, "problem_type": ProblemType(raw["problem_type"]), "qc_gate": gate_of(raw["qc_gate"])}
    given |= {name: tuple(raw[name]) for name in _LISTS if isinstance(raw.get(name), list | tuple)}
    if raw.get("data") is not None:
        given["data"] = data_of(raw["data"])
    return SelectRequest(**given)


def _check(request: SelectRequest) -> None:
    require_name(request.experiment_id, "experiment_id")
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
