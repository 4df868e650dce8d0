"""Which experiments are there, and which row belongs to an experiment of MLflow?"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import UnknownColumn
from src.storage.gateway import OrderBy, Row, TableGateway, Where

TABLE = "ml_experiments"
DETAILS = (
    *("description", "target_population", "observation_window_days", "prediction_horizon_days", "minimum_auc"),
    *("minimum_precision_at_k", "maximum_fpr", "selection_strategy", "created_by"),
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """A row of ``ml_experiments``; ``mlflow_experiment_id`` is None until MLflow was reached."""

    id: str
    experiment_name: str
    mlflow_experiment_id: str | None
    prediction_target: str
    brand: str | None
    region: str | None
    created_at: datetime


class ExperimentRepository:
    """Writes and reads ``ml_experiments``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def ensure(
        self,
        name: str,
        *,
        mlflow_experiment_id: str | None,
        prediction_target: str,
        brand: str | None = None,
        region: str | None = None,
        **details: Any,
    ) -> str:
        """Id of the experiment of that name, made where there is none; trainings that do so at once get the same.

        ``details`` are other columns, used when the row is made. Raises ContractViolation when the experiment has
        another target, brand or region, or the MLflow experiment another name.
        """
        for detail in details:
            if detail not in DETAILS:
                raise UnknownColumn(detail, DETAILS, role=f"column of {TABLE}")
        given = {
            "experiment_name": name,
            "mlflow_experiment_id": mlflow_experiment_id,
            "prediction_target": prediction_target,
            "brand": brand,
            "region": region,
            **details,
        }
        return str(await self._gateway.call("ensure_ml_experiment", {"given": given}))

    async def get(self, name: str) -> Experiment | None:
        """The experiment of that name, the newest where MLflow made it anew; None when there is none."""
        rows = await self._gateway.select(
            TABLE, where=[Where("experiment_name", name)], order_by=[OrderBy("created_at", True)], limit=1
        )
        return _experiment(rows[0]) if rows else None

    async def of_mlflow(self, mlflow_experiment_id: str) -> Experiment | None:
        """The row of an experiment of MLflow; None when there is none."""
        rows = await self._gateway.select(TABLE, where=[Where("mlflow_experiment_id", mlflow_experiment_id)])
        return _experiment(rows[0]) if rows else None


def _experiment(row: Row) -> Experiment:
    return Experiment(**{field.name: row[field.name] for field in dataclasses.fields(Experiment)})
