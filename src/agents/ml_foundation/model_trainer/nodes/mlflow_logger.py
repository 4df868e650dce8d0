"""Put everything that is known of the model into its run: parameters, metrics, artifacts and the model itself."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.importance import importance_of
from src.agents.ml_foundation.model_trainer.result import ModelRef
from src.agents.ml_foundation.model_trainer.rows import ROUNDS_USED
from src.agents.ml_foundation.model_trainer.services import Training, made, services_of, training_of
from src.agents.ml_foundation.model_trainer.state import TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.ml_foundation.model_trainer.tracking import WAITING
from src.agents.runtime import Deps
from src.mlops.mlflow.results import LoggedModel
from src.mlops.modelling.bundle import BUNDLE_FLAVOR
from src.resilience.outcomes import Unavailable

if TYPE_CHECKING:
    from src.mlops.mlflow.runs import MLflowRun

MODEL = "model"
# A column may be called what no metric of the store can be.
_NOT_IN_A_NAME = re.compile(r"[^\w\-. :]")


@step("log_to_mlflow")
async def log_to_mlflow(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """What the store cannot take now waits in the spool: the model is then not persisted, and the result says so.

    Raises StoreRefused when MLflow says no.
    """
    training = training_of(runtime.context)
    if training.run is None:
        wanted = state["request"].enable_mlflow and services_of(runtime.context).connector is None
        return {"model_ref": None, "degraded": ("mlflow: there is no connection, and nothing was logged",) * wanted}
    run = training.run.run
    await run.log_params(params_of(state))
    await run.log_metrics(metrics_of(state))
    await run.set_tags(tags_of(state))
    await _log_artifacts(run, training, state)
    stored = await _log_model(run, training)
    persisted = isinstance(stored, LoggedModel) and run.persisted
    reference = ModelRef(stored.uri if isinstance(stored, LoggedModel) else None, run.run_id, persisted)
    return {"model_ref": reference, "degraded": () if persisted else (_missing(run, stored),)}


def params_of(state: TrainState) -> dict[str, Any]:
    """``hp_<name>`` of everything the model was made with, and what else tells two trainings apart.

    ``hp_rounds_used``: boosting rounds or trees that predictions use, which early stopping makes fewer.
    """
    request, trained = state["request"], state["trained"]
    return {
        **{f"hp_{name}": value for name, value in trained.params.items()},
        **({} if trained.rounds is None else {f"hp_{ROUNDS_USED}": trained.rounds}),
        "algorithm": trained.algorithm,
        "problem_type": str(request.problem_type),
        "optimised_metric": state["metric"],
        "n_features": len(state["feature_names"]),
        "balanced": trained.balanced,
        "random_state": request.random_state,
        **({"threshold": trained.threshold} if trained.threshold is not None else {}),
    }


def metrics_of(state: TrainState) -> dict[str, float]:
    """``<split>_<metric>`` and rows of every split, interval bounds, ``test_fairness_gap_<column>``, and
    ``primary_metric``, that of the test split.
    """
    found, metric = state["evaluation"], state["metric"]
    named = {f"{split}_{name}": value for split, metrics in found.metrics.items() for name, value in metrics.items()}
    bounds = {
        f"test_{name}_{end}": value
        for name, interval in found.intervals.items()
        for end, value in zip(("low", "high"), interval, strict=True)
    }
    rows = {f"{split}_samples": float(n) for split, n in state["split_counts"].items()}
    gaps = {f"test_fairness_gap_{_NOT_IN_A_NAME.sub('_', name)}": gap for name, gap in found.fairness_gap.items()}
    primary = found.metrics["test"].get(metric)
    return named | bounds | rows | gaps | ({} if primary is None else {"primary_metric": primary})


def tags_of(state: TrainState) -> dict[str, str]:
    """Where the numbers come from: the rows' hash and the study."""
    summary, found = state["hpo"], state["evaluation"]
    told = {
        "data_sha256": state["loaded"].fingerprint,
        "primary_metric_name": state["metric"],
        "study_name": summary.study_name if summary is not None else None,
        "best_trial": str(summary.best_trial) if summary is not None else None,
        "criteria_met": None if found.criteria_met is None else str(found.criteria_met).lower(),
    }
    return {name: value for name, value in told.items() if value is not None}


async def _log_artifacts(run: MLflowRun, training: Training, state: TrainState) -> None:
    documents = await asyncio.to_thread(_documents, training, state)
    with tempfile.TemporaryDirectory(prefix="e2i-evaluation-") as folder:
        for name, document in documents.items():
            file = Path(folder) / name
            file.write_text(json.dumps(document, indent=2, ensure_ascii=False), "utf-8")
            await run.log_artifact(file)


def _documents(training: Training, state: TrainState) -> dict[str, Any]:
    found = state["evaluation"]
    importance = importance_of(made(training.model, "the model"), training.labelled["train"].X)
    files: dict[str, Any] = {
        "feature_importance.json": asdict(importance),
        "evaluation_summary.json": {
            **asdict(found),
            "primary_metric": state["metric"],
            "threshold": state["trained"].threshold,
            "balanced": state["trained"].balanced,
            "split_counts": state["split_counts"],
            "success_criteria": dict(state["request"].success_criteria),
            "warnings": list(state.get("warnings", ())),
        },
    }
    if found.confusion:
        files["confusion_matrix.json"] = {
            "classes": list(state["classes"]),
            "rows": "true",
            "columns": "predicted",
            "matrix": found.confusion,
            "threshold": state["trained"].threshold,
            "split": "test",
        }
    return files


async def _log_model(run: MLflowRun, training: Training) -> Any:
    bundle = made(training.bundle, "the model's bundle")
    return await run.log_model(bundle, MODEL, BUNDLE_FLAVOR, input_example=bundle.example())


def _missing(run: MLflowRun, stored: Any) -> str:
    if isinstance(stored, Unavailable) or run.lost:
        reason = stored.reason if isinstance(stored, Unavailable) else "the spool took only a part"
        return f"mlflow: the model was not kept: {reason}"
    return WAITING
