"""Which estimators were compared for an experiment, and how does each usually do?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from src.storage.experiments import TABLE as EXPERIMENTS
from src.storage.experiments import ExperimentRepository
from src.storage.gateway import Op, OrderBy, Row, TableGateway, Where

TABLE = "estimator_evaluations"
PERFORMANCE = "v_estimator_performance"


class EstimatorEvaluationRepository:
    """Writes and reads ``estimator_evaluations``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway
        self._experiments = ExperimentRepository(gateway)

    async def ensure_experiment(
        self,
        name: str,
        *,
        mlflow_experiment_id: str | None,
        prediction_target: str,
        brand: str | None,
        region: str | None,
    ) -> str:
        """Id of the ``ml_experiments`` row of an experiment of MLflow, made where there is none.

        Raises ContractViolation when that experiment has another target, brand or region.
        """
        return await self._experiments.ensure(
            name,
            mlflow_experiment_id=mlflow_experiment_id,
            prediction_target=prediction_target,
            brand=brand,
            region=region,
        )

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
        """Store one row per estimator that was tried; all or none."""
        return await self._gateway.insert(TABLE, rows)

    async def of_experiment(self, experiment_name: str) -> list[Row]:
        """Evaluations of all experiments of that name, newest first, the selected one of a run before the others."""
        found = await self._gateway.select(
            EXPERIMENTS, columns=["id"], where=[Where("experiment_name", experiment_name)]
        )
        if not found:
            return []
        ids = [row["id"] for row in found]
        order = [OrderBy("created_at", True), OrderBy("selected", True), OrderBy("energy_score"), OrderBy("estimator")]
        return await self._gateway.select(TABLE, where=[Where("experiment_id", ids, Op.IN)], order_by=order)

    async def performance(self) -> list[Row]:
        """One row per estimator: evaluations, times selected, failures, mean energy score and error; by name."""
        return await self._gateway.select(PERFORMANCE, order_by=[OrderBy("estimator")])
