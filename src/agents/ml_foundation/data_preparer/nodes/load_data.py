"""Load the rows the request names, and settle which contract they must keep."""

from __future__ import annotations

import asyncio

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.services import FRAMES, PLACE, Frames
from src.agents.ml_foundation.data_preparer.source import filters_of, refuse_identifying, source_of
from src.agents.ml_foundation.data_preparer.state import LoadedData, PrepareState, PrepareUpdate
from src.agents.runtime import Deps, traced_node
from src.contracts.coercion import coerce_frame
from src.errors import ContractViolation, DataUnavailable, UnknownColumn


@traced_node(PLACE, "load_data")
async def load_data(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Rows after the scope's filters.

    Raises DatasetNotFound, DataUnavailable when no row is left, UnknownColumn for a target or a time of
    ``known_at`` that is not there, ContractViolation for a dataset without a contract, or features that
    identify somebody.
    """
    request, deps = state["request"], runtime.context
    dataset_id, table = source_of(request)
    refuse_identifying(request.scope, table)
    loaded = await deps.datasets.load(dataset_id, filters=filters_of(request.scope, table))
    if loaded.frame.empty:
        raise DataUnavailable(f"{request.data_source}: no rows within the scope; widen brand, region or period")
    if not loaded.frame.columns.is_unique:
        raise ContractViolation(f"{request.data_source}: a column name occurs twice; rename one of them")
    frame = loaded.frame.reset_index(drop=True)
    if request.scope.target not in frame.columns:
        raise UnknownColumn(request.scope.target, list(frame.columns), role="target")
    for feature, column in request.scope.known_at.items():
        if column not in frame.columns:
            raise UnknownColumn(column, list(frame.columns), role=f"time at which '{feature}' was known:")
    deps.workspace[FRAMES] = Frames(frame, await asyncio.to_thread(coerce_frame, table, frame))
    there = tuple(
        name for name in request.scope.required_features if name in frame.columns and frame[name].notna().any()
    )
    missing = tuple(name for name in request.scope.required_features if name not in there)
    return {
        "loaded": LoadedData(dataset_id, table.name, len(frame), there, missing),
        "not_ready": tuple(f"the required feature '{name}' is missing or empty" for name in missing),
    }
