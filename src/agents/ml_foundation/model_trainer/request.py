"""What is asked of model_trainer? Requests come typed or as JSON; both are checked before anything is read."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Any

from src.agents.ml_foundation.model_trainer.result import TrainRequest
from src.agents.quality_gate import QCGate
from src.agents.requests import check_keys, data_of, gate_of, part_of, require_name, require_text
from src.contracts.enums import Brand, Region
from src.domain.modelling import Candidate, ProblemType, TrainingData
from src.errors import ContractViolation, nearest_names
from src.mlops.modelling.metrics import DIRECTIONS, METRICS, searchable

MOST_TRIALS = 10_000
MOST_WORKERS = 64


def request_from(raw: TrainRequest | Mapping[str, Any]) -> TrainRequest:
    """Accept a request or its JSON form, ``candidate``, ``qc_gate`` and ``data`` typed or as objects.

    Raises ContractViolation for an unknown or missing key, a value of the wrong kind or out of its range, a
    metric that the problem does not have or no search can go by, a target among the features, a gate that
    contradicts itself, and an effect as problem.
    """
    if isinstance(raw, TrainRequest):
        return _checked(raw)
    parts: Mapping[str, Callable[[Any], Any]] = {
        "candidate": _candidate,
        "qc_gate": gate_of,
        "data": data_of,
        "problem_type": _problem,
    }
    check_keys(raw, TrainRequest, "request")
    return _checked(TrainRequest(**{key: parts[key](value) if key in parts else value for key, value in raw.items()}))


def _candidate(raw: Any) -> Candidate:
    return part_of(raw, Candidate, "candidate")


def _problem(raw: Any) -> ProblemType:
    return ProblemType(_word(raw, ProblemType, "problem_type"))


def _checked(request: TrainRequest) -> TrainRequest:
    _check_kinds(request)
    require_name(request.experiment_id, "experiment_id")
    if request.problem_type is ProblemType.EFFECT:
        raise ContractViolation("the effect of a treatment is estimated, not trained: use causal_impact (e2i effect)")
    _check_gate(request.qc_gate)
    _check_numbers(request)
    _check_metrics(request)
    if request.resume_study is not None:
        require_text(request.resume_study, "resume_study")
        if not request.enable_hpo:
            raise ContractViolation("resume_study goes on with a search: leave enable_hpo true")
    return dataclasses.replace(request, data=_checked_data(request.data))


def _check_kinds(request: TrainRequest) -> None:
    kinds = {"candidate": Candidate, "qc_gate": QCGate, "data": TrainingData, "problem_type": ProblemType}
    for name, kind in kinds.items():
        if not isinstance(getattr(request, name), kind):
            raise ContractViolation(f"{name} must be a {kind.__name__}")
    require_text(request.candidate.algorithm, "candidate.algorithm")
    for name in ("default_params", "search_space"):
        _require_named(getattr(request.candidate, name), f"candidate.{name}")
    for name, part in request.candidate.search_space.items():
        _require_named(part, f"candidate.search_space.{name}")
    for name in ("enable_hpo", "early_stopping", "enable_mlflow", "enable_checkpointing"):
        if not isinstance(getattr(request, name), bool):
            raise ContractViolation(f"{name} must be true or false")


def _check_gate(gate: QCGate) -> None:
    """A layer that did not run is no contradiction: its data may pass elsewhere, and is refused by the gate's node."""
    if not isinstance(gate.passed, bool):
        raise ContractViolation(f"qc_gate.passed is {str(gate.passed)[:80]!r}; it must be true or false")
    if not isinstance(gate.layers, Mapping):
        raise ContractViolation("qc_gate.layers must be an object: layer → passed, failed or skipped")
    for name in ("blockers", "warnings"):
        _check_lines(getattr(gate, name), f"qc_gate.{name}")
    against = [*gate.blockers, *(f"layer {name} failed" for name, how in gate.layers.items() if how == "failed")]
    if gate.passed and against:
        raise ContractViolation(f"qc_gate contradicts itself: passed is true, and yet {against[0]}; take it as it came")


def _check_lines(lines: Any, where: str) -> None:
    if not isinstance(lines, list | tuple) or not all(isinstance(line, str) for line in lines):
        raise ContractViolation(f"{where} must be a list of texts")


def _check_numbers(request: TrainRequest) -> None:
    for name, most in (("hpo_trials", MOST_TRIALS), ("workers", MOST_WORKERS)):
        if not _whole(value := getattr(request, name)) or not 1 <= value <= most:
            raise ContractViolation(f"{name} is {value!r}; it must be a whole number from 1 to {most:,}")
    seed = request.random_state
    if not _whole(seed) or not 0 <= seed < 2**31:
        raise ContractViolation(f"random_state is {seed!r}; it must be a whole number from 0 to 2^31 − 1")
    limit = request.hpo_timeout_s
    if limit is not None and not (_number(limit) and limit > 0):
        raise ContractViolation(f"hpo_timeout_s is {limit!r}; it must be seconds above 0")


def _check_metrics(request: TrainRequest) -> None:
    known = [name for name in METRICS[request.problem_type] if name in DIRECTIONS]
    if request.metric is not None:
        _require_metric(request.metric, known, request.problem_type, "metric")
        if request.enable_hpo:
            searchable(request.metric, request.problem_type)
    if not isinstance(request.success_criteria, Mapping):
        raise ContractViolation("success_criteria must be an object: metric → bound")
    for name, bound in request.success_criteria.items():
        _require_metric(name, known, request.problem_type, "success_criteria")
        if not _number(bound):
            raise ContractViolation(f"success_criteria.{name} is {bound!r}; it must be a number")


def _require_metric(name: Any, known: Sequence[str], problem_type: ProblemType, where: str) -> None:
    if name not in known:
        raise ContractViolation(
            f"{where}: a {problem_type} model has no metric '{str(name)[:80]}'; {nearest_names(str(name), known)}"
        )


def _checked_data(data: TrainingData) -> TrainingData:
    require_text(data.dataset_id, "data.dataset_id")
    require_text(data.target, "data.target")
    if not data.features:
        raise ContractViolation("data.features is empty; name at least one column")
    for name in (*data.features, *data.segments):
        require_text(name, "data.features and data.segments")
    if data.target in data.features:
        raise ContractViolation(f"the target '{data.target}' is among the features; leave it out")
    _check_period(data.period)
    if data.brand is not None:
        _word(data.brand, Brand, "brand")
    if data.region is not None:
        _word(data.region, Region, "region")
    return dataclasses.replace(data, features=_once(data.features), segments=_once(data.segments))


def _check_period(period: Any) -> None:
    """Two days (the first and the last) or None for an open end."""
    if not isinstance(period, tuple | list) or len(period) != 2:
        raise ContractViolation("data.period must be two days like 2024-01-31, or null for an open end")
    for end in period:
        try:
            if end is not None:
                date.fromisoformat(end)
        except (TypeError, ValueError) as error:
            raise ContractViolation(f"data.period: {str(end)[:80]!r} is no day like 2024-01-31") from error


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _require_named(value: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise ContractViolation(f"{name} must be an object: name → value")


def _word(value: Any, words: type[StrEnum], name: str) -> StrEnum:
    if value not in list(words):
        raise ContractViolation(f"there is no {name} '{str(value)[:80]}'; {nearest_names(str(value), list(words))}")
    return words(value)
