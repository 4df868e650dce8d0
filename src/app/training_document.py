"""What does a program get of a training? One JSON document, with null for a step that was not reached."""

from __future__ import annotations

import dataclasses
from typing import Any

from src.agents.ml_foundation.feature_analyzer.result import AnalyzeResult
from src.agents.ml_foundation.model_deployer.result import DeployResult
from src.agents.ml_foundation.model_trainer.result import TrainResult
from src.app.training import Trained


def document(done: Trained) -> dict[str, Any]:
    """JSON form of a training; pictures are left out, the page of the model holds them."""
    order = dataclasses.asdict(done.order)
    return {
        "ok": done.ok,
        "problems": list(done.problems),
        "warnings": list(done.warnings),
        "order": {**order, "data": None if done.order.data is None else str(done.order.data)},
        "experiment": done.experiment,
        "dataset": {
            "dataset_id": done.dataset.dataset_id,
            "name": done.dataset.name,
            "content_sha256": done.dataset.content_sha256,
            "rows": done.dataset.n_rows,
        },
        "problem": str(done.columns.problem),
        "features": list(done.columns.features),
        "left_out": dict(done.columns.left_out),
        "prepared": done.prepared.document(),
        "selected": None if done.selected is None else dataclasses.asdict(done.selected),
        "trained": None if done.trained is None else _trained(done.trained),
        "analyzed": None if done.analyzed is None else _analyzed(done.analyzed),
        "registered": _deployed(done.registered),
        "promoted": _deployed(done.promoted),
        "card": None if done.card is None else str(done.card),
        "trace_id": done.trace_id,
    }


def _trained(result: TrainResult) -> dict[str, Any]:
    return dataclasses.asdict(result)


def _analyzed(result: AnalyzeResult) -> dict[str, Any]:
    return {**dataclasses.asdict(dataclasses.replace(result, plots={})), "plots": sorted(result.plots)}


def _deployed(result: DeployResult | None) -> dict[str, Any] | None:
    return None if result is None else dataclasses.asdict(result)
