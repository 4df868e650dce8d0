"""How did earlier trainings of each algorithm end?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.registry import PROFILES
from src.agents.ml_foundation.model_selector.result import AlgorithmHistory
from src.agents.ml_foundation.model_selector.services import PLACE, Services, services_of
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.mlops.mlflow_connector import MLflowConnector, RunInfo, RunStatus
from src.resilience.outcomes import Unavailable

# Trainings looked at, the newest first.
MOST_RUNS = 1_000
TRAINER = "model_trainer"
_ENDED = {RunStatus.FINISHED: True, RunStatus.FAILED: False}


@traced_node(PLACE, "analyze_historical")
async def analyze_historical(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """Share of trainings that completed, from the database and from runs of MLflow that it does not have.

    An algorithm that was never trained has ``n`` = 0 and no rate.
    """
    services = services_of(runtime.context)
    completed, failed = await _recorded(services)
    runs, degraded = await _only_in_mlflow(services)
    for name, success in _endings(runs):
        (completed if success else failed)[name] += 1
    history = {name: _history(completed[name], failed[name]) for name in PROFILES}
    return {"history": history, "degraded": degraded}


async def _recorded(services: Services) -> tuple[Counter[str], Counter[str]]:
    counts = await services.trainings.history() if services.trainings is not None else {}
    completed = Counter({name: count.completed for name, count in counts.items()})
    return completed, Counter({name: count.failed for name, count in counts.items()})


async def _only_in_mlflow(services: Services) -> tuple[list[RunInfo], tuple[str, ...]]:
    if services.connector is None:
        return [], ()
    found = await _trainer_runs(services.connector)
    if isinstance(found, Unavailable):
        return [], (f"history: MLflow could not be asked ({found.reason})",)
    rows = await services.trainings.recent(limit=MOST_RUNS) if services.trainings is not None else []
    known = {row.mlflow_run_id for row in rows}
    return [run for run in found if run.run_id not in known], ()


async def _trainer_runs(connector: MLflowConnector) -> list[RunInfo] | Unavailable:
    """Finished and failed trainings; trials of a search lie below them and are none."""
    runs = await connector.search_runs(
        filter_string=f"tags.agent = '{TRAINER}'", order_by=["attributes.start_time DESC"], max_results=MOST_RUNS
    )
    if isinstance(runs, Unavailable):
        return runs
    return [run for run in runs if run.parent_run_id is None]


def _endings(runs: Iterable[RunInfo]) -> Iterable[tuple[str, bool]]:
    return [
        (run.tags["algorithm"], _ENDED[run.status])
        for run in runs
        if run.status in _ENDED and run.tags.get("algorithm") in PROFILES
    ]


def _history(completed: int, failed: int) -> AlgorithmHistory:
    n = completed + failed
    return AlgorithmHistory(n, completed / n if n else None)
