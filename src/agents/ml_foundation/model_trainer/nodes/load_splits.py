"""Load the rows to train on and those to tune on; the test rows wait until the model is finished."""

from __future__ import annotations

import asyncio
import dataclasses

from langgraph.runtime import Runtime

from src.agents.ml_foundation.model_trainer.services import Services, Training, services_of, training_of
from src.agents.ml_foundation.model_trainer.splits import fingerprint
from src.agents.ml_foundation.model_trainer.state import LoadedSplits, TrainState, TrainUpdate
from src.agents.ml_foundation.model_trainer.steps import step
from src.agents.runtime import Deps
from src.agents.training_rows import SplitRows
from src.domain.modelling import TrainingData, TrainingSplit
from src.errors import DataUnavailable, UnknownColumn


@step("load_splits")
async def load_splits(state: TrainState, runtime: Runtime[Deps]) -> TrainUpdate:
    """Both splits from the first source that has the data; rows whose target is empty are left out, and counted.

    Raises DataUnavailable when no source has the data or a split has no row, UnknownColumn for a feature, target or
    segment that is not there.
    """
    data, training = state["request"].data, training_of(runtime.context)
    train = await _first(services_of(runtime.context), training, data)
    validation = await load_split(training, data, "validation")
    warnings: list[str] = []
    for split in (train, validation):
        training.rows[split.split], told = await asyncio.to_thread(with_target, split, data)
        warnings += told
    counts = {name: len(rows.frame) for name, rows in training.rows.items()}
    digest = await asyncio.to_thread(fingerprint, training.rows)
    return {"loaded": LoadedSplits(train.source, counts, digest), "split_counts": counts, "warnings": tuple(warnings)}


async def load_split(training: Training, data: TrainingData, split: TrainingSplit) -> SplitRows:
    """One split of the source that gave the training rows. Raises DataUnavailable."""
    if training.source is None:
        raise RuntimeError("no source of rows was chosen before a split was asked for")
    rows = await training.source.load(data, split)
    if rows is None:
        raise DataUnavailable(f"the {split} rows of {data.dataset_id} are gone; load the dataset and train again")
    return rows


def with_target(split: SplitRows, data: TrainingData) -> tuple[SplitRows, tuple[str, ...]]:
    """The rows that have a target, and a line on those that have none. Raises DataUnavailable, UnknownColumn."""
    for role, names in (("target", (data.target,)), ("feature", data.features), ("segment", data.segments)):
        for name in names:
            if name not in split.frame.columns:
                raise UnknownColumn(name, list(map(str, split.frame.columns)), role=role)
    kept = split.frame[data.target].notna()
    if not kept.any():
        raise DataUnavailable(f"the {split.split} split has no row with a target ('{data.target}'); widen the filters")
    if kept.all():
        return split, ()
    units = None if split.units is None else split.units[kept]
    left_out = f"{int((~kept).sum())} of {len(kept)} {split.split} rows have no '{data.target}' and are left out"
    return dataclasses.replace(split, frame=split.frame[kept], units=units), (left_out,)


async def _first(services: Services, training: Training, data: TrainingData) -> SplitRows:
    for source in services.rows:
        rows = await source.load(data, "train")
        if rows is not None:
            training.source = source
            return rows
    raise DataUnavailable(
        f"no source has the splits of {data.dataset_id}"
        + (f" ('{data.split_id}')" if data.split_id else "")
        + "; prepare the data first"
    )
