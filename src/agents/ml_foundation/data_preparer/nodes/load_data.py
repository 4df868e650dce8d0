"""Load the rows the request names, and settle which contract they must keep."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

from langgraph.runtime import Runtime

from src.agents.ml_foundation.data_preparer.layers import ABOUT_FEATURE
from src.agents.ml_foundation.data_preparer.services import FRAMES, PLACE, Frames
from src.agents.ml_foundation.data_preparer.source import (
    filters_of,
    inferred_contract,
    refuse_identifying,
    source_of,
    time_column,
)
from src.agents.ml_foundation.data_preparer.state import LoadedData, PrepareRequest, PrepareState, PrepareUpdate
from src.agents.runtime import Deps, Filter, LoadedRows, traced_node
from src.contracts.coercion import coerce_frame
from src.contracts.inference import is_inferred
from src.contracts.model import TableContract
from src.errors import ContractViolation, DataUnavailable, UnknownColumn
from src.mlops.preparation.row_identity import ROW, row_hashes

if TYPE_CHECKING:
    import pandas as pd


@traced_node(PLACE, "load_data")
async def load_data(state: PrepareState, runtime: Runtime[Deps]) -> PrepareUpdate:
    """Rows after the scope's filters.

    Raises DatasetNotFound, DataUnavailable when no row is left, UnknownColumn for a target or a time of
    ``known_at`` that is not there, ContractViolation for a dataset without a contract, or features that
    identify somebody.
    """
    request, deps = state["request"], runtime.context
    dataset_id, declared = source_of(request)
    loaded, table = await _rows(request, deps, dataset_id, declared)
    refuse_identifying(request.scope, table)
    frame = loaded.frame.reset_index(drop=True)
    if request.scope.target not in frame.columns:
        raise UnknownColumn(request.scope.target, list(frame.columns), role="target")
    for feature, column in request.scope.known_at.items():
        if column not in frame.columns:
            raise UnknownColumn(column, list(frame.columns), role=f"time at which '{feature}' was known:")
    deps.workspace[FRAMES] = Frames(frame, await asyncio.to_thread(_typed, table, frame), table)
    there = tuple(
        name for name in request.scope.required_features if name in frame.columns and frame[name].notna().any()
    )
    missing = tuple(name for name in request.scope.required_features if name not in there)
    return {
        "loaded": LoadedData(str(loaded.query.get("dataset", dataset_id)), table.name, len(frame), there, missing),
        "warnings": _held_to(table),
        "not_ready": tuple(f"{ABOUT_FEATURE} '{name}' is missing or empty" for name in missing),
    }


async def _rows(
    request: PrepareRequest, deps: Deps, dataset_id: str, declared: TableContract | None
) -> tuple[LoadedRows, TableContract]:
    """Rows within the scope and their contract; one that is inferred is taken from these rows."""
    if declared is not None:
        refuse_identifying(request.scope, declared)
        return await _usable(request, deps, dataset_id, filters_of(request.scope, declared)), declared
    loaded = await _usable(request, deps, dataset_id, ())
    table = await asyncio.to_thread(inferred_contract, request, loaded.frame)
    conditions = filters_of(request.scope, table)
    if not conditions:
        return loaded, table
    loaded = await _usable(request, deps, dataset_id, conditions)
    time = time_column(table)
    of_scope = dataclasses.replace(request, time=time)
    return loaded, await asyncio.to_thread(inferred_contract, of_scope, loaded.frame)


async def _usable(request: PrepareRequest, deps: Deps, dataset_id: str, conditions: tuple[Filter, ...]) -> LoadedRows:
    loaded = await deps.datasets.load(dataset_id, filters=conditions)
    if loaded.frame.empty:
        raise DataUnavailable(f"{request.data_source}: no rows within the scope; widen brand, region or period")
    if not loaded.frame.columns.is_unique:
        raise ContractViolation(f"{request.data_source}: a column name occurs twice; rename one of them")
    return loaded


def _typed(table: TableContract, frame: pd.DataFrame) -> pd.DataFrame:
    typed = coerce_frame(table, frame)
    return typed.assign(**{ROW: row_hashes(frame)}) if is_inferred(table) else typed


def _held_to(table: TableContract) -> tuple[str, ...]:
    if not is_inferred(table):
        return ()
    time = time_column(table)
    when = f"the time of a row is its '{time}'" if time else "no column holds the time of a row"
    return (
        f"no contract: the {len(table.columns)} columns are held to the types found in them, and to no range or "
        f"list of words; {when}",
    )
