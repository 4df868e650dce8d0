"""How is a request read that came as JSON? What all agents ask of one, checked before anything is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from src.agents.quality_gate import LayerStatus, QCGate
from src.domain.modelling import TrainingData
from src.errors import ContractViolation, nearest_names

LONGEST_NAME = 200

Kind = TypeVar("Kind")


def check_keys(raw: Mapping[str, Any], kind: type[Any], where: str) -> None:
    """Raise ContractViolation for a key that ``kind`` does not have, and for one without default that is missing."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for key in raw:
        if key not in fields:
            raise ContractViolation(f"unknown key '{key}' in the {where}; {nearest_names(str(key), fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in raw:
            raise ContractViolation(f"the {where} needs '{name}'")


def require_text(value: Any, name: str) -> None:
    """Raise ContractViolation for what is no text, or an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise ContractViolation(f"{name} must be a text that is not empty")


def require_name(value: Any, name: str) -> None:
    """Raise ContractViolation for what is no text, an empty one or one of more than 200 characters."""
    require_text(value, name)
    if len(value) > LONGEST_NAME:
        raise ContractViolation(f"{name} is longer than {LONGEST_NAME} characters; choose a shorter name")


def part_of(raw: Any, kind: type[Kind], where: str, *, sequences: tuple[str, ...] = ()) -> Kind:
    """A part of a request, typed or as an object whose ``sequences`` are lists. Raises ContractViolation."""
    if isinstance(raw, kind):
        return raw
    if not isinstance(raw, Mapping):
        raise ContractViolation(f"{where} must be an object")
    check_keys(raw, kind, where)
    for name in sequences:
        if name in raw and not isinstance(raw[name], list | tuple):
            raise ContractViolation(f"{where}.{name} must be a list")
    return kind(**{key: tuple(value) if key in sequences else value for key, value in raw.items()})


def gate_of(raw: Any) -> QCGate:
    """The gate of a request. Raises ContractViolation, also for a layer that is neither passed, failed nor skipped."""
    if isinstance(raw, Mapping) and isinstance(raw.get("layers"), Mapping):
        for name, status in raw["layers"].items():
            if status not in list(LayerStatus):
                known = nearest_names(str(status), list(LayerStatus))
                raise ContractViolation(f"there is no layer '{name}' '{str(status)[:80]}'; {known}")
        raw = {**raw, "layers": {str(name): LayerStatus(status) for name, status in raw["layers"].items()}}
    return part_of(raw, QCGate, "qc_gate", sequences=("blockers", "warnings"))


def data_of(raw: Any) -> TrainingData:
    """The rows a request names. Raises ContractViolation."""
    return part_of(raw, TrainingData, "data", sequences=("features", "segments", "period"))
