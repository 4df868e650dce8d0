"""Which trainings ran, with which numbers, and how often does an algorithm come to its end?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import ContractViolation
from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import Json

TABLE = "ml_training_runs"
HISTORY = "v_training_history"
RUNNING = "running"
ENDINGS = ("completed", "failed", "cancelled")
METRICS = ("train_metrics", "validation_metrics", "test_metrics")


@dataclass(frozen=True, slots=True)
class TrainingRun:
    """One training. Metrics by name, of each split; empty where the training did not come to them."""

    id: str
    experiment_id: str
    model_registry_id: str | None
    run_name: str
    mlflow_run_id: str | None
    algorithm: str
    hyperparameters: Json
    training_samples: int
    validation_samples: int | None
    test_samples: int | None
    feature_names: list[str] | None
    train_metrics: dict[str, float]
    validation_metrics: dict[str, float]
    test_metrics: dict[str, float]
    status: str
    error_type: str | None
    error_message: str | None
    started_at: datetime
    completed_at: datetime | None
    duration_seconds: float | None
    optuna_study_name: str | None
    optuna_trial_number: int | None
    is_best_trial: bool | None


@dataclass(frozen=True, slots=True)
class TrainingCounts:
    """Trainings of an algorithm by how they ended; cancelled ones say nothing of it."""

    completed: int
    failed: int

    @property
    def success_rate(self) -> float | None:
        """Share that completed, None without any."""
        total = self.completed + self.failed
        return self.completed / total if total else None


class TrainingRunRepository:
    """Writes and reads ``ml_training_runs``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def begin(self, row: Mapping[str, Any]) -> None:
        """Record a training that runs from now on; ``add`` under the same ``id`` records its end in that row."""
        await self._gateway.insert(TABLE, [{**row, "status": RUNNING}])

    async def running(self, experiment_id: str) -> list[tuple[str, str]]:
        """Trainings of an experiment that are called running: their ids, and those of their runs in MLflow."""
        where = [Where("experiment_id", experiment_id), Where("status", RUNNING)]
        rows = await self._gateway.select(TABLE, where=where, order_by=[OrderBy("started_at")])
        return [(str(row["id"]), row["mlflow_run_id"]) for row in rows if row["mlflow_run_id"] is not None]

    async def end_abandoned(
        self, training_run_id: str, status: str, at: datetime, error_type: str | None, message: str
    ) -> None:
        """Say how a training ended that did not come to say so itself; one that did meanwhile stays as it is."""
        where = [Where("id", training_run_id), Where("status", RUNNING)]
        for row in await self._gateway.select(TABLE, where=where):
            ended = max(at, row["started_at"])
            lasted = (ended - row["started_at"]).total_seconds()
            times = {"completed_at": ended, "duration_seconds": lasted}
            told = {"status": status, "error_type": error_type, "error_message": message}
            await self._gateway.update(TABLE, {**told, **times}, where=where)

    async def add(self, row: Mapping[str, Any]) -> str:
        """Record a training that has ended and return its id; keys are columns of the table.

        With an ``id`` of the caller's, recording it again changes that one row. Raises ContractViolation for a
        status other than completed, failed or cancelled, a completed one without its metrics, or an unknown key.
        """
        if row.get("status") not in ENDINGS:
            raise ContractViolation(f"a training ends as {', '.join(ENDINGS)}, not as '{row.get('status')}'")
        if row["status"] == "completed" and (missing := [name for name in METRICS if not row.get(name)]):
            raise ContractViolation(f"a completed training without {missing[0]} cannot be recorded")
        if row.get("id") is None:
            stored = await self._gateway.insert(TABLE, [{key: row[key] for key in row if key != "id"}])
        else:
            stored = await self._gateway.upsert(TABLE, [row], on_conflict=["id"])
        return str(stored[0]["id"])

    async def get(self, training_run_id: str) -> TrainingRun | None:
        """The training of that id; None when there is none."""
        rows = await self._gateway.select(TABLE, where=[Where("id", training_run_id)])
        return _training(rows[0]) if rows else None

    async def of_mlflow(self, mlflow_run_id: str) -> TrainingRun | None:
        """The training that logged to that run of MLflow; None when there is none."""
        rows = await self._gateway.select(TABLE, where=[Where("mlflow_run_id", mlflow_run_id)])
        return _training(rows[0]) if rows else None

    async def recent(self, *, experiment_id: str | None = None, limit: int = 50) -> list[TrainingRun]:
        """The latest trainings (of one experiment, where given), newest first."""
        where = [Where("experiment_id", experiment_id)] if experiment_id is not None else []
        rows = await self._gateway.select(TABLE, where=where, order_by=[OrderBy("started_at", True)], limit=limit)
        return [_training(row) for row in rows]

    async def link_model(self, training_run_id: str, model_registry_id: str) -> None:
        """Say which registered model a training gave. Raises ContractViolation when either does not exist."""
        await self._link(training_run_id, {"model_registry_id": model_registry_id})

    async def link_mlflow_run(self, training_run_id: str, mlflow_run_id: str) -> None:
        """Say to which run of MLflow a training was logged, once it is out of the spool."""
        await self._link(training_run_id, {"mlflow_run_id": mlflow_run_id})

    async def history(self, algorithm: str | None = None) -> dict[str, TrainingCounts]:
        """How trainings ended, by algorithm (or of one); an algorithm never trained is not there."""
        where = [Where("algorithm", algorithm)] if algorithm is not None else []
        rows = await self._gateway.select(HISTORY, where=where, order_by=[OrderBy("algorithm")])
        return {row["algorithm"]: TrainingCounts(row["completed"], row["failed"]) for row in rows}

    async def _link(self, training_run_id: str, values: Row) -> None:
        if not await self._gateway.update(TABLE, values, where=[Where("id", training_run_id)]):
            raise ContractViolation(f"no training '{training_run_id}' is recorded")


def _training(row: Row) -> TrainingRun:
    return TrainingRun(**{field.name: row[field.name] for field in dataclasses.fields(TrainingRun)})
