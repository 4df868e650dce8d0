"""Rows of the model lifecycle as agents write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from src.storage.experiments import ExperimentRepository
from src.storage.gateway import TableGateway
from src.storage.model_registry import ModelRegistryRepository

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def experiment(gateway: TableGateway, name: str = "churn") -> str:
    return await ExperimentRepository(gateway).ensure(name, mlflow_experiment_id=None, prediction_target="churned")


def training(experiment_id: str, **values: Any) -> dict[str, Any]:
    return {
        "experiment_id": experiment_id,
        "run_name": "lightgbm_20260501",
        "algorithm": "lightgbm",
        "hyperparameters": {"num_leaves": 31},
        "training_samples": 300,
        "train_metrics": {"roc_auc": 0.9},
        "validation_metrics": {"roc_auc": 0.85},
        "test_metrics": {"roc_auc": 0.8, "f1": 0.7},
        "status": "completed",
        "started_at": NOW,
        "completed_at": NOW + timedelta(seconds=3),
    } | values


async def registered(gateway: TableGateway, *versions: int, name: str = "churn") -> ModelRegistryRepository:
    registry = ModelRegistryRepository(gateway)
    owner = await experiment(gateway)
    for version in versions:
        await registry.register(
            name, version, experiment_id=owner, algorithm="lightgbm", mlflow_run_id=f"run{version}", auc=0.8
        )
    return registry


def study(**values: Any) -> dict[str, Any]:
    return {
        "study_name": "e2i_churn_lightgbm",
        "algorithm_name": "lightgbm",
        "problem_type": "binary",
        "direction": "maximize",
        "metric": "roc_auc",
        "search_space": {"num_leaves": {"type": "int", "low": 2, "high": 64}},
        "n_trials": 2,
        "n_completed": 1,
        "n_failed": 1,
        "best_trial_number": 0,
        "best_value": 0.8,
        "best_params": {"num_leaves": 12},
        "started_at": NOW,
        "completed_at": NOW + timedelta(minutes=1),
        "status": "completed",
    } | values


def trials() -> list[dict[str, Any]]:
    return [
        {
            "trial_number": 0,
            "state": "COMPLETE",
            "params": {"num_leaves": 12},
            "value": 0.8,
            "intermediate_values": {"0": 0.7, "10": 0.8},
            "started_at": NOW,
            "completed_at": NOW + timedelta(seconds=2),
        },
        {"trial_number": 1, "state": "FAIL", "params": {"num_leaves": 3}, "error_message": "ValueError: no"},
    ]
