"""How do the candidates do on the training rows themselves?"""

from __future__ import annotations

import asyncio
import time

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_selector.cross_validation import (
    Fold,
    cross_validated,
    folds_of,
    without_features,
)
from src.agents.ml_foundation.model_selector.result import Benchmark, SelectRequest
from src.agents.ml_foundation.model_selector.services import PLACE, Services, services_of, training_rows
from src.agents.ml_foundation.model_selector.state import SelectState, SelectUpdate
from src.agents.runtime import Deps, traced_node
from src.agents.training_rows import SplitRows

# Of the node's budget; the rest is for the fit that is running when it is used up.
SHARE_OF_BUDGET = 0.7


@traced_node(PLACE, "run_benchmarks")
async def run_benchmarks(state: SelectState, runtime: Runtime[Deps]) -> SelectUpdate:
    """Cross-validation of every candidate, the best ranked first, on training rows only, as long as there is time."""
    request, deps = state["request"], runtime.context
    rows = await training_rows(deps, request)
    if rows is None:
        return {"benchmark": (), "warnings": ("benchmarks were skipped: the request names no data",)}
    budget = deps.node_timeouts.get("run_benchmarks")
    deadline = None if budget is None else time.monotonic() + SHARE_OF_BUDGET * budget
    names = [candidate.algorithm for candidate in state["ranked"]]
    found, floor = await asyncio.to_thread(_measured, services_of(deps), request, rows, names, deadline)
    failed = tuple(f"benchmark of {one.algorithm}: {one.error}" for one in found if one.error is not None)
    return {"benchmark": found, "floor": floor, "warnings": failed}


def _measured(
    services: Services, request: SelectRequest, rows: SplitRows, names: list[str], deadline: float | None
) -> tuple[tuple[Benchmark, ...], float]:
    assert request.data is not None
    metric = services.config.metrics.of(request.problem_type)
    folds = folds_of(
        rows,
        request.data,
        request.problem_type,
        folds=services.config.cv_folds,
        max_rows=request.max_benchmark_rows,
        random_state=request.random_state,
    )
    found = tuple(_one(name, metric, folds, services, request, deadline) for name in names)
    return found, without_features(request.problem_type, metric, folds)


def _one(
    name: str,
    metric: str,
    folds: tuple[Fold, ...],
    services: Services,
    request: SelectRequest,
    deadline: float | None,
) -> Benchmark:
    return cross_validated(
        name,
        request.problem_type,
        metric,
        folds,
        services.fit,
        random_state=request.random_state,
        deadline=deadline,
    )
