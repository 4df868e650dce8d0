"""Record the choice and its reasons in MLflow."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.registry import PROFILES
from src.agents.ml_foundation.model_selector.result import Rationale
from src.agents.ml_foundation.model_selector.services import PLACE, services_of
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.mlflow.values import without_prefix
from src.mlops.mlflow_connector import MLflowConnector, MLflowRun

RATIONALE_FILE, ALTERNATIVES_FILE = "selection_rationale.txt", "alternatives_considered.json"


@traced_node(PLACE, "register_mlflow")
async def register_mlflow(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """The run's id. While the store is away the run waits in the spool: there is no id, and the result is degraded."""
    connector = services_of(runtime.context).connector
    if connector is None or not connector.enabled:
        return {"run_id": None, "degraded": ("MLflow: no store is configured; the selection is not recorded",)}
    run = await record_selection(connector, state)
    if run.persisted:
        return {"run_id": run.run_id}
    return {"run_id": None, "degraded": ("MLflow: the store is away; the selection waits in the spool",)}


async def record_selection(connector: MLflowConnector, state: SelectState) -> MLflowRun:
    """One run ``model_selection_<algorithm>`` in the experiment ``<prefix>_model_selection_<id>``."""
    request, primary = state["request"], state["primary"]
    name = without_prefix(request.experiment_id, connector.experiment_prefix)
    experiment = await connector.get_or_create_experiment(f"model_selection_{name}")
    await connector.end_abandoned_runs(experiment)
    tags = {
        "agent": PLACE,
        "algorithm": primary.algorithm,
        "family": primary.family,
        "problem_type": request.problem_type.value,
        "kpi_category": request.kpi_category,
    }
    async with connector.start_run(experiment, run_name=f"model_selection_{primary.algorithm}", tags=tags) as run:
        await run.log_params(parameters(state))
        await run.log_metrics(metrics(state))
        await _log_files(run, state)
    return run


def parameters(state: SelectState) -> dict[str, Any]:
    """The default parameters of the choice, and what it is."""
    primary = state["primary"]
    defaults = {f"default_{name}": value for name, value in primary.default_params.items()}
    return {"algorithm": primary.algorithm, "class_path": primary.class_path, **defaults}


def metrics(state: SelectState) -> dict[str, float]:
    """Score, profile, and what was measured; a figure that was not measured is left out."""
    primary = state["primary"]
    profile = PROFILES[primary.algorithm]
    measured = next((one for one in state.get("benchmark", ()) if one.algorithm == primary.algorithm), None)
    baseline = state.get("baseline")
    history = state.get("history", {}).get(primary.algorithm)
    found: Mapping[str, float | None] = {
        "selection_score": primary.score,
        "interpretability_score": profile.interpretability,
        "scalability_score": profile.scalability,
        "latency_ms": profile.latency_ms,
        "memory_gb": profile.memory_gb,
        "benchmark_cv_mean": measured.mean if measured is not None else None,
        "benchmark_cv_sd": measured.sd if measured is not None else None,
        "benchmark_seconds": measured.seconds if measured is not None else None,
        "baseline_to_beat": baseline.to_beat if baseline is not None else None,
        "history_n": float(history.n) if history is not None else None,
        "history_success_rate": history.success_rate if history is not None else None,
    }
    return {name: value for name, value in found.items() if value is not None}


async def _log_files(run: MLflowRun, state: SelectState) -> None:
    with tempfile.TemporaryDirectory(prefix="e2i-selection-") as folder:
        rationale, alternatives = Path(folder) / RATIONALE_FILE, Path(folder) / ALTERNATIVES_FILE
        rationale.write_text(rationale_text(state["rationale"]), "utf-8")
        alternatives.write_text(json.dumps(alternatives_json(state), indent=1, sort_keys=True) + "\n", "utf-8")
        await run.log_artifact(rationale)
        await run.log_artifact(alternatives)


def rationale_text(rationale: Rationale) -> str:
    """The reasons for people."""
    lines = [rationale.primary_reason, *(f"- {reason}" for reason in rationale.supporting)]
    asked = [f"- {name}: {how}" for name, how in rationale.constraints.items()]
    return "\n".join([*lines, *(["Asked for:", *asked] if asked else [])]) + "\n"


def alternatives_json(state: SelectState) -> dict[str, Any]:
    """Every algorithm that was not chosen: its score, what was measured, or why it was out of the question."""
    measured = {one.algorithm: one for one in state.get("benchmark", ())}
    considered = [
        {
            "algorithm": other.algorithm,
            "family": other.family,
            "score": other.score,
            "benchmark_mean": measured[other.algorithm].mean if other.algorithm in measured else None,
            "benchmark_error": measured[other.algorithm].error if other.algorithm in measured else None,
        }
        for other in state["alternatives"]
    ]
    return {"chosen": state["primary"].algorithm, "considered": considered, "removed": dict(state["removed"])}
