"""Which searches for hyperparameters ran, and what did each trial give?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import UnknownColumn
from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import Json

STUDIES, TRIALS = "ml_hpo_studies", "ml_hpo_trials"


@dataclass(frozen=True, slots=True)
class StoredTrial:
    """One finished trial; ``state`` is COMPLETE, PRUNED or FAIL, and only a complete one has a ``value``.

    ``intermediate_values``: step (as text) → metric.
    """

    trial_number: int
    state: str
    params: Json
    value: float | None
    intermediate_values: dict[str, float]
    started_at: datetime | None
    completed_at: datetime | None
    duration_seconds: float | None
    error_message: str | None
    attrs: Json


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """One search. ``status`` is running, completed or failed; ``n_trials`` = completed + pruned + failed."""

    id: str
    study_name: str
    experiment_id: str | None
    algorithm_name: str
    problem_type: str
    direction: str
    sampler_name: str | None
    pruner_name: str | None
    metric: str
    search_space: Json
    fixed_params: Json
    n_trials: int
    n_completed: int
    n_pruned: int
    n_failed: int
    best_trial_number: int | None
    best_value: float | None
    best_params: Json | None
    duration_seconds: float | None
    started_at: datetime
    completed_at: datetime | None
    status: str
    error_message: str | None


class HPORepository:
    """Writes and reads ``ml_hpo_studies`` and ``ml_hpo_trials``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def save_study(self, study: Mapping[str, Any], trials: Sequence[Mapping[str, Any]]) -> str:
        """Store a study and all its trials, or nothing, and return the study's id.

        Keys are columns of the two tables. What was stored of the study of that name before is replaced, unless it
        has more trials: then this save is an older one and changes nothing. A study never loses its experiment.
        Raises UnknownColumn, or ContractViolation for values that contradict one another, such as ``n_trials`` and
        the number of ``trials``.
        """
        document = _document(study, StoredStudy, STUDIES)
        rows = [_document(trial, StoredTrial, TRIALS) for trial in trials]
        return str(await self._gateway.call("save_hpo_study", {"study": document, "trials": rows}))

    async def study(self, name: str) -> StoredStudy | None:
        """The study of that name; None when none is stored."""
        rows = await self._gateway.select(STUDIES, where=[Where("study_name", name)])
        return StoredStudy(**{field.name: rows[0][field.name] for field in _fields(StoredStudy)}) if rows else None

    async def trials(self, study_id: str) -> list[StoredTrial]:
        """The trials of a study in order."""
        rows = await self._gateway.select(
            TRIALS, where=[Where("study_id", study_id)], order_by=[OrderBy("trial_number")]
        )
        return [StoredTrial(**{field.name: row[field.name] for field in _fields(StoredTrial)}) for row in rows]


def _document(values: Mapping[str, Any], record: type[StoredStudy | StoredTrial], table: str) -> Row:
    """A row as JSON; times become ISO 8601."""
    known = [field.name for field in _fields(record) if field.name != "id"]
    for name in values:
        if name not in known:
            raise UnknownColumn(name, known, role=f"column of {table}")
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _fields(record: type[StoredStudy | StoredTrial]) -> tuple[dataclasses.Field[Any], ...]:
    return dataclasses.fields(record)
