"""Which versions of which models are registered, at which stage, and which one is the champion?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from src.errors import ContractViolation, ModelNotFound
from src.storage.gateway import OrderBy, Row, TableGateway, Where
from src.storage.records import Json

TABLE = "ml_model_registry"
_KEY = ("model_name", "model_version")
_BY_STAGE = ("stage", "is_champion", "promoted_at", "approved_by")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a model. The champion is the version in production; figures are those of the test split."""

    id: str
    experiment_id: str
    model_name: str
    model_version: str
    mlflow_run_id: str | None
    mlflow_model_uri: str | None
    algorithm: str
    hyperparameters: Json | None
    feature_count: int | None
    training_samples: int | None
    auc: float | None
    pr_auc: float | None
    brier_score: float | None
    calibration_slope: float | None
    fairness_metrics: Json | None
    stage: str
    is_champion: bool
    approved_by: str | None
    artifact_path: str | None
    trained_at: datetime | None
    registered_at: datetime
    promoted_at: datetime | None


@dataclass(frozen=True, slots=True)
class ModelOverview:
    """A model by name: how many versions it has, the newest, and the champion's version where there is one."""

    name: str
    versions: int
    newest: str
    champion: str | None


class ModelRegistryRepository:
    """Writes and reads ``ml_model_registry``."""

    def __init__(self, gateway: TableGateway) -> None:
        self._gateway = gateway

    async def register(
        self,
        model_name: str,
        version: int | str,
        *,
        experiment_id: str,
        algorithm: str,
        mlflow_run_id: str | None = None,
        mlflow_model_uri: str | None = None,
        **evidence: Any,
    ) -> str:
        """Record a version, in development, and return its row's id; again with the same run completes the row.

        ``evidence`` are other columns: hyperparameters, auc, brier_score, trained_at … Raises ContractViolation when
        the version belongs to another run (of several that register it at once, the first has it), or a stage is
        given, which ``move_stage`` alone sets.
        """
        if staged := [name for name in evidence if name in _BY_STAGE]:
            raise ContractViolation(f"'{staged[0]}' is set by moving the version to a stage")
        row = {
            **dict(zip(_KEY, (model_name, str(version)), strict=True)),
            "experiment_id": experiment_id,
            "algorithm": algorithm,
            "mlflow_run_id": mlflow_run_id,
            "mlflow_model_uri": mlflow_model_uri,
            **evidence,
        }
        return str((await self._gateway.upsert(TABLE, [row], on_conflict=_KEY))[0]["id"])

    async def move_stage(
        self,
        model_name: str,
        version: int | str,
        stage: str,
        *,
        approved_by: str | None = None,
        archive_existing: bool = True,
    ) -> RegisteredModel:
        """Move a version to a stage and return it; whoever reads meanwhile sees all of the change or nothing.

        The version in production is the champion. Staging, shadow and production hold one version each: what was
        there is archived (without ``archive_existing``: a champion is deprecated, others stay). Whether a move is
        allowed is not asked here. Raises ModelNotFound.
        """
        await self.version(model_name, version)
        arguments = {
            "name": model_name,
            "version": str(version),
            "to_stage": stage,
            "approver": approved_by,
            "archive_existing": archive_existing,
        }
        (row,) = await self._gateway.call("move_model_stage", arguments)
        return _model(row)

    async def version(self, model_name: str, version: int | str) -> RegisteredModel:
        """One version. Raises ModelNotFound."""
        rows = await self._find(dict(zip(_KEY, (model_name, str(version)), strict=True)))
        if not rows:
            raise ModelNotFound(
                f"no version {version} of model '{model_name}' is registered; 'e2i models list' shows all"
            )
        return _model(rows[0])

    async def versions(self, model_name: str) -> list[RegisteredModel]:
        """All versions of a model, the last registered first; empty for an unknown model."""
        newest = [OrderBy("registered_at", True), OrderBy("created_at", True)]
        rows = await self._gateway.select(TABLE, where=[Where("model_name", model_name)], order_by=newest)
        return [_model(row) for row in rows]

    async def champion(self, model_name: str) -> RegisteredModel | None:
        """The version in production; None when there is none."""
        rows = await self._find({"model_name": model_name, "is_champion": True})
        return _model(rows[0]) if rows else None

    async def models(self) -> list[ModelOverview]:
        """Every model by name."""
        rows = await self._gateway.select(
            TABLE,
            columns=["model_name", "model_version", "is_champion"],
            order_by=[OrderBy("model_name"), OrderBy("registered_at", True), OrderBy("created_at", True)],
        )
        by_name: dict[str, list[Row]] = {}
        for row in rows:
            by_name.setdefault(row["model_name"], []).append(row)
        return [_overview(name, versions) for name, versions in by_name.items()]

    async def _find(self, values: Mapping[str, Any]) -> list[Row]:
        return await self._gateway.select(TABLE, where=[Where(column, value) for column, value in values.items()])


def _overview(name: str, newest_first: list[Row]) -> ModelOverview:
    champion = next((row["model_version"] for row in newest_first if row["is_champion"]), None)
    return ModelOverview(name, len(newest_first), newest_first[0]["model_version"], champion)


def _model(row: Row) -> RegisteredModel:
    return RegisteredModel(**{field.name: row[field.name] for field in dataclasses.fields(RegisteredModel)})
